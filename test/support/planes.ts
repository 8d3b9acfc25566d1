/** Logits plane by plane, of those that there are all of. */
import type { DenseCase } from '../../src/infer/evaluator.ts';
import type { Size3 } from '../../src/size.ts';

/** Planes [head][y][x] of [head][z][y][x]. */
export function* planesOf(logits: Float32Array, heads: number, [x, y, z]: Size3): Generator<Float32Array> {
  const area = x * y;
  for (let plane = 0; plane < z; plane++) {
    const result = new Float32Array(heads * area);
    for (let head = 0; head < heads; head++) {
      const start = (head * z + plane) * area;
      result.set(logits.subarray(start, start + area), head * area);
    }
    yield result;
  }
}

/** Of a stand-in for a network, which gives [head][z][y][x] of a volume. */
export const inPlanes = (logits: (volume: DenseCase) => Float32Array | Promise<Float32Array>) =>
  async function* (volume: DenseCase): AsyncGenerator<Float32Array> {
    const all = await logits(volume);
    yield* planesOf(all, all.length / volume.shape.reduce((a, b) => a * b, 1), volume.shape);
  };
