/** Between dense arrays [sample][channel][z][y][x], as users hold them, and volumes as they are stored. */
import { fromHalf, toHalf } from './half.ts';
import type { VolumeTensor } from './plan.ts';

type Shape = Pick<VolumeTensor, 'batch' | 'channels' | 'size' | 'rowQuads'>;
type Volume = Shape & Pick<VolumeTensor, 'quadBytes'>;

/** Visits each row of x: where it starts in the stored and in the dense array. */
function eachRow(
  { batch, channels, size, rowQuads }: Shape,
  visit: (stored: number, dense: number) => void,
): void {
  const [x, y, z] = size;
  for (let n = 0; n < batch; n++)
    for (let c = 0; c < channels; c++)
      for (let k = 0; k < z; k++) {
        const stored = ((n * z + k) * channels + c) * y;
        const dense = ((n * channels + c) * z + k) * y;
        for (let j = 0; j < y; j++) visit((stored + j) * rowQuads * 4, (dense + j) * x);
      }
}

/** Dense [n][c][z][y][x] → stored, in the volume's precision. */
export function toStored(
  volume: Volume,
  dense: Float32Array,
): Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> {
  const { batch, channels, size, rowQuads } = volume;
  const length = batch * channels * size[2] * size[1] * rowQuads * 4;
  const row = (from: number) => dense.subarray(from, from + size[0]);
  if (volume.quadBytes === 16) {
    const stored = new Float32Array(length);
    eachRow(volume, (to, from) => stored.set(row(from), to));
    return stored;
  }
  const halves = new Uint16Array(length);
  eachRow(volume, (to, from) => halves.set(toHalf(row(from)), to));
  return halves;
}

/** The bytes of a stored volume → dense [n][c][z][y][x]. */
export function toDense(volume: Volume, bytes: ArrayBuffer): Float32Array<ArrayBuffer> {
  const { batch, channels, size } = volume;
  const stored = volume.quadBytes === 16 ? new Float32Array(bytes) : fromHalf(new Uint16Array(bytes));
  const dense = new Float32Array(batch * channels * size[2] * size[1] * size[0]);
  eachRow(volume, (from, to) => dense.set(stored.subarray(from, from + size[0]), to));
  return dense;
}

/** Dense label bytes [n][z][y][x] → stored, rows padded with 255 (ignored). */
export function labelsToStored(shape: Shape, dense: Uint8Array): Uint8Array<ArrayBuffer> {
  const { batch, size, rowQuads } = shape;
  const stored = new Uint8Array(batch * size[2] * size[1] * rowQuads * 4).fill(255);
  eachRow(shape, (to, from) => stored.set(dense.subarray(from, from + size[0]), to));
  return stored;
}

/** Stored label bytes → dense [n][z][y][x]. */
export function labelsToDense(shape: Shape, stored: Uint8Array): Uint8Array<ArrayBuffer> {
  const { batch, size } = shape;
  const dense = new Uint8Array(batch * size[2] * size[1] * size[0]);
  eachRow(shape, (from, to) => dense.set(stored.subarray(from, from + size[0]), to));
  return dense;
}
