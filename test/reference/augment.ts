/** Augmentation in float64, by plain loops, from what was drawn. */
import { mirrorMatrix, type SampleDraw } from '../../src/ops/augment.ts';
import { dense, type Dense } from '../support/dense.ts';

/** A channel of one sample: values [z][y][x]. */
interface Grid {
  readonly size: readonly [x: number, y: number, z: number];
  readonly data: Float64Array;
}

const at = ({ size, data }: Grid, x: number, y: number, z: number): number | undefined =>
  x < 0 || y < 0 || z < 0 || x >= size[0] || y >= size[1] || z >= size[2]
    ? undefined
    : data[(z * size[1] + y) * size[0] + x];

function grid(size: Grid['size'], value: (x: number, y: number, z: number) => number): Grid {
  const data = new Float64Array(size[0] * size[1] * size[2]);
  let i = 0;
  for (let z = 0; z < size[2]; z++)
    for (let y = 0; y < size[1]; y++) for (let x = 0; x < size[0]; x++) data[i++] = value(x, y, z);
  return { size, data };
}

/** Values at each target voxel's place in the source, which reaches beyond the target by a margin. */
function placed(
  size: Grid['size'],
  margin: Grid['size'],
  { matrix, mirror }: SampleDraw,
  value: (x: number, y: number, z: number) => number,
): Grid {
  const rows = (matrix ?? mirrorMatrix(mirror ?? [false, false, false], size)).map((row) =>
    row.map(Math.fround),
  );
  return grid(size, (x, y, z) => {
    const [a, b, c] = rows.map((row) => row[0]! * x + row[1]! * y + row[2]! * z + row[3]!);
    return value(a! + margin[0], b! + margin[1], c! + margin[2]);
  });
}

function trilinear(source: Grid, x: number, y: number, z: number): number {
  let sum = 0;
  for (const [dx, dy, dz] of [0, 1, 2, 3, 4, 5, 6, 7].map((i) => [i & 1, (i >> 1) & 1, i >> 2] as const)) {
    const [x0, y0, z0] = [Math.floor(x) + dx, Math.floor(y) + dy, Math.floor(z) + dz];
    const weight = (1 - Math.abs(x - x0)) * (1 - Math.abs(y - y0)) * (1 - Math.abs(z - z0));
    sum += weight * (at(source, x0, y0, z0) ?? 0);
  }
  return sum;
}

/** pcg4d of Jarzynski & Olano 2020. */
function pcg4d(counter: readonly number[]): number[] {
  const v = Uint32Array.from(counter, (word) => Math.imul(word, 1664525) + 1013904223);
  const mix = () => {
    v[0]! += Math.imul(v[1]!, v[3]!);
    v[1]! += Math.imul(v[2]!, v[0]!);
    v[2]! += Math.imul(v[0]!, v[1]!);
    v[3]! += Math.imul(v[1]!, v[2]!);
  };
  mix();
  v.forEach((word, i) => (v[i] = word ^ (word >>> 16)));
  mix();
  return [...v];
}

/** The noise of a voxel: quads of four share a counter. */
export function noiseAt(
  size: Grid['size'],
  key: readonly [number, number],
  x: number,
  y: number,
  z: number,
): number {
  const quad = y * Math.ceil(size[0] / 4) + (x >> 2);
  const u = pcg4d([quad, z, ...key]).map((word) => ((word >>> 8) + 0.5) / 2 ** 24);
  const lane = x % 4;
  const radius = Math.sqrt(-2 * Math.log(u[lane % 2]!));
  const angle = 2 * Math.PI * (u[2 + (lane % 2)]! - 0.5);
  return radius * (lane < 2 ? Math.cos(angle) : Math.sin(angle));
}

const along = (axis: number, x: number, y: number, z: number, move: number): [number, number, number] => [
  axis === 0 ? x + move : x,
  axis === 1 ? y + move : y,
  axis === 2 ? z + move : z,
];

/** Weighted mean of the seven voxels along an axis, of those that are there. */
const blurred = (source: Grid, axis: number, sigma: number): Grid =>
  grid(source.size, (x, y, z) => {
    let [sum, weights] = [0, 0];
    for (let d = -3; d <= 3; d++) {
      const value = at(source, ...along(axis, x, y, z, d));
      if (value === undefined) continue;
      const weight = Math.exp((-0.5 * d * d) / sigma ** 2);
      sum += weight * value;
      weights += weight;
    }
    return sum / weights;
  });

