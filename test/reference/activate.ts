/** What a reader of a normalised volume sees: max(z, slope·z) of z = scale·y + shift, in float64. */
import { type Dense } from '../support/dense.ts';

/** scaleShifts: scale and shift, [sample][channel][2]. */
export function activate(values: Dense, scaleShifts: Float64Array, slope: number): Dense {
  const size = values.shape[2] * values.shape[3] * values.shape[4];
  const data = values.data.map((value, i) => {
    const at = Math.floor(i / size) * 2;
    const z = value * scaleShifts[at]! + scaleShifts[at + 1]!;
    return Math.max(z, slope * z);
  });
  return { shape: values.shape, data };
}

/** Concatenation along channels. */
export function concatenate(a: Dense, b: Dense): Dense {
  const [n, ca, z, y, x] = a.shape;
  const cb = b.shape[1];
  const size = z * y * x;
  const data = new Float64Array(n * (ca + cb) * size);
  for (let i = 0; i < n; i++) {
    data.set(a.data.subarray(i * ca * size, (i + 1) * ca * size), i * (ca + cb) * size);
    data.set(b.data.subarray(i * cb * size, (i + 1) * cb * size), (i * (ca + cb) + ca) * size);
  }
  return { shape: [n, ca + cb, z, y, x], data };
}

/** Channels [from, to). */
export function channels(values: Dense, from: number, to: number): Dense {
  const [n, c, z, y, x] = values.shape;
  const size = z * y * x;
  const data = new Float64Array(n * (to - from) * size);
  for (let i = 0; i < n; i++)
    data.set(values.data.subarray((i * c + from) * size, (i * c + to) * size), i * (to - from) * size);
  return { shape: [n, to - from, z, y, x], data };
}
