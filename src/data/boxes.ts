/** Boxes of volumes: cut out, padded, found. On the WASM kernels; every call gives a new array. */
import { InvalidOption } from '../errors.ts';
import type { Size3 } from '../size.ts';
import {
  channelByChannel,
  channelsIn,
  load,
  requireSize,
  type Fresh,
  type Three,
  type Voxels,
} from './voxels.ts';
import { allocate, wasm, type WasmExports } from './wasm.ts';

/** The kernels of wasm/assembly; their definitions stand there. */
interface Kernels extends WasmExports {
  window(
    source: number,
    ...rest: [...Three, number, ...Three, ...Three, channels: number, bytes: number]
  ): void;
  nonZeroBox(source: number, nx: number, ny: number, nz: number, channels: number, out: number): void;
}

const kernels = (): Kernels => wasm() as Kernels;

/**
 * out[c][z][y][x] = data[c][z + start z][y + start y][x + start x], 0 outside the data.
 */
const windowOf = <T extends Voxels>(data: T, size: Size3, start: Size3, to: Size3): Fresh<T> =>
  channelByChannel(channelsIn(data, size), to, (source) => {
    const target = allocate(to[0] * to[1] * to[2] * data.BYTES_PER_ELEMENT);
    kernels().window(source, ...size, target, ...to, ...start, 1, data.BYTES_PER_ELEMENT);
    return target;
  });

/**
 * A box of every channel.
 * @param start first voxel of the box
 * @param to size of the box, which lies inside the grid
 * @throws InvalidVolume if the array does not fit its size, InvalidOption if the box does not
 */
export function crop<T extends Voxels>(data: T, size: Size3, start: Size3, to: Size3): Fresh<T> {
  requireSize(to, 'The size of a box');
  if (
    !start.every((first, axis) => Number.isInteger(first) && first >= 0 && first + to[axis]! <= size[axis]!)
  )
    throw new InvalidOption(
      `A box of ${to.join(' x ')} from voxel ${start.join(', ')} on does not lie inside ${size.join(' x ')}; ` +
        'crop what there is, and pad afterwards.',
    );
  return windowOf(data, size, start, to);
}

/**
 * Zeros around every channel.
 * @param before voxels to add at the near end of x, y, z
 * @param after voxels to add at the far end
 * @throws InvalidVolume if the array does not fit its size, InvalidOption for widths below 0
 */
export function pad<T extends Voxels>(
  data: T,
  size: Size3,
  before: Size3,
  after: Size3,
): { data: Fresh<T>; size: Size3 } {
  if (![...before, ...after].every((n) => Number.isInteger(n) && n >= 0))
    throw new InvalidOption(
      `Pads by whole numbers of voxels from 0 on, got ${before.join(', ')} before and ${after.join(', ')} after.`,
    );
  const to = size.map((n, axis) => before[axis]! + n + after[axis]!) as unknown as Size3;
  requireSize(to, 'The padded size');
  const start: Size3 = [-before[0], -before[1], -before[2]];
  return { data: windowOf(data, size, start, to), size: to };
}

/** A box of voxels: its first one and its size. */
export interface Box {
  /** The first voxel, x, y, z. */
  readonly start: Size3;
  /** Voxels along x, y, z. */
  readonly size: Size3;
}

/**
 * The smallest box that holds every voxel that is not 0 in some channel (NaN is not 0); undefined where all are 0.
 * @throws InvalidVolume if the array does not fit its size
 */
export function nonZeroBox(data: Float32Array, size: Size3): Box | undefined {
  const boxes = channelsIn(data, size).flatMap((channel) => boxOf(channel, size) ?? []);
  return boxes.length > 0 ? boxes.reduce(joinBoxes) : undefined;
}

function boxOf(channel: Float32Array, size: Size3): Box | undefined {
  const source = load(channel);
  const out = allocate(24);
  kernels().nonZeroBox(source, ...size, 1, out);
  const [x0, y0, z0, x1, y1, z1] = new Int32Array(wasm().memory.buffer, out, 6) as unknown as [
    ...Three,
    ...Three,
  ];
  return x1 === 0 ? undefined : { start: [x0, y0, z0], size: [x1 - x0, y1 - y0, z1 - z0] };
}

/** The smallest box that holds two boxes. */
export function joinBoxes(a: Box, b: Box): Box {
  const start = a.start.map((first, axis) => Math.min(first, b.start[axis]!)) as unknown as Size3;
  const size = start.map(
    (first, axis) => Math.max(a.start[axis]! + a.size[axis]!, b.start[axis]! + b.size[axis]!) - first,
  ) as unknown as Size3;
  return { start, size };
}
