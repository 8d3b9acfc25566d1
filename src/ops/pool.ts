/**
 * Max-pool and average-pool of windows as large as the strides, 1 or 2 along each axis. Forward saves nothing: the
 * maximum's place is found again.
 */
import { InvalidOption } from '../errors.ts';
import type { Planes, Recorder, VolumeTensor } from '../gpu/plan.ts';
import type { Size3 } from '../size.ts';
import { doubling, groupsOf64, planeQuads, strideConstants, type Input } from './common.ts';

/** Size after pooling: an odd last row, column or plane is left out. */
export const pooledSize = ([x, y, z]: Size3, stride: Size3 = doubling): Size3 => [
  Math.floor(x / stride[0]),
  Math.floor(y / stride[1]),
  Math.floor(z / stride[2]),
];

function assertPooled(label: string, source: VolumeTensor, pooled: VolumeTensor, stride: Size3): void {
  const expected = pooledSize(source.size, stride);
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

/** Source planes per output plane: more than the stride where the last planes are left out. */
const below = (source: VolumeTensor, pooled: VolumeTensor, stride: Size3) => ({
  ratio: source.size[2] / pooled.size[2],
  halo: Math.ceil((stride[2] - 1) / 2), // counts twice
});

/** One slab of output planes and the source planes under it. */
function sourcePlanes(
  source: VolumeTensor,
  pooled: VolumeTensor,
  stride: Size3,
  [from, to]: Planes,
): [number, number] {
  const plane = (out: number) =>
    Math.floor(out / pooled.size[2]) * source.size[2] + stride[2] * (out % pooled.size[2]);
  return [plane(from), plane(to - 1) + stride[2]];
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

export type PoolKind = 'max' | 'average';

/** Assigns `target`, or these planes of it: maximum or mean of each window of the activated source. */
export function poolForward(
  recorder: Recorder,
  label: string,
  { source, target }: { readonly source: Input; readonly target: VolumeTensor },
  stride: Size3 = doubling,
  kind: PoolKind = 'max',
  planes: Planes = [0, target.planes],
): void {
  assertPooled(label, source.tensor, target, stride);
  const uses = [{ tensor: source.tensor, ...below(source.tensor, target, stride) }, { tensor: target }];
  for (const [from, to] of recorder.slabs(planes, uses)) {
    const slab = recorder.planes(source.tensor, ...sourcePlanes(source.tensor, target, stride, [from, to]));
    const out = recorder.planes(target, from, to);
    recorder.dispatch('pool/forward', {
      label,
      bindings: { source: slab.view, scaleShifts: source.scaleShifts ?? slab.view, target_: out.view },
      params: {
        ...shapeParams(source.tensor, target),
        channels: target.channels,
        plane0: from,
        startSource: slab.start,
        startTarget: out.start,
        slope: source.slope ?? 1,
      },
      constants: {
        NORM: source.scaleShifts !== undefined,
        ...(kind === 'average' && { AVERAGE: true }),
        ...strideConstants(stride),
      },
      workgroups: [groupsOf64(planeQuads(target)), target.channels, to - from],
    });
  }
}

/** Of max-pool: accumulates into `dSource`, the gradient of the activated source. */
export function poolBackward(
  recorder: Recorder,
  label: string,
  tensors: { readonly source: Input; readonly dTarget: VolumeTensor; readonly dSource: VolumeTensor },
  stride: Size3 = doubling,
): void {
  const { source, dTarget, dSource } = tensors;
  assertPooled(label, source.tensor, dTarget, stride);
  const uses = [
    { tensor: source.tensor, ...below(source.tensor, dTarget, stride) },
    { tensor: dSource, ...below(source.tensor, dTarget, stride) },
    { tensor: dTarget },
  ];
  for (const [from, to] of recorder.slabs(dTarget.planes, uses)) {
    const range = sourcePlanes(source.tensor, dTarget, stride, [from, to]);
    const slab = recorder.planes(source.tensor, ...range);
    const gradient = recorder.planes(dTarget, from, to);
    const out = recorder.planes(dSource, ...range);
    recorder.dispatch('pool/backward', {
      label,
      bindings: {
        source: slab.view,
        scaleShifts: source.scaleShifts ?? slab.view,
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
      constants: { NORM: source.scaleShifts !== undefined, ...strideConstants(stride) },
      workgroups: [groupsOf64(planeQuads(dTarget)), dTarget.channels, to - from],
    });
  }
}

/** Of average-pool: assigns `dSource`, the gradient of the activated source, or with `add` accumulates into it. */
export function averagePoolBackward(
  recorder: Recorder,
  label: string,
  { dTarget, dSource }: { readonly dTarget: VolumeTensor; readonly dSource: VolumeTensor },
  stride: Size3 = doubling,
  add = false,
): void {
  assertPooled(label, dSource, dTarget, stride);
  const [depth, depthOut] = [dSource.size[2], dTarget.size[2]];
  const above = (plane: number) =>
    Math.floor(plane / depth) * depthOut + Math.min(Math.floor((plane % depth) / stride[2]), depthOut - 1);
  const uses = [{ tensor: dTarget, ratio: 1 / stride[2], halo: stride[2] - 1 }, { tensor: dSource }];
  for (const [from, to] of recorder.slabs(dSource.planes, uses)) {
    const gradient = recorder.planes(dTarget, above(from), above(to - 1) + 1);
    const out = recorder.planes(dSource, from, to);
    recorder.dispatch('pool/backward_average', {
      label,
      bindings: { gradient: gradient.view, target_: out.view },
      params: {
        ...shapeParams(dSource, dTarget),
        channels: dSource.channels,
        plane0: from,
        startGradient: gradient.start,
        startTarget: out.start,
      },
      constants: { ADD: add, ...strideConstants(stride) },
      workgroups: [groupsOf64(planeQuads(dSource)), dSource.channels, to - from],
    });
  }
}

/**
 * Which voxel of a window is taken for it: the one nearest to its middle, of two the farther, as PyTorch's
 * `nearest-exact` does and nnU-Net with it; or the first.
 */
export type TakenVoxel = 'nearest' | 'first';

/**
 * Assigns `target`: one label for each window, the truth for a network's coarser outputs.
 * @param stride the window's size, from full resolution: any whole numbers
 */
export function coarserLabels(
  recorder: Recorder,
  label: string,
  { source, target }: { readonly source: VolumeTensor; readonly target: VolumeTensor },
  stride: Size3,
  taken: TakenVoxel = 'nearest',
): void {
  const voxel = (axis: 0 | 1 | 2) => (taken === 'nearest' ? stride[axis] >> 1 : 0);
  assertPooled(label, source, target, stride);
  const uses = [{ tensor: source, ...below(source, target, stride) }, { tensor: target }];
  for (const [from, to] of recorder.slabs(target.planes, uses)) {
    const slab = recorder.planes(source, ...sourcePlanes(source, target, stride, [from, to]));
    const out = recorder.planes(target, from, to);
    recorder.dispatch('pool/labels', {
      label,
      bindings: { source: slab.view, target_: out.view },
      params: {
        ...shapeParams(source, target),
        strideX: stride[0],
        strideY: stride[1],
        strideZ: stride[2],
        takenX: voxel(0),
        takenY: voxel(1),
        takenZ: voxel(2),
        plane0: from,
        startSource: slab.start,
        startTarget: out.start,
      },
      workgroups: [groupsOf64(planeQuads(target)), 1, to - from],
    });
  }
}
