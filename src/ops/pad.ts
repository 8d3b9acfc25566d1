/** Padding at the far ends with the last voxels, as far as another volume reaches. Forward saves nothing. */
import { InvalidOption } from '../errors.ts';
import type { Recorder, VolumeTensor } from '../gpu/plan.ts';
import { groupsOf64, planeQuads } from './common.ts';

function assertPadded(label: string, source: VolumeTensor, padded: VolumeTensor): void {
  const fits =
    source.size.every((length, axis) => length > 0 && length <= padded.size[axis]!) &&
    source.batch === padded.batch &&
    source.channels === padded.channels;
  if (!fits)
    throw new InvalidOption(
      `${label}: ${source.batch}×${source.channels}×[${source.size.join(',')}] cannot be padded to ` +
        `${padded.batch}×${padded.channels}×[${padded.size.join(',')}]`,
    );
}

const shapeParams = (source: VolumeTensor, padded: VolumeTensor) => ({
  width: source.size[0],
  height: source.size[1],
  depth: source.size[2],
  rowQuads: source.rowQuads,
  channels: source.channels,
  widthOut: padded.size[0],
  heightOut: padded.size[1],
  depthOut: padded.size[2],
  rowQuadsOut: padded.rowQuads,
});

/** Assigns `target`. */
export function padForward(
  recorder: Recorder,
  label: string,
  source: VolumeTensor,
  target: VolumeTensor,
): void {
  assertPadded(label, source, target);
  const [depth, depthOut] = [source.size[2], target.size[2]];
  const below = (plane: number) =>
    Math.floor(plane / depthOut) * depth + Math.min(plane % depthOut, depth - 1);
  for (const [from, to] of recorder.slabs(target.planes, [{ tensor: source }, { tensor: target }])) {
    const part = recorder.planes(source, below(from), below(to - 1) + 1);
    const out = recorder.planes(target, from, to);
    recorder.dispatch('pad/forward', {
      label,
      bindings: { source: part.view, target_: out.view },
      params: {
        ...shapeParams(source, target),
        plane0: from,
        startSource: part.start,
        startTarget: out.start,
      },
      workgroups: [groupsOf64(planeQuads(target)), target.channels, to - from],
    });
  }
}

/** Assigns `dSource`, or with `add` accumulates into it. */
export function padBackward(
  recorder: Recorder,
  label: string,
  tensors: { readonly dTarget: VolumeTensor; readonly dSource: VolumeTensor },
  add = false,
): void {
  const { dTarget, dSource } = tensors;
  assertPadded(label, dSource, dTarget);
  const [depth, depthOut] = [dSource.size[2], dTarget.size[2]];
  const above = (plane: number) => Math.floor(plane / depth) * depthOut + (plane % depth);
  const end = (plane: number) => above(plane) + ((plane + 1) % depth === 0 ? depthOut - depth : 0) + 1;
  const uses = [{ tensor: dTarget, ratio: depthOut / depth, halo: depthOut - depth }, { tensor: dSource }];
  for (const [from, to] of recorder.slabs(dSource.planes, uses)) {
    const gradient = recorder.planes(dTarget, above(from), end(to - 1));
    const out = recorder.planes(dSource, from, to);
    recorder.dispatch('pad/backward', {
      label,
      bindings: { gradient: gradient.view, target_: out.view },
      params: {
        ...shapeParams(dSource, dTarget),
        plane0: from,
        startGradient: gradient.start,
        startTarget: out.start,
      },
      constants: { ADD: add },
      workgroups: [groupsOf64(planeQuads(dSource)), dSource.channels, to - from],
    });
  }
}
