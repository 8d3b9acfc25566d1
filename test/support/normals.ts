/** Random numbers of tests: a file gets the same ones whatever ran before it in its process or page. */
import { random } from '../../src/data/random.ts';

let stream = 0;

/** Before every test file: files that share a process or a page share this module. */
export function restartNormals(): void {
  stream = 0;
}

/** Standard normal values, another stream at every call of a file, the same in every run. */
export function normals(length: number): Float64Array {
  const source = random(2024, stream++);
  return Float64Array.from({ length }, () => Math.fround(source.normal()));
}
