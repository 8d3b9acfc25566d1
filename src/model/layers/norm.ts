/**
 * Batch or instance norm with the activation behind it. Only statistics are computed: scale, shift and activation are
 * applied by whoever reads, so the output is a view of the input. The gradient takes the input's place.
 */
import type { Tensor } from '../../gpu/plan.ts';
import { normBackward, normForward, normInference, type NormKind, type NormResult } from '../../ops/norm.ts';
import { assertSlope } from '../../ops/activation.ts';
import { assertStored, type Layer, type ParameterSpec } from '../graph.ts';

/** Epsilon and momentum: PyTorch's defaults. */
const epsilon = 1e-5;
const momentum = 0.1;

export interface NormOptions {
  /** Whether each channel has a trained weight and bias. Default true. */
  readonly weighted?: boolean;
}

/** @param slope of the activation for values below 0: at most 1, which is none */
export const norm = (kind: NormKind, slope: number, { weighted = true }: NormOptions = {}): Layer => ({
  operation: { kind: 'norm', of: kind, epsilon, slope },
  shape: ([first]) => first!,
  centres: true,
  parameters([first]) {
    const shape = [first!.channels];
    const [zeros, ones] = [
      { shape, init: { constant: 0 } },
      { shape, init: { constant: 1 } },
    ];
    const trained: ParameterSpec[] = weighted
      ? [
          { name: 'weight', ...ones },
          { name: 'bias', ...zeros },
        ]
      : [];
    if (kind === 'instance') return trained;
    return [
      ...trained,
      { name: 'running_mean', ...zeros, statistic: true },
      { name: 'running_var', ...ones, statistic: true },
    ];
  },
  at(context, { name, inputs: [input], shape: { batch, channels } }) {
    assertSlope(slope);
    assertStored(name, input!);
    const { recorder } = context;
    const { view: weightBias, secondOffset: biasOffset = 0 } = weighted ? context.weightAndBias(name) : {};
    const { view: running, secondOffset: varianceOffset } = context.runningStatistics(name);
    const state = { kind, weightBias, biasOffset, running, varianceOffset, epsilon, momentum };
    /** Of the batch; none where running statistics take their place. */
    let result: NormResult | undefined;
    let affine: Tensor | undefined;
    return {
      forward([source]) {
        const { tensor } = source!;
        if (context.trains(name) || kind === 'instance') result = normForward(recorder, name, tensor, state);
        affine = result?.affine ?? normInference(recorder, name, batch, channels, state);
        return { tensor, affine, slope };
      },
      again: ([source]) => ({ tensor: source!.tensor, affine, slope }),
      gradientInPlace(d) {
        const { view: dWeightBias } = weighted ? context.weightAndBias(name, 'gradients') : {};
        const source = context.read(input!).tensor;
        const tensors = { source, dActivated: d, result: result!, dWeightBias };
        normBackward(recorder, `${name} backward`, tensors, { kind, biasOffset, slope });
        return source;
      },
    };
  },
});
