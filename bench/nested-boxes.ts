/** A batch made up for benchmarks. */
import { random } from '../src/data/random.ts';
import type { Size3 } from '../src/size.ts';

/** Nested boxes as labels, noise around each class's level as image; the same each time. */
export function nestedBoxes([x, y, z]: Size3, batch: number, classes: number) {
  const label = new Uint8Array(batch * x * y * z);
  const image = new Float32Array(label.length);
  const source = random(7, 'full-size');
  for (let i = 0; i < label.length; i++) {
    const [u, v, w] = [(i % x) / x, (Math.floor(i / x) % y) / y, (Math.floor(i / (x * y)) % z) / z];
    const depth = Math.min(u, 1 - u, v, 1 - v, w, 1 - w) * 2;
    label[i] = Math.min(classes - 1, Math.floor(depth * classes));
    image[i] = label[i]! / classes + source.uniform(-0.5, 0.5);
  }
  return { image, label };
}
