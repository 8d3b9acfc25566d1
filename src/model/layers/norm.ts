/**
 * Batch or instance norm with the activation behind it. Only statistics are computed: scale, shift and activation are
 * applied by whoever reads, so the output is a view of the input. The gradient takes the input's place.
 */
import type { Tensor } from '../../gpu/plan.ts';
import { normBackward, normForward, normInference, type NormKind, type NormResult } from '../../ops/norm.ts';
import type { Layer, ParameterSpec } from '../graph.ts';

/** Epsilon and momentum: PyTorch's defaults. */
const epsilon = 1e-5;
const momentum = 0.1;

/** @param slope of the activation for values below 0 */
export const norm = (kind: NormKind, slope: number): Layer => ({
  shape: ([first]) => first!,
  centres: true,
  parameters([first]) {
    const shape = [first!.channels];
    const [zeros, ones] = [
      { shape, init: { constant: 0 } },
      { shape, init: { constant: 1 } },
    ];
    const trained: ParameterSpec[] = [
      { name: 'weight', ...ones },
      { name: 'bias', ...zeros },
    ];
    if (kind === 'instance') return trained;
    return [
      ...trained,
      { name: 'running_mean', ...zeros, statistic: true },
      { name: 'running_var', ...ones, statistic: true },
    ];
  },
  at(context, { name, inputs: [input], shape: { batch, channels } }) {
    const { recorder, training } = context;
    const { view: weightBias, secondOffset: biasOffset } = context.weightAndBias(name);
    const { view: running, secondOffset: varianceOffset } = context.runningStatistics(name);
    const state = { kind, weightBias, biasOffset, running, varianceOffset, epsilon, momentum };
    /** Of the batch; none where running statistics take their place. */
    let result: NormResult | undefined;
    let affine: Tensor | undefined;
    return {
      forward([source]) {
        const { tensor } = source!;
        if (training || kind === 'instance') result = normForward(recorder, name, tensor, state);
        affine = result?.affine ?? normInference(recorder, name, batch, channels, state);
        return { tensor, affine, slope };
      },
      again: ([source]) => ({ tensor: source!.tensor, affine, slope }),
      gradientInPlace(d) {
        const { view: dWeightBias, secondOffset } = context.weightAndBias(name, 'gradients');
        const y = context.read(input!).tensor;
        const gradients = { kind, biasOffset: secondOffset };
        normBackward(recorder, `${name} backward`, y, d, result!, gradients, slope, dWeightBias);
        return y;
      },
    };
  },
});
