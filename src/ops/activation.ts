/**
 * An activation without a norm, max(z, slope·z). Nothing is computed but a scale of 1 and a shift of 0: the activation
 * is applied by whoever reads the volume through them.
 */
import { InvalidOption } from '../errors.ts';
import type { Recorder, Tensor, VolumeTensor } from '../gpu/plan.ts';
import { assertSameGrid, groupsOf64, planeQuads } from './common.ts';

/** @throws InvalidOption for slopes that max(z, slope·z) is wrong for */
export function assertSlope(slope: number): void {
  if (!Number.isFinite(slope) || slope > 1)
    throw new InvalidOption(
      `the activation's slope is ${slope}; give a number up to 1, such as 0 (ReLU) or 0.01`,
    );
}

/** Scale and shift, [sample][channel]. */
export function activationForward(recorder: Recorder, label: string, source: VolumeTensor): Tensor {
  const length = source.batch * source.channels;
  const scaleShifts = recorder.flat(`${label}.scaleShifts`, length * 2);
  recorder.dispatch('activation/identity', {
    label,
    bindings: { scaleShifts },
    params: { length },
    workgroups: [groupsOf64(length), 1, 1],
  });
  return scaleShifts;
}

/** The gradient of `source` overwrites `source`; `dActivated` is the gradient behind the activation. */
export function activationBackward(
  recorder: Recorder,
  label: string,
  source: VolumeTensor,
  dActivated: VolumeTensor,
  slope: number,
): void {
  assertSameGrid(label, source, dActivated);
  for (const [from, to] of recorder.slabs(source.planes, [{ tensor: source }, { tensor: dActivated }])) {
    const y = recorder.planes(source, from, to);
    const gradient = recorder.planes(dActivated, from, to);
    recorder.dispatch('activation/backward', {
      label,
      bindings: { gradient: gradient.view, source: y.view },
      params: {
        width: source.size[0],
        height: source.size[1],
        rowQuads: source.rowQuads,
        channels: source.channels,
        plane0: from,
        startSource: y.start,
        startGradient: gradient.start,
        slope,
      },
      workgroups: [groupsOf64(planeQuads(source)), source.channels, to - from],
    });
  }
}
