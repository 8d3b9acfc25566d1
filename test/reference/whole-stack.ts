/** Logits of all windows in one stack for the whole volume: sums in float32, window after window, z outermost. */
import type { Size3 } from '../../src/size.ts';

export interface Windowed {
  readonly start: Size3;
  /** [class][z][y][x] of the window. */
  readonly logits: Float32Array;
}

/** @param weights of a window along x, y and z; @returns [class][z][y][x] */
export function wholeStack(
  windows: readonly Windowed[],
  [w, h, d]: Size3,
  weights: readonly [Float32Array, Float32Array, Float32Array],
  [x, y, z]: Size3,
  classes: number,
): Float32Array<ArrayBuffer> {
  const sums = new Float32Array(classes * x * y * z);
  const total = new Float32Array(x * y * z);
  for (const { start, logits } of windows)
    for (let k = 0; k < d; k++)
      for (let j = 0; j < h; j++)
        for (let i = 0; i < w; i++) {
          const [a, b, c] = [start[0] + i, start[1] + j, start[2] + k];
          if (a >= x || b >= y || c >= z) continue;
          const voxel = (c * y + b) * x + a;
          const weight = weights[0][i]! * (weights[1][j]! * weights[2][k]!);
          total[voxel]! += weight;
          for (let head = 0; head < classes; head++)
            sums[head * total.length + voxel]! += weight * logits[((head * d + k) * h + j) * w + i]!;
        }
  return sums.map((value, at) => value / total[at % total.length]!);
}