/** Down to `reduced` voxels by the nearest (PyTorch's nearest-exact), up linearly (align_corners false). */
function reducedAlong(source: Grid, axis: number, reduced: number): Grid {
  const count = source.size[axis]!;
  const nearest = (low: number) => Math.floor(((low + 0.5) * count) / reduced);
  return grid(source.size, (x, y, z) => {
    const here = [x, y, z][axis]!;
    const place = Math.max(0, ((here + 0.5) * reduced) / count - 0.5);
    const low = Math.floor(place);
    const value = (low: number) => at(source, ...along(axis, x, y, z, nearest(low) - here))!;
    return value(low) * (1 - (place - low)) + value(Math.min(low + 1, reduced - 1)) * (place - low);
  });
}

function statistics(values: Float64Array) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { mean, deviation: Math.sqrt(variance), least: Math.min(...values), largest: Math.max(...values) };
}

const mapped = ({ size, data }: Grid, value: (v: number) => number): Grid => ({
  size,
  data: data.map(value),
});

function contrasted(source: Grid, factor: number): Grid {
  const { mean, least, largest } = statistics(source.data);
  return mapped(source, (v) => Math.min(largest, Math.max(least, (v - mean) * factor + mean)));
}

function gammaOf(source: Grid, exponent: number, inverted: boolean): Grid {
  const turned = inverted ? mapped(source, (v) => -v) : source;
  const before = statistics(turned.data);
  const range = Math.max(before.largest - before.least, 1e-7);
  const power = mapped(turned, (v) => ((v - before.least) / range) ** exponent * range + before.least);
  const after = statistics(power.data);
  const scale = before.deviation / Math.max(after.deviation, 1e-7);
  const back = mapped(power, (v) => (v - after.mean) * scale + before.mean);
  return inverted ? mapped(back, (v) => -v) : back;
}

export function augmented(
  image: Dense,
  labels: Uint8Array,
  draws: readonly SampleDraw[],
  margin: Grid['size'] = [0, 0, 0],
): { image: Dense; labels: Uint8Array } {
  const [batch, channels, ...given] = image.shape;
  const whole: Grid['size'] = [given[2], given[1], given[0]];
  const wholeVoxels = whole[0] * whole[1] * whole[2];
  const size = whole.map((n, axis) => n - 2 * margin[axis]!) as unknown as Grid['size'];
  const voxels = size[0] * size[1] * size[2];
  const result = dense([batch, channels, size[2], size[1], size[0]]);
  const resultLabels = new Uint8Array(batch * voxels);
  for (let n = 0; n < batch; n++) {
    const draw = draws[n]!;
    const shown = labels.subarray(n * wholeVoxels, (n + 1) * wholeVoxels);
    const truth: Grid = { size: whole, data: Float64Array.from(shown) };
    const nearest = (x: number, y: number, z: number) =>
      at(truth, Math.floor(x + 0.5), Math.floor(y + 0.5), Math.floor(z + 0.5)) ?? 255;
    resultLabels.set(placed(size, margin, draw, nearest).data, n * voxels);
    for (let c = 0; c < channels; c++) {
      const first = (n * channels + c) * wholeVoxels;
      const source: Grid = { size: whole, data: image.data.subarray(first, first + wholeVoxels) };
      const { blur, brightness = 1, contrast, lowResolution, invertedGamma, gamma } = draw.channels[c]!;
      let g = placed(size, margin, draw, (x, y, z) => trilinear(source, x, y, z));
      const { noise } = draw;
      if (noise) {
        const before = g;
        g = grid(
          size,
          (x, y, z) => at(before, x, y, z)! + noise.deviation * noiseAt(size, noise.key, x, y, z),
        );
      }
      for (const axis of blur ? [0, 1, 2] : []) g = blurred(g, axis, blur![axis]!);
      g = mapped(g, (v) => v * brightness);
      if (contrast !== undefined) g = contrasted(g, contrast);
      for (const axis of lowResolution ? [0, 1, 2] : []) g = reducedAlong(g, axis, lowResolution![axis]!);
      if (invertedGamma !== undefined) g = gammaOf(g, invertedGamma, true);
      if (gamma !== undefined) g = gammaOf(g, gamma, false);
      result.data.set(g.data, (n * channels + c) * voxels);
    }
  }
  return { image: result, labels: resultLabels };
}
