/**
 * Batch, instance or group norm with the activation behind it. Only statistics are computed: scale, shift and activation
 * are applied by whoever reads, so the output is a view of the input. The gradient takes the input's place where nobody
 * else reads that.
 */
import type { Tensor, VolumeTensor } from '../../gpu/plan.ts';
import { normBackward, normForward, normInference, type NormKind, type NormResult } from '../../ops/norm.ts';
import { assertSlope } from '../../ops/activation.ts';
import { assertStored, type Layer, type ParameterSpec, type NodeRecording } from '../graph.ts';

/** Epsilon and momentum: PyTorch's defaults. */
const epsilon = 1e-5;
export const momentum = 0.1;

export interface NormOptions {
  /** Whether each channel has a trained weight and bias. Default true. */
  readonly weighted?: boolean;
  /** Of group norm: groups of neighbouring channels. Default 1. */
  readonly groups?: number;
}

/** @param slope of the activation for values below 0: at most 1, which is none */
export const norm = (
  kind: NormKind,
  slope: number,
  { weighted = true, groups = 1 }: NormOptions = {},
): Layer => ({
  operation: { kind: 'norm', of: kind, groups, epsilon, slope },
  shape: ([first]) => first!,
  // With other channels' means a bias may change something.
  centres: kind !== 'group',
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
    if (kind !== 'batch') return trained;
    return [
      ...trained,
      { name: 'running_mean', ...zeros, statistic: true },
      { name: 'running_var', ...ones, statistic: true },
    ];
  },
  at(context, { name, inputs: [input], shape: { batch, channels } }): NodeRecording {
    assertSlope(slope);
    assertStored(name, input!);
    const { recorder } = context;
    const { view: weightBias, secondOffset: biasOffset = 0 } = weighted ? context.weightAndBias(name) : {};
    const { view: running, secondOffset: varianceOffset } = context.runningStatistics(name);
    const state = { kind, groups, weightBias, biasOffset, running, varianceOffset, epsilon, momentum };
    /** Of the batch; none where running statistics take their place. */
    let result: NormResult | undefined;
    let scaleShifts: Tensor | undefined;
    const backward = (d: VolumeTensor, dSource?: VolumeTensor, add = false): VolumeTensor => {
      const { view: dWeightBias } = weighted ? context.weightAndBias(name, 'gradients') : {};
      const source = context.read(input!).tensor;
      const tensors = { source, dActivated: d, result: result!, dWeightBias, dSource };
      normBackward(recorder, `${name} backward`, tensors, { kind, groups, biasOffset, slope, add });
      return source;
    };
    const measures = context.trains(name) || kind !== 'batch';
    return {
      measures,
      forward([source]) {
        const { tensor, parts } = source!;
        if (measures) result = normForward(recorder, name, tensor, state, parts);
        scaleShifts = result?.scaleShifts ?? normInference(recorder, name, batch, channels, state);
        return { tensor, scaleShifts, slope };
      },
      again: ([source]) => ({ tensor: source!.tensor, scaleShifts, slope }),
      ...(input!.consumers.length === 1
        ? { gradientInPlace: (d) => backward(d) }
        : {
            target: 'either',
            inputGradient: (d, _, target, add) => void backward(d, target, add),
          }),
    };
  },
});
