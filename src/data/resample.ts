/** Volumes on a grid of another size, on the WASM kernels. Every call gives a new array. */
import { InvalidOption } from '../errors.ts';
import type { Size3 } from '../size.ts';
import {
  channelByChannel,
  channelsIn,
  copyLike,
  load,
  requireSize,
  type Fresh,
  type Three,
  type Voxels,
} from './voxels.ts';
import { allocate, copyIn, wasm, type WasmExports } from './wasm.ts';
import { roundHalfEven } from './rounding.ts';

/** How values between voxels come about: trilinear, or that of the voxel whose cell holds the point. */
export type ResampleMode = 'linear' | 'nearest';

/** The kernels of wasm/assembly/resample.ts; their definitions stand there. */
interface Kernels extends WasmExports {
  linearScratchBytes(fromX: number, toX: number): number;
  resampleLinear(source: number, ...rest: Resampling): void;
  resamplePlane(...all: readonly number[]): void;
  resampleNearestU8(source: number, ...rest: Resampling): void;
  resampleNearestF32(source: number, ...rest: Resampling): void;
}
type Resampling = [...Three, target: number, ...Three, channels: number, scratch: number];

const kernels = (): Kernels => wasm() as Kernels;

/**
 * The same field of view with another number of voxels, channel by channel. The centre of voxel d lies at
 * s = (d + 1/2) * from / to - 1/2 of the source.
 * - linear: s clamped to the first and last voxel, trilinear in float64, as PyTorch's F.interpolate with
 *   align_corners=False; without smoothing beforehand. NaN and infinities spread to their neighbours.
 * - nearest: source voxel floor((d + 1/2) * from / to), exactly; PyTorch's "nearest-exact".
 * @param data labels (Uint8Array) only take "nearest"
 * @throws InvalidVolume if the array does not fit its size, InvalidOption for sizes that are none, OutOfMemory
 */
export function resampleTo(
  data: Uint8Array,
  from: Size3,
  to: Size3,
  mode: 'nearest',
): Uint8Array<ArrayBuffer>;
export function resampleTo(
  data: Float32Array,
  from: Size3,
  to: Size3,
  mode: ResampleMode,
): Float32Array<ArrayBuffer>;
export function resampleTo(data: Voxels, from: Size3, to: Size3, mode: ResampleMode): Fresh<Voxels> {
  const channels = channelsIn(data, from);
  requireSize(to, 'The size to resample to');
  if (data instanceof Uint8Array && mode === 'linear')
    throw new InvalidOption('Labels (Uint8Array) cannot be resampled "linear"; use "nearest".');
  if (to.every((n, axis) => n === from[axis])) return data.slice();
  const nearest = data instanceof Uint8Array ? 'resampleNearestU8' : 'resampleNearestF32';
  const kernel = mode === 'linear' ? 'resampleLinear' : nearest;
  return channelByChannel(channels, to, (source) => {
    const target = allocate(to[0] * to[1] * to[2] * data.BYTES_PER_ELEMENT);
    const scratch = allocate(kernels().linearScratchBytes(from[0], to[0]));
    kernels()[kernel](source, ...from, target, ...to, 1, scratch);
    return target;
  });
}

/** A place of an axis between two voxels of another, and the weight of the second. */
export interface Between {
  readonly low: number;
  readonly high: number;
  readonly weight: number;
}

/** For each voxel of an axis those that it lies between, as `resampleTo` has them for "linear". */
export const linearPlaces = (from: number, to: number): Between[] =>
  Array.from({ length: to }, (_, i) => {
    const place = Math.max((i + 0.5) * (from / to) - 0.5, 0);
    const low = Math.min(Math.trunc(place), from - 1);
    return { low, high: Math.min(low + 1, from - 1), weight: place - low };
  });

/**
 * One plane [y][x] between two of a grid, to the bit what "linear" gives of the whole.
 * @param pair the planes, one after the other
 * @param columns of x, and rows of y, as `linearPlaces` gives them
 * @param weight of the second plane
 */
export function resamplePlane(
  pair: Float32Array,
  [columns, rows]: readonly [x: readonly Between[], y: readonly Between[]],
  [fromX, fromY]: readonly [x: number, y: number],
  weight: number,
): Float32Array<ArrayBuffer> {
  const first = load(pair);
  const second = first + 4 * fromX * fromY;
  const [xs, ys] = [columns, rows].map((places) => copyIn(packed(places))) as [number, number];
  const length = columns.length * rows.length;
  const target = allocate(4 * length);
  const scratch = allocate(8 * fromX);
  kernels().resamplePlane(
    ...[first, second, weight, fromX, ys, rows.length, xs, columns.length, target, scratch],
  );
  return copyLike(pair, target, length);
}

/** 16 bytes a place, as the kernel reads them. */
function packed(places: readonly Between[]): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(16 * places.length));
  places.forEach(({ low, high, weight }, i) => {
    bytes.setInt32(16 * i, low, true);
    bytes.setInt32(16 * i + 4, high, true);
    bytes.setFloat64(16 * i + 8, weight, true);
  });
  return new Uint8Array(bytes.buffer);
}

/**
 * The size nearest to a spacing: round(size * spacing / newSpacing), halves to the even number as numpy and scipy have it,
 * at least 1 along each axis. The field of view stays, so that resampling to it gives a spacing of spacing * size / new size, a little off the one asked for.
 * @param spacing mm from voxel to voxel
 * @throws InvalidOption if a spacing is not above 0
 */
export function sizeAtSpacing(size: Size3, spacing: Size3, newSpacing: Size3): Size3 {
  for (const mm of [...spacing, ...newSpacing])
    if (!(mm > 0 && mm < Infinity))
      throw new InvalidOption(`Spacings are finite numbers of mm above 0, got ${mm}.`);
  return size.map((n, axis) =>
    Math.max(1, roundHalfEven((n * spacing[axis]!) / newSpacing[axis]!)),
  ) as unknown as Size3;
}
