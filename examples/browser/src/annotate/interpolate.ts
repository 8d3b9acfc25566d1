/** Shapes between drawn slices, from their distances to the outlines (Raya and Udupa 1990). */
import type { Size3 } from 'unet3d-gpu/worker';
import type { Rest } from '../pieces.ts';
import { drawnBackground, eachOfSlice, notDrawn, Painting, type Paint } from './drawing.ts';

/** Squared, further than any voxel, and still exact beside the squares of distances. */
const far = 1e12;

/** Squared distances along a line to its zeros, lower envelope of parabolas (Felzenszwalb and Huttenlocher 2012). */
function alongLine(line: Float64Array, spacing: number): void {
  const n = line.length;
  const given = line.slice();
  const place = new Int32Array(n);
  const from = new Float64Array(n + 1);
  const square = (i: number): number => (i * spacing) ** 2;
  const meet = (q: number, p: number): number =>
    (given[q]! + square(q) - given[p]! - square(p)) / (2 * spacing * spacing * (q - p));
  let k = 0;
  from[0] = -Infinity;
  from[1] = Infinity;
  for (let q = 1; q < n; q++) {
    while (k > 0 && meet(q, place[k]!) <= from[k]!) k--;
    const at = meet(q, place[k]!);
    place[++k] = q;
    from[k] = at;
    from[k + 1] = Infinity;
  }
  k = 0;
  for (let q = 0; q < n; q++) {
    while (from[k + 1]! < q) k++;
    line[q] = square(q - place[k]!) + given[place[k]!]!;
  }
}

type Pair = readonly [number, number];

/** Distance of each pixel to the next that is inside, in the unit of the spacing. */
function distances(isInside: Uint8Array, [nu, nv]: Pair, [su, sv]: Pair): Float64Array {
  const squares = new Float64Array(nu * nv);
  for (let at = 0; at < squares.length; at++) squares[at] = isInside[at] === 1 ? 0 : far;
  for (let v = 0; v < nv; v++) alongLine(squares.subarray(v * nu, (v + 1) * nu), su);
  const column = new Float64Array(nv);
  for (let u = 0; u < nu; u++) {
    for (let v = 0; v < nv; v++) column[v] = squares[v * nu + u]!;
    alongLine(column, sv);
    for (let v = 0; v < nv; v++) squares[v * nu + u] = column[v]!;
  }
  return squares.map(Math.sqrt);
}

/** Distance to the outline of a shape, positive inside. */
function depths(shape: Uint8Array, size: Pair, spacing: Pair): Float64Array {
  const inside = distances(
    shape.map((is) => 1 - is),
    size,
    spacing,
  );
  const outside = distances(shape, size, spacing);
  const half = Math.min(...spacing) / 2;
  return inside.map((depth, at) => (shape[at] === 1 ? depth - half : half - outside[at]!));
}

/** A class that two slices show, in a box with a margin about what both show of it. */
interface Shape {
  readonly value: number;
  /** The first pixel of the box. */
  readonly start: Pair;
  readonly size: Pair;
  /** Of the pixels of the box in the one slice and in the other. */
  readonly depths: readonly [Float64Array, Float64Array];
}

function shapeOf(
  value: number,
  slices: readonly [Uint8Array, Uint8Array],
  [nu, nv]: Pair,
  spacing: Pair,
): Shape {
  let [u0, u1, v0, v1] = [nu, 0, nv, 0];
  for (let v = 0; v < nv; v++)
    for (let u = 0; u < nu; u++) {
      if (slices[0][v * nu + u] !== value && slices[1][v * nu + u] !== value) continue;
      [u0, u1] = [Math.min(u0, u), Math.max(u1, u)];
      [v0, v1] = [Math.min(v0, v), Math.max(v1, v)];
    }
  const start: Pair = [Math.max(0, u0 - 1), Math.max(0, v0 - 1)];
  const size: Pair = [Math.min(nu, u1 + 2) - start[0], Math.min(nv, v1 + 2) - start[1]];
  const depthsIn = (slice: Uint8Array): Float64Array => {
    const shape = new Uint8Array(size[0] * size[1]);
    for (let v = 0; v < size[1]; v++)
      for (let u = 0; u < size[0]; u++)
        shape[v * size[0] + u] = Number(slice[(start[1] + v) * nu + start[0] + u] === value);
    return depths(shape, size, spacing);
  };
  return { value, start, size, depths: [depthsIn(slices[0]), depthsIn(slices[1])] };
}

