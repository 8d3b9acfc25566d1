/** Twice as many voxels along each axis by trilinear interpolation (PyTorch's with align_corners=false). Saves nothing. */
import type { Recorder, VolumeTensor } from '../gpu/plan.ts';
import { doubling, groupsOf64, planeQuads } from './common.ts';
import { assertGrown } from './conv/shape.ts';

const shapeParams = (source: VolumeTensor, output: VolumeTensor) => ({
  width: source.size[0],
  height: source.size[1],
  depth: source.size[2],
  rowQuads: source.rowQuads,
  channels: source.channels,
  rowQuadsOut: output.rowQuads,
});

/** Planes of one tensor that stand for planes [from, to) of another, one more at either side within their samples. */
const around = (depth: number, from: number, to: number, place: (plane: number) => number) => {
  const [first, last] = [place(from), place(to - 1)];
  const begin = Math.max(Math.floor(first / depth) * depth, first - 1);
  const end = Math.min((Math.floor(last / depth) + 1) * depth, last + 2);
  return [begin, end] as const;
};

/** Assigns `target`. */
export function upsampleForward(
  recorder: Recorder,
  label: string,
  source: VolumeTensor,
  target: VolumeTensor,
): void {
  assertGrown(label, source, target, doubling);
  const uses = [{ tensor: source, ratio: 1 / 2, halo: 2 }, { tensor: target }];
  for (const [from, to] of recorder.slabs(target.planes, uses)) {
    const below = around(source.size[2], from, to, (plane) => Math.floor(plane / 2));
    const part = recorder.planes(source, ...below);
    const out = recorder.planes(target, from, to);
    recorder.dispatch('upsample/forward', {
      label,
      bindings: { source: part.view, target_: out.view },
      params: {
        ...shapeParams(source, target),
        plane0: from,
        startSource: part.start,
        startTarget: out.start,
      },
      workgroups: [groupsOf64(planeQuads(target)), target.channels, to - from],
      flops: 16 * target.channels * target.size[0] * target.size[1] * (to - from),
    });
  }
}

/** Assigns `dSource`, or with `add` accumulates into it. */
export function upsampleBackward(
  recorder: Recorder,
  label: string,
  tensors: { readonly dTarget: VolumeTensor; readonly dSource: VolumeTensor },
  add = false,
): void {
  const { dTarget, dSource } = tensors;
  assertGrown(label, dSource, dTarget, doubling);
  const depth = dTarget.size[2];
  const uses = [{ tensor: dTarget, ratio: 2, halo: 1 }, { tensor: dSource }];
  for (const [from, to] of recorder.slabs(dSource.planes, uses)) {
    const [begin] = around(depth, from, to, (plane) => 2 * plane);
    const [, end] = around(depth, from, to, (plane) => 2 * plane + 1);
    const gradient = recorder.planes(dTarget, begin, end);
    const out = recorder.planes(dSource, from, to);
    recorder.dispatch('upsample/backward', {
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
      flops: 128 * dSource.channels * dSource.size[0] * dSource.size[1] * (to - from),
    });
  }
}
