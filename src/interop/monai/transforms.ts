/** A bundle's transforms of an image, and the way back of what the network made of it. */
import { InvalidOption } from '../../errors.ts';
import { arrayFor } from '../../data/allocation.ts';
import { roundHalfEven } from '../../data/rounding.ts';
import { canonicalGrid, fromCanonical, spatialShape, turnedVolume, type Grid } from '../../data/volume.ts';
import type { Size3 } from '../../size.ts';
import type { Transform } from './pipeline.ts';

/** An image with one or more channels [channel][z][y][x] and where it lies. */
export interface PlacedImage extends Grid {
  readonly data: Float32Array;
}

/** A transformed image and how labels or probabilities on its grid come back to that of the image it was made of. */
export interface Transformed {
  readonly image: PlacedImage;
  /** In the order in which they are to be applied. */
  readonly back: readonly Back[];
}

/** Takes volumes [class][z][y][x] one step back; labels are those of the nearest voxels. */
export interface Back {
  (values: Float32Array, nearest?: boolean): Float32Array;
  /** Absent of a step that moves whole voxels. */
  readonly resampling?: {
    readonly from: Size3;
    readonly to: Size3;
    /** Along x, y and z. */
    readonly places: readonly Place[];
  };
}

const voxelsOf = ([x, y, z]: Size3): number => x * y * z;

/** Applies the transforms in their order. */
export function transformed(source: PlacedImage, transforms: readonly Transform[]): Transformed {
  let image = source;
  const back: Back[] = [];
  for (const transform of transforms) {
    switch (transform.kind) {
      case 'orientation': {
        const before: Grid = { shape: spatialShape(image.shape), affine: image.affine };
        const { data, shape, affine } = turnedVolume(
          { ...image, shape: [...image.shape], affine: [...image.affine], spacing: [1, 1, 1] },
          canonicalGrid(before),
        );
        image = { data, shape: spatialShape(shape), affine };
        back.unshift((values) => fromCanonical(values, before));
        break;
      }
      case 'spacing': {
        const size = spatialShape(image.shape);
        const step = respaced(image, transform.spacing);
        image = {
          data: resampled(image.data, size, step.size, step.places),
          shape: step.size,
          affine: step.affine,
        };
        const inverse = step.places.map(({ scale, shift }) => ({ scale: 1 / scale, shift: -shift / scale }));
        const takeBack = (values: Float32Array, nearest?: boolean) =>
          (nearest ? resampledNearest : resampled)(values, step.size, size, inverse);
        back.unshift(Object.assign(takeBack, { resampling: { from: step.size, to: size, places: inverse } }));
        break;
      }
      case 'normalize':
        image = { ...image, data: normalized(image, transform) };
        break;
      case 'range':
        image = { ...image, data: rescaled(image.data, transform) };
        break;
      case 'scale':
        image = { ...image, data: spread(image, transform) };
    }
  }
  return { image, back };
}

/** Along an axis, new voxel i lies on old voxel scale · i + shift. */
export interface Place {
  readonly scale: number;
  readonly shift: number;
}

/** Within so many voxels corners count as the same. */
const sameCorner = 1e-8;

/**
 * The grid of another spacing as MONAI lays it out: its first voxel on the old first one, if the axes are at right
 * angles as exactly as can be; else, as with most oblique affines of float32, the middles on each other.
 */
function respaced({ shape, affine }: Grid, spacing: Size3) {
  const size = spatialShape(shape);
  const columns = [0, 1, 2].map((c) => [affine[c]!, affine[4 + c]!, affine[8 + c]!]);
  const dot = (a: number, b: number): number =>
    columns[a]!.reduce((sum, value, row) => sum + value * columns[b]![row]!, 0);
  // Upper triangle of the Cholesky factor: zooms on the diagonal, shears beside it.
  const zooms = [0, 1, 2].map(() => [0, 0, 0]);
  for (let i = 0; i < 3; i++)
    for (let j = i; j < 3; j++) {
      let rest = dot(i, j);
      for (let k = 0; k < i; k++) rest -= zooms[k]![i]! * zooms[k]![j]!;
      zooms[i]![j] = i === j ? Math.sqrt(rest) : rest / zooms[i]![i]!;
    }
  if (!zooms.every((row, i) => row[i]! > 0))
    throw new InvalidOption(
      'the affine has axes that lie on each other: correct the volume’s sform or qform',
    );
  const steps = zooms.map((row, i) => row.map((zoom) => zoom / spacing[i]!));
  const reach = steps.map((row) => row.map((step, j) => step * (size[j]! - 1)));
  const newSize = reach.map((row) =>
    roundHalfEven(row.reduce((sum, length) => sum + Math.abs(length), 1)),
  ) as unknown as Size3;
  const aligned = reach.every(
    (row) => Math.abs(row.reduce((sum, length) => sum + Math.min(0, length), 0)) <= sameCorner,
  );
  const places = steps.map((row, i): Place => {
    const scale = 1 / row[i]!;
    return { scale, shift: aligned ? 0 : size[i]! / 2 - (scale * newSize[i]!) / 2 };
  });
  const turned = [0, 4, 8].flatMap((row) => {
    const columnsHere = places.map(({ scale }, c) => affine[row + c]! * scale);
    const origin = places.reduce((sum, { shift }, c) => sum + affine[row + c]! * shift, affine[row + 3]!);
    return [...columnsHere, origin];
  });
  return { size: newSize, places, affine: [...turned, 0, 0, 0, 1] };
}

