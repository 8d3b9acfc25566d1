/** Sum of two volumes, as at the end of a residual block. The gradient of either is that of the sum. */
import { GpuError, InvalidOption } from '../errors.ts';
import type { Planes, Recorder, VolumeTensor } from '../gpu/plan.ts';
import {
  assertSameGrid,
  groupsOf64,
  inputPlanes,
  inputUse,
  planeMaker,
  planeQuads,
  type Input,
  type PlaneMaker,
} from './common.ts';

function addUp(
  recorder: Recorder,
  label: string,
  inputs: readonly [Input, Input?],
  target: VolumeTensor,
  {
    add = false,
    planes = [0, target.planes],
  }: { readonly add?: boolean; readonly planes?: Planes | undefined } = {},
): void {
  const [a, b] = inputs;
  const tensors = [a.tensor, ...(b ? [b.tensor] : []), target];
  assertSameGrid(label, ...tensors);
  const channels = new Set(tensors.map((tensor) => tensor.channels));
  if (channels.size > 1)
    throw new InvalidOption(`${label}: volumes of ${[...channels].join(' and ')} channels have no sum`);
  const [width, height, depth] = target.size;
  const uses = [...(b ? [a, b] : [a]).map(inputUse), { tensor: target }];
  for (const [from, to] of recorder.slabs(planes, uses)) {
    const sourceA = inputPlanes(recorder, a, from, to);
    const sourceB = b ? inputPlanes(recorder, b, from, to) : sourceA;
    const out = recorder.planes(target, from, to);
    recorder.dispatch('sum/forward', {
      label,
      bindings: {
        sourceA: sourceA.view,
        scaleShiftsA: a.scaleShifts ?? sourceA.view,
        sourceB: sourceB.view,
        scaleShiftsB: b?.scaleShifts ?? sourceB.view,
        target_: out.view,
      },
      params: {
        width,
        height,
        depth,
        rowQuads: target.rowQuads,
        channels: target.channels,
        plane0: from,
        startA: sourceA.start,
        startB: sourceB.start,
        startTarget: out.start,
        slopeA: a.slope ?? 1,
        slopeB: b?.slope ?? 1,
      },
      constants: {
        INPUTS: b ? 2 : 1,
        NORM_A: a.scaleShifts !== undefined,
        NORM_B: b?.scaleShifts !== undefined,
        ADD: add,
      },
      workgroups: [groupsOf64(planeQuads(target)), target.channels, to - from],
      flops: target.channels * width * height * (to - from),
    });
  }
}

/** Assigns `target`. */
export const sumForward = (
  recorder: Recorder,
  label: string,
  inputs: readonly [Input, Input],
  target: VolumeTensor,
): void => addUp(recorder, label, inputs, target);

/** A volume as it is read, norm and activation applied where it has them. Assigns `target`. */
export const copy = (
  recorder: Recorder,
  label: string,
  source: Input,
  target: VolumeTensor,
  planes?: Planes,
): void => addUp(recorder, label, [source], target, { planes });

/**
 * Gives a volume as it is to somebody who writes in its place, plane by plane from the first on: copies of the planes
 * that are about to be read. Those that are overwritten by then come from the copy before.
 */
export function overwritten(recorder: Recorder, volume: VolumeTensor): PlaneMaker {
  const name = `${volume.name}.copy`;
  const none = recorder.slab(name, volume, [0, 0]);
  let before = { slab: none, end: 0 };
  return planeMaker(recorder, none, (slab, [from, end]) => {
    if (from < before.slab.firstPlane)
      throw new GpuError(
        `${volume.name} is read from plane ${from} on once more, where something else is written by now`,
      );
    if (from < before.end) copy(recorder, name, { tensor: before.slab }, slab, [from, before.end]);
    const source = { tensor: recorder.current(volume) };
    copy(recorder, name, source, slab, [Math.max(from, before.end), end]);
    before = { slab, end };
  });
}

/** Assigns the gradient of an input, or with `add` accumulates into it, where it cannot be the sum's own. */
export const sumBackward = (
  recorder: Recorder,
  label: string,
  dTarget: VolumeTensor,
  dInput: VolumeTensor,
  add: boolean,
): void => addUp(recorder, label, [{ tensor: dTarget }], dInput, { add });
