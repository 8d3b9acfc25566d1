/**
 * Batch, instance and group norm with the activation behind it. Forward computes only statistics: scale and
 * shift are applied by whoever reads the volume. Saved for backward: `scaleShifts` and `saved`.
 */
import { InvalidOption } from '../errors.ts';
import type { Recorder, Tensor, View, VolumeTensor } from '../gpu/plan.ts';
import type { Size3 } from '../size.ts';
import {
  assertLength,
  assertSameGrid,
  groupsOf64,
  planeQuads,
  words,
  reductionGroups,
  reductionConstants,
} from './common.ts';
import { tilesOf } from './conv/parts.ts';

/** Over which voxels and channels a norm takes its statistics. */
export type NormKind = 'batch' | 'instance' | 'group';

export interface NormState {
  readonly kind: NormKind;
  /** Of group norm: into how many groups of neighbours its channels are divided. */
  readonly groups?: number | undefined;
  /** Weight γ and bias β in one view; β starts `biasOffset` words after γ. Without, they are 1 and 0. */
  readonly weightBias?: View | undefined;
  readonly biasOffset: number;
  /** Running mean and variance in one view (batch norm); the variance starts `varianceOffset` words in. */
  readonly running: View;
  readonly varianceOffset: number;
  readonly epsilon: number;
  readonly momentum: number;
}

export interface NormResult {
  /** Scale and shift, [sample][channel]. */
  readonly scaleShifts: Tensor;
  /** Mean and 1/σ, [sample][channel]. */
  readonly saved: Tensor;
}

/** Channels with common statistics, as kernels take them. */
function grouping(label: string, { kind, groups = 1 }: Pick<NormState, 'kind' | 'groups'>, channels: number) {
  if (kind !== 'group') return { perGroup: 1, constants: {} };
  if (channels % groups !== 0)
    throw new InvalidOption(`${label}: ${channels} channels cannot be divided into ${groups} groups`);
  return { perGroup: channels / groups, constants: { GROUPED: true } };
}

const weighted = (weightBias: View | undefined) => (weightBias ? {} : { WEIGHTED: false });

/**
 * Statistics of `source` and what follows from them; batch norm's running statistics are updated.
 * @param parts what the convolution that made `source` left of its statistics
 */
export function normForward(
  recorder: Recorder,
  label: string,
  source: VolumeTensor,
  state: NormState,
  parts?: VolumeTensor,
): NormResult {
  const { batch, channels, planes } = source;
  const [width, height, depth] = source.size;
  if (state.weightBias) assertLength(label, state.weightBias, state.biasOffset + channels);
  const partials = recorder.flat(`${label}.partials`, planes * channels * 2);
  const scaleShifts = recorder.flat(`${label}.scaleShifts`, batch * channels * 2);
  const saved = recorder.flat(`${label}.saved`, batch * channels * 2);
  if (parts) joinParts(recorder, label, { parts, partials }, channels);
  else measurePlanes(recorder, label, source, partials);
  const isBatch = state.kind === 'batch';
  const { perGroup, constants } = grouping(label, state, channels);
  recorder.dispatch('norm/finalize', {
    label: `${label} finalize`,
    bindings: {
      partials,
      weightBias: state.weightBias ?? partials,
      scaleShifts,
      saved,
      running: state.running,
    },
    params: {
      channels,
      perGroup,
      depth,
      samples: batch,
      area: width * height,
      biasOffset: state.biasOffset,
      varianceOffset: state.varianceOffset,
      epsilon: state.epsilon,
      momentum: state.momentum,
    },
    constants: {
      BATCH: isBatch,
      ...reductionConstants(recorder),
      ...weighted(state.weightBias),
      ...constants,
    },
    workgroups: [reductionGroups(recorder, channels), isBatch ? 1 : batch, 1],
  });
  return { scaleShifts, saved };
}

/** Mean and sum of squared deviations of each channel of each plane, from the volume. */
export function measurePlanes(
  recorder: Recorder,
  label: string,
  source: VolumeTensor,
  partials: Tensor,
): void {
  const { channels, planes, rowQuads } = source;
  const [width, height] = source.size;
  for (const [from, to] of recorder.slabs(planes, [{ tensor: source }])) {
    const part = recorder.planes(source, from, to);
    recorder.dispatch('norm/statistics', {
      label: `${label} statistics`,
      bindings: { source: part.view, partials },
      params: { width, height, rowQuads, channels, plane0: from, startSource: part.start },
      constants: { ...reductionConstants(recorder), RAGGED: width % 4 !== 0 },
      workgroups: [reductionGroups(recorder, channels), 1, to - from],
      flops: 4 * channels * width * height * (to - from),
    });
  }
}

/** The same from what a convolution left of it. */
function joinParts(
  recorder: Recorder,
  label: string,
  { parts, partials }: { readonly parts: VolumeTensor; readonly partials: Tensor },
  channels: number,
): void {
  const tiles = tilesOf(parts, channels);
  for (const [from, to] of recorder.slabs(parts.planes, [{ tensor: parts }])) {
    const { view, start } = recorder.planes(parts, from, to);
    recorder.dispatch('norm/join', {
      label: `${label} statistics`,
      bindings: { parts: view, partials },
      params: { channels, tiles, plane0: from, startParts: start },
      constants: reductionConstants(recorder),
      workgroups: [reductionGroups(recorder, channels), 1, to - from],
      flops: 6 * channels * tiles * (to - from),
    });
  }
}

