/** Max-pool 2×2×2, stride 2. Forward saves nothing: the winner is found again from the source. */
import { InvalidOption } from '../errors.ts';
import type { Recorder, Size3, VolumeTensor } from '../gpu/plan.ts';
import { groupsOf64, planeQuads, type Input } from './common.ts';

/** Size after pooling: an odd last row, column or plane is left out. */
export const pooledSize = (size: Size3): Size3 => [size[0] >> 1, size[1] >> 1, size[2] >> 1];

function assertPooled(label: string, source: VolumeTensor, pooled: VolumeTensor): void {
  const expected = pooledSize(source.size);
  const fits =
    expected.every((length, axis) => length === pooled.size[axis] && length > 0) &&
    source.batch === pooled.batch &&
    source.channels === pooled.channels;
  if (!fits)
    throw new InvalidOption(
      `${label}: ${source.batch}×${source.channels}×[${source.size.join(',')}] pools to [${expected.join(',')}], not to ` +
        `${pooled.batch}×${pooled.channels}×[${pooled.size.join(',')}]`,
    );
}

/** Source planes per output plane: more than two where an odd last plane is left out. */
const below = (source: VolumeTensor, pooled: VolumeTensor) => ({
  ratio: source.size[2] / pooled.size[2],
  halo: 1,
});

/** One slab of output planes and the source planes under it. */
function sourcePlanes(
  source: VolumeTensor,
  pooled: VolumeTensor,
  from: number,
  to: number,
): [number, number] {
  const plane = (out: number) =>
    Math.floor(out / pooled.size[2]) * source.size[2] + 2 * (out % pooled.size[2]);
  return [plane(from), plane(to - 1) + 2];
}

const shapeParams = (source: VolumeTensor, pooled: VolumeTensor) => ({
  depth: source.size[2],
  height: source.size[1],
  rowQuads: source.rowQuads,
  widthOut: pooled.size[0],
  heightOut: pooled.size[1],
  depthOut: pooled.size[2],
  rowQuadsOut: pooled.rowQuads,
});

/** Assigns `target`: the maximum of the activated source. */
export function poolForward(recorder: Recorder, label: string, source: Input, target: VolumeTensor): void {
  assertPooled(label, source.tensor, target);
  const uses = [{ tensor: source.tensor, ...below(source.tensor, target) }, { tensor: target }];
  for (const [from, to] of recorder.slabs(target.planes, uses)) {
    const slab = recorder.planes(source.tensor, ...sourcePlanes(source.tensor, target, from, to));
    const out = recorder.planes(target, from, to);
    recorder.dispatch('pool/forward', {
      label,
      bindings: { source: slab.view, affine: source.affine ?? slab.view, target_: out.view },
      params: {
        ...shapeParams(source.tensor, target),
        channels: target.channels,
        plane0: from,
        startSource: slab.start,
        startTarget: out.start,
        slope: source.slope ?? 1,
      },
      constants: { NORM: source.affine !== undefined },
      workgroups: [groupsOf64(planeQuads(target)), target.channels, to - from],
    });
  }
}

/** Accumulates into `dSource`, the gradient of the activated source. */
export function poolBackward(
  recorder: Recorder,
  label: string,
  source: Input,
  dTarget: VolumeTensor,
  dSource: VolumeTensor,
): void {
  assertPooled(label, source.tensor, dTarget);
  const uses = [
    { tensor: source.tensor, ...below(source.tensor, dTarget) },
    { tensor: dSource, ...below(source.tensor, dTarget) },
    { tensor: dTarget },
  ];
  for (const [from, to] of recorder.slabs(dTarget.planes, uses)) {
    const range = sourcePlanes(source.tensor, dTarget, from, to);
    const slab = recorder.planes(source.tensor, ...range);
    const gradient = recorder.planes(dTarget, from, to);
    const out = recorder.planes(dSource, ...range);
    recorder.dispatch('pool/backward', {
      label,
      bindings: {
        source: slab.view,
        affine: source.affine ?? slab.view,
        gradient: gradient.view,
        target_: out.view,
      },
      params: {
        ...shapeParams(source.tensor, dTarget),
        channels: dTarget.channels,
        plane0: from,
        startSource: slab.start,
        startGradient: gradient.start,
        startTarget: out.start,
        slope: source.slope ?? 1,
      },
      constants: { NORM: source.affine !== undefined },
      workgroups: [groupsOf64(planeQuads(dTarget)), dTarget.channels, to - from],
    });
  }
}

/** Assigns `target`: every second label along each axis, the truth for a network's coarser outputs. */
export function halveLabels(
  recorder: Recorder,
  label: string,
  source: VolumeTensor,
  target: VolumeTensor,
): void {
  assertPooled(label, source, target);
  const uses = [{ tensor: source, ...below(source, target) }, { tensor: target }];
  for (const [from, to] of recorder.slabs(target.planes, uses)) {
    const slab = recorder.planes(source, ...sourcePlanes(source, target, from, to));
    const out = recorder.planes(target, from, to);
    recorder.dispatch('pool/labels', {
      label,
      bindings: { source: slab.view, target_: out.view },
      params: {
        ...shapeParams(source, target),
        plane0: from,
        startSource: slab.start,
        startTarget: out.start,
      },
      workgroups: [groupsOf64(planeQuads(target)), 1, to - from],
    });
  }
}