/** Linear interpolation along x, y and z in float64; beyond the ends the last voxels go on. */
function resampled(data: Float32Array, from: Size3, to: Size3, places: readonly Place[]): Float32Array {
  const volumes = data.length / voxelsOf(from);
  let values = Float64Array.from(data);
  const size: [number, number, number] = [...from];
  for (const axis of [0, 1, 2] as const) {
    const { scale, shift } = places[axis]!;
    const [length, count] = [size[axis], to[axis]];
    const inner = axis === 0 ? 1 : axis === 1 ? size[0] : size[0] * size[1];
    const outer = (volumes * voxelsOf(size)) / (inner * length);
    const result = arrayFor(Float64Array, outer * count * inner, `the image at ${to.join(' x ')} voxels`);
    for (let i = 0; i < count; i++) {
      const place = Math.min(length - 1, Math.max(0, scale * i + shift));
      const low = Math.floor(place);
      const high = Math.min(length - 1, low + 1);
      const fraction = place - low;
      for (let o = 0; o < outer; o++)
        for (let n = 0; n < inner; n++)
          result[(o * count + i) * inner + n] =
            (1 - fraction) * values[(o * length + low) * inner + n]! +
            fraction * values[(o * length + high) * inner + n]!;
    }
    values = result;
    size[axis] = count;
  }
  return Float32Array.from(values);
}

/** The nearest voxel along x, y and z, of two as near that with the even number; beyond the ends the last ones go on. */
function resampledNearest(
  data: Float32Array,
  from: Size3,
  to: Size3,
  places: readonly Place[],
): Float32Array {
  const [xs, ys, zs] = places.map(({ scale, shift }, axis) =>
    Int32Array.from({ length: to[axis]! }, (_, i) =>
      Math.min(from[axis]! - 1, Math.max(0, roundHalfEven(scale * i + shift))),
    ),
  ) as [Int32Array, Int32Array, Int32Array];
  const volumes = data.length / voxelsOf(from);
  const result = arrayFor(
    Float32Array,
    volumes * voxelsOf(to),
    `the stack of ${volumes} volumes at ${to.join(' x ')} voxels`,
  );
  let at = 0;
  for (let volume = 0; volume < volumes; volume++)
    for (const z of zs)
      for (const y of ys) {
        const row = ((volume * from[2] + z) * from[1] + y) * from[0];
        for (const x of xs) result[at++] = data[row + x]!;
      }
  return result;
}

/** Minus the mean, divided by the deviation, of all voxels or of those that are not 0, which alone change then. */
function normalized(
  { data, shape }: PlacedImage,
  { nonzero, channelWise }: Extract<Transform, { kind: 'normalize' }>,
): Float32Array {
  const result = data.slice();
  const part = channelWise ? voxelsOf(spatialShape(shape)) : data.length;
  const counts = (value: number): boolean => !nonzero || value !== 0;
  for (let first = 0; first < data.length; first += part) {
    const values = data.subarray(first, first + part);
    let [count, mean, squares] = [0, 0, 0];
    for (const value of values)
      if (counts(value)) {
        count++;
        mean += value;
      }
    if (count === 0) continue;
    mean /= count;
    for (const value of values) if (counts(value)) squares += (value - mean) ** 2;
    const deviation = Math.sqrt(squares / count) || 1;
    values.forEach((value, at) => {
      if (counts(value)) result[first + at] = (value - mean) / deviation;
    });
  }
  return result;
}

function rescaled(
  data: Float32Array,
  { from, to, clip }: Extract<Transform, { kind: 'range' }>,
): Float32Array {
  const [low, high] = to;
  return data.map((value) => {
    const scaled = ((value - from[0]) / (from[1] - from[0])) * (high - low) + low;
    return clip ? Math.min(high, Math.max(low, scaled)) : scaled;
  });
}

/** From the least to the largest value; where these are one, times the least wanted, as MONAI does. */
function spread(
  { data, shape }: PlacedImage,
  { to: [low, high], channelWise }: Extract<Transform, { kind: 'scale' }>,
): Float32Array {
  const result = data.slice();
  const part = channelWise ? voxelsOf(spatialShape(shape)) : data.length;
  for (let first = 0; first < data.length; first += part) {
    const values = result.subarray(first, first + part);
    let [least, largest] = [Infinity, -Infinity];
    for (const value of values) {
      least = Math.min(least, value);
      largest = Math.max(largest, value);
    }
    const range = largest - least;
    for (let at = 0; at < values.length; at++)
      values[at] = range === 0 ? values[at]! * low : ((values[at]! - least) / range) * (high - low) + low;
  }
  return result;
}