/** The deepest shape at each pixel of a slice between two, at a share of the way; outside of all of them 0. */
function sliceBetween(shapes: readonly Shape[], share: number, [nu, nv]: Pair): Uint8Array {
  const values = new Uint8Array(nu * nv);
  const deepest = new Float64Array(nu * nv);
  for (const {
    value,
    start,
    size,
    depths: [a, b],
  } of shapes)
    for (let v = 0; v < size[1]; v++)
      for (let u = 0; u < size[0]; u++) {
        const inBox = v * size[0] + u;
        const at = (start[1] + v) * nu + start[0] + u;
        const depth = (1 - share) * a[inBox]! + share * b[inBox]!;
        if (depth <= deepest[at]!) continue;
        deepest[at] = depth;
        values[at] = value;
      }
  return values;
}

/** Two neighbouring drawn slices that have undrawn ones between them: their indices, and what is drawn in them. */
export interface Gap {
  readonly low: number;
  readonly high: number;
  readonly first: Uint8Array<ArrayBuffer>;
  readonly second: Uint8Array<ArrayBuffer>;
}

/** Those of all gaps, each once. */
export const buffersOf = (gaps: readonly Gap[]): ArrayBuffer[] => [
  ...new Set(gaps.flatMap(({ first, second }) => [first.buffer, second.buffer])),
];

/** Slices across an axis. */
export interface Across {
  /** Voxels along each axis, x fastest. */
  readonly shape: Size3;
  readonly axis: 0 | 1 | 2;
}

/**
 * The gaps between drawn slices.
 * @param known indices of the drawn slices, in ascending order
 */
export async function gapsBetween(
  drawn: Uint8Array,
  known: readonly number[],
  { shape, axis }: Across,
  rest: Rest,
): Promise<Gap[]> {
  const sliceAt = async (index: number): Promise<Uint8Array<ArrayBuffer>> => {
    await rest();
    const slice = new Uint8Array((shape[0] * shape[1] * shape[2]) / shape[axis]);
    let next = 0;
    eachOfSlice(shape, { axis, index }, (at) => (slice[next++] = drawn[at]!));
    return slice;
  };
  const gaps: Gap[] = [];
  for (const [at, high] of known.entries()) {
    const low = known[at - 1];
    if (low === undefined || high - low < 2) continue;
    const before = gaps.at(-1);
    const first = before?.high === low ? before.second : await sliceAt(low);
    gaps.push({ low, high, first, second: await sliceAt(high) });
  }
  return gaps;
}

/**
 * What is to be drawn in the gaps: the classes that both slices of each show.
 * @param spacing of voxels, in millimetres
 * @returns with the number of slices that this is in
 */
export async function interpolated(
  gaps: readonly Gap[],
  { shape, axis, spacing }: Across & { readonly spacing: Size3 },
  rest: Rest,
): Promise<{ readonly paints: readonly Paint[]; readonly count: number }> {
  const [u, v] = ([0, 1, 2] as const).filter((other) => other !== axis) as [0 | 1 | 2, 0 | 1 | 2];
  const size: Pair = [shape[u], shape[v]];
  const pixel: Pair = [spacing[u], spacing[v]];
  const painting = new Painting();
  let count = 0;
  for (const { low, high, first, second } of gaps) {
    const values = [...new Set(first)].filter(
      (value) => value !== notDrawn && value !== drawnBackground && second.includes(value),
    );
    const shapes: Shape[] = [];
    for (const value of values) {
      await rest();
      shapes.push(shapeOf(value, [first, second], size, pixel));
    }
    if (shapes.length === 0) continue;
    for (let index = low + 1; index < high; index++) {
      await rest();
      const slice = sliceBetween(shapes, (index - low) / (high - low), size);
      let next = 0;
      eachOfSlice(shape, { axis, index }, (place) => {
        const value = slice[next++]!;
        if (value !== notDrawn) painting.add(place, value);
      });
      if (slice.some((value) => value !== notDrawn)) count++;
    }
  }
  return { paints: painting.paints, count };
}
