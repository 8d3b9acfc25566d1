/** Volumes as float64 loops take them. */

/** A dense array [n][c][z][y][x] of float64 values that float32 holds exactly. */
export interface Dense {
  readonly shape: readonly [n: number, c: number, z: number, y: number, x: number];
  readonly data: Float64Array;
}

export function dense(shape: Dense['shape'], fill: (index: number) => number = () => 0): Dense {
  const data = new Float64Array(shape.reduce((product, length) => product * length, 1));
  for (let i = 0; i < data.length; i++) data[i] = Math.fround(fill(i));
  return { shape, data };
}
