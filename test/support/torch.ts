/** Reads the fixtures that test/fixtures/pytorch.py writes: what PyTorch computes in float64, kept as float32. */
import type { Dense } from './run.ts';

export interface PackedFloats {
  readonly shape: readonly number[];
  /** Base64 of little-endian bytes. */
  readonly float32: string;
}

export interface PackedBytes {
  readonly shape: readonly number[];
  readonly uint8: string;
}

function decode(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

export function floats({ shape, float32 }: PackedFloats): Float64Array {
  const values = new Float32Array(decode(float32).buffer);
  const length = shape.reduce((product, size) => product * size, 1);
  if (values.length !== length)
    throw new Error(`a fixture of shape [${shape.join()}] holds ${values.length} values`);
  return Float64Array.from(values);
}

/** A volume [n][c][z][y][x]. */
export function volume(packed: PackedFloats): Dense {
  const [n, c, z, y, x] = packed.shape;
  return { shape: [n!, c!, z!, y!, x!], data: floats(packed) };
}

export const bytes = ({ uint8 }: PackedBytes): Uint8Array<ArrayBuffer> => decode(uint8);
