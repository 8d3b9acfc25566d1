// Voxels for tests of loops over them, and how they are compared.
import { random } from '../../src/data/random.ts';
import type { Size3 } from '../../src/size.ts';

/** Random float32 of both signs around an offset, reproducible. */
export function noise(length: number, offset = 0, scale = 100): Float32Array {
  const r = random(7, length, offset);
  return Float32Array.from({ length }, () => offset + scale * (r.uniform() - 0.5));
}
export const voxels = ([x, y, z]: Size3): number => x * y * z;

/** The first places where two arrays differ; faster than toEqual on many voxels. */
export function different(a: ArrayLike<number>, b: ArrayLike<number>): number[] {
  const places = a.length === b.length ? [] : [Math.min(a.length, b.length)];
  for (let i = 0; i < a.length && places.length < 5; i++) if (!Object.is(a[i], b[i])) places.push(i);
  return places;
}