/** Running statistics as the batches of a step have `moved` them become the model's, if the step is applied. */
export function keepStatistics(
  recorder: Recorder,
  label: string,
  length: number,
  bindings: Readonly<Record<'moved' | 'update' | 'statistics', Tensor>>,
): void {
  const workgroups: Size3 = [groupsOf64(length), 1, 1];
  recorder.dispatch('norm/keep', { label, bindings, params: { length }, workgroups });
}

/** Scale and shift of batch norm from its running statistics. */
export function normInference(
  recorder: Recorder,
  label: string,
  batch: number,
  channels: number,
  state: NormState,
): Tensor {
  const scaleShifts = recorder.flat(`${label}.scaleShifts`, batch * channels * 2);
  recorder.dispatch('norm/running', {
    label: `${label} running`,
    bindings: { weightBias: state.weightBias ?? state.running, running: state.running, scaleShifts },
    params: {
      channels,
      samples: batch,
      biasOffset: state.biasOffset,
      varianceOffset: state.varianceOffset,
      epsilon: state.epsilon,
    },
    constants: weighted(state.weightBias),
    workgroups: [groupsOf64(batch * channels), 1, 1],
  });
  return scaleShifts;
}

/**
 * The gradient of `source` overwrites `source`, or goes to `dSource`, which it assigns or with `add` accumulates into;
 * `dActivated` is the gradient behind the activation.
 * Assigns `dWeightBias`, laid out as `weightBias`, where there is one.
 */
export function normBackward(
  recorder: Recorder,
  label: string,
  tensors: {
    readonly source: VolumeTensor;
    readonly dActivated: VolumeTensor;
    readonly result: NormResult;
    readonly dWeightBias?: View | undefined;
    readonly dSource?: VolumeTensor | undefined;
  },
  options: Pick<NormState, 'kind' | 'groups' | 'biasOffset'> & {
    readonly slope: number;
    readonly add?: boolean;
  },
): void {
  const { kind, biasOffset, slope, add = false } = options;
  const {
    source,
    dActivated,
    dWeightBias,
    dSource,
    result: { scaleShifts, saved },
  } = tensors;
  const { batch, channels, planes } = source;
  const [width, height, depth] = source.size;
  assertSameGrid(label, source, dActivated);
  if (dWeightBias) assertLength(label, dWeightBias, biasOffset + channels);
  const partials = recorder.flat(`${label}.partials`, planes * channels * 2);
  const means = recorder.flat(`${label}.means`, batch * channels * 2);
  const shape = { width, height, depth, rowQuads: source.rowQuads, channels, slope };
  const { perGroup, constants } = grouping(label, options, channels);
  const uses = [source, dActivated, ...(dSource ? [dSource] : [])].map((tensor) => ({ tensor }));
  const ranges = recorder.slabs(planes, uses);
  const slab = ([from, to]: [number, number]) => {
    const y = recorder.planes(source, from, to);
    const gradient = recorder.planes(dActivated, from, to);
    return {
      y,
      gradient,
      params: { ...shape, plane0: from, startSource: y.start, startGradient: gradient.start },
    };
  };
  for (const range of ranges) {
    const { y, gradient, params } = slab(range);
    recorder.dispatch('norm/backward_reduce', {
      label: `${label} reduce`,
      bindings: { source: y.view, gradient: gradient.view, scaleShifts, saved, partials },
      params,
      constants: reductionConstants(recorder),
      workgroups: [reductionGroups(recorder, channels), 1, range[1] - range[0]],
      flops: 8 * channels * width * height * (range[1] - range[0]),
    });
  }
  recorder.dispatch('norm/backward_finalize', {
    label: `${label} finalize`,
    bindings: {
      partials,
      scaleShifts,
      means,
      gradientWeightBias: dWeightBias ?? recorder.flat(`${label}.none`, 1),
    },
    params: { channels, perGroup, depth, samples: batch, area: width * height, biasOffset },
    constants: {
      BATCH: kind === 'batch',
      ...reductionConstants(recorder),
      ...weighted(dWeightBias),
      ...constants,
    },
    workgroups: [reductionGroups(recorder, channels), 1, 1],
  });
  for (const range of ranges) {
    const { y, gradient, params } = slab(range);
    const common = {
      label: `${label} apply`,
      workgroups: [groupsOf64(planeQuads(source)), channels, range[1] - range[0]] as const,
      flops: 8 * channels * width * height * (range[1] - range[0]),
    };
    const bindings = {
      gradient: gradient.view,
      scaleShifts,
      saved,
      means: words(means, batch * channels * 2),
      source: y.view,
    };
    if (!dSource) {
      const ragged = { RAGGED: width % 4 !== 0, ...constants };
      recorder.dispatch('norm/backward_apply', { ...common, bindings, params, constants: ragged });
      continue;
    }
    const out = recorder.planes(dSource, ...range);
    recorder.dispatch('norm/backward_apart', {
      ...common,
      bindings: { ...bindings, target_: out.view },
      params: { ...params, startTarget: out.start },
      constants: { ADD: add, ...constants },
    });
  }
}
