/** Shapes between drawn slices, from their distances to the outlines (Raya and Udupa 1990). */
import type { Size3 } from 'unet3d-gpu/worker';
import { drawnBackground, drawnSlices, eachOfSlice, notDrawn } from './drawing.ts';

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

/** Distance of each pixel to the next that is inside, in the unit of the spacing. */
function distances(isInside: (at: number) => boolean, [nu, nv]: Pair, [su, sv]: Pair): Float64Array {
  const squares = Float64Array.from({ length: nu * nv }, (_, at) => (isInside(at) ? 0 : far));
  for (let v = 0; v < nv; v++) alongLine(squares.subarray(v * nu, (v + 1) * nu), su);
  const column = new Float64Array(nv);
  for (let u = 0; u < nu; u++) {
    for (let v = 0; v < nv; v++) column[v] = squares[v * nu + u]!;
    alongLine(column, sv);
    for (let v = 0; v < nv; v++) squares[v * nu + u] = column[v]!;
  }
  return squares.map(Math.sqrt);
}

type Pair = readonly [number, number];

/** Distance to the outline of the pixels with a value, positive inside. */
function depths(slice: Uint8Array, value: number, size: Pair, spacing: Pair): Float64Array {
  const inside = distances((at) => slice[at] !== value, size, spacing);
  const outside = distances((at) => slice[at] === value, size, spacing);
  const half = Math.min(...spacing) / 2;
  return inside.map((depth, at) => (slice[at] === value ? depth - half : half - outside[at]!));
}

/**
 * Draws between neighbouring drawn slices that have undrawn ones between them, the classes that both show.
 * @param drawn of that shape, x fastest
 * @param axis across the slices
 * @param spacing of voxels, in millimetres
 * @returns the number of slices in which something is drawn now
 */
export function interpolate(drawn: Uint8Array, shape: Size3, axis: 0 | 1 | 2, spacing: Size3): number {
  const [u, v] = ([0, 1, 2] as const).filter((other) => other !== axis) as [0 | 1 | 2, 0 | 1 | 2];
  const size: Pair = [shape[u], shape[v]];
  const pixel: Pair = [spacing[u], spacing[v]];
  const sliceAt = (index: number): Uint8Array => {
    const slice = new Uint8Array(size[0] * size[1]);
    let next = 0;
    eachOfSlice(shape, { axis, index }, (at) => (slice[next++] = drawn[at]!));
    return slice;
  };
  const known = drawnSlices(drawn, shape, axis);
  let count = 0;
  for (const [at, high] of known.entries()) {
    const low = known[at - 1];
    if (low === undefined || high - low < 2) continue;
    const [first, second] = [sliceAt(low), sliceAt(high)];
    const values = [...new Set(first)].filter(
      (value) => value !== notDrawn && value !== drawnBackground && second.includes(value),
    );
    const shapes = values.map(
      (value) => [depths(first, value, size, pixel), depths(second, value, size, pixel)] as const,
    );
    for (let index = low + 1; index < high; index++) {
      const share = (index - low) / (high - low);
      let [next, hasAny] = [0, false];
      eachOfSlice(shape, { axis, index }, (place) => {
        const pixelAt = next++;
        let best = 0;
        shapes.forEach(([a, b], which) => {
          const depth = (1 - share) * a[pixelAt]! + share * b[pixelAt]!;
          if (depth <= best) return;
          best = depth;
          drawn[place] = values[which]!;
          hasAny = true;
        });
      });
      if (hasAny) count++;
    }
  }
  return count;
}
