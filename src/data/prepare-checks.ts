/**
 * What must hold for an image and its label before training: one grid, one place, and only the classes' values.
 */
import { InvalidDataset, InvalidVolume } from '../errors.ts';
import { listed } from './dataset-match.ts';
import type { Size3 } from './prepare.ts';
import { spatialShape, type Volume } from './volume.ts';

/** A volume without the header of a file. */
export type BareVolume = Omit<Volume, 'header'>;

export const spatial = (volume: BareVolume): Size3 => spatialShape(volume.shape);

/** A shape as messages show it: "4 x 5 x 6". */
export const shapeText = (shape: readonly number[]): string => shape.join(' x ');

/** What labels may hold. */
export interface LabelRules {
  /** Label values are 0 to classes − 1; default: 0 to 254. */
  readonly classes?: number;
  readonly classNames?: readonly string[];
  /** Value that becomes 255, "leave out". */
  readonly ignoreLabel?: number;
}

/** Largest distance in mm between the places that two affines give to the corners of a grid. */
export function cornerDistance(shape: Size3, a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = 0;
  for (let corner = 0; corner < 8; corner++) {
    const [x, y, z] = shape.map((n, axis) => ((corner >> axis) & 1) * (n - 1)) as [number, number, number];
    let square = 0;
    for (let row = 0; row < 12; row += 4) {
      const difference = (i: number): number => a[row + i]! - b[row + i]!;
      square += (difference(0) * x + difference(1) * y + difference(2) * z + difference(3)) ** 2;
    }
    largest = Math.max(largest, Math.sqrt(square));
  }
  return largest;
}

/** @throws InvalidDataset if image and label differ in shape, or lie more than a voxel apart */
export function requireSameGrid(id: string, image: BareVolume, label: BareVolume): void {
  const [is, ls] = [spatial(image), spatial(label)];
  if (shapeText(is) !== shapeText(ls) || label.shape.slice(3).some((n) => n > 1))
    throw new InvalidDataset(
      `Case "${id}": the image has the shape ${shapeText(image.shape)}, its label ${shapeText(label.shape)}; they must be equal.`,
    );
  const distance = cornerDistance(is, image.affine, label.affine);
  if (distance > Math.max(...image.spacing.slice(0, 3)))
    throw new InvalidDataset(
      `Case "${id}": the label lies up to ${distance.toFixed(1)} mm away from the image (their affines differ); ` +
        'save the label with the affine of its image.',
    );
}

/** What is said of voxels that are NaN or infinite. */
export const notFiniteText = (count: number, total: number): string =>
  `${count} of ${total} voxels are NaN or infinite, expected finite values; ` +
  'replace them, for example with the value of the background, and save the image again.';

/** What is said of an image, or a channel of it, that holds one value; it stops no training unless cropping empties it. */
export const constantText = (what: string): string =>
  `${what} is constant, which teaches nothing; leave the case out unless that is meant.`;

/**
 * @param name what the message calls the image: its file, where there is one
 * @throws InvalidVolume if a voxel is NaN or infinite, with the number of such voxels
 */
export function requireFinite(name: string, { data, statistics }: BareVolume): void {
  if (statistics ? statistics.nonFinite === 0 : areFinite(data)) return;
  let wrong = 0;
  for (let voxel = 0; voxel < data.length; voxel++) if (!Number.isFinite(data[voxel])) wrong++;
  throw new InvalidVolume(`${name}: ${notFiniteText(wrong, data.length)}`);
}

/** v − v is 0 for what is finite, else NaN; four sums that do not wait for each other. */
export function areFinite(data: Float32Array): boolean {
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = data.length & ~3;
  for (let at = 0; at < whole; at += 4) {
    a += data[at]! - data[at]!;
    b += data[at + 1]! - data[at + 1]!;
    c += data[at + 2]! - data[at + 2]!;
    d += data[at + 3]! - data[at + 3]!;
  }
  for (let at = whole; at < data.length; at++) a += data[at]! - data[at]!;
  return a + b + c + d === 0;
}

/**
 * Label values as bytes; the ignore label becomes 255.
 * @throws InvalidDataset that names the case, the values found and the classes
 */
export function checkedLabels(id: string, data: ArrayLike<number>, rules: LabelRules = {}): Uint8Array {
  const { classes = 255, classNames = [], ignoreLabel } = rules;
  const result = new Uint8Array(data.length);
  const wrong = new Map<number, number>();
  for (let voxel = 0; voxel < data.length; voxel++) {
    const value = data[voxel]!;
    if (value === ignoreLabel) result[voxel] = 255;
    else if (Number.isInteger(value) && value >= 0 && value < classes) result[voxel] = value;
    else if (wrong.size < 1000 || wrong.has(value)) wrong.set(value, (wrong.get(value) ?? 0) + 1);
  }
  if (wrong.size > 0) {
    const values = valuesText([...wrong].sort(([a], [b]) => a - b));
    throw new InvalidDataset(
      `Case "${id}": its label holds values outside the classes: ${values}. Expected ` +
        `${classesText(classes, classNames)}; correct the label, or name all classes in dataset.json.`,
    );
  }
  return result;
}

/**
 * @param name what the message calls the labels, such as `Case "12"`
 * @throws InvalidDataset if bytes are neither a class nor 255, with the values found
 */
export function requireClasses(
  name: string,
  labels: Uint8Array,
  classes: number,
  classNames: readonly string[] = [],
): void {
  let largest = 0;
  for (let voxel = 0; voxel < labels.length; voxel++) {
    const value = labels[voxel]!;
    if (value > largest && value !== 255) largest = value;
  }
  if (largest < classes) return;
  const counts = new Uint32Array(255);
  for (const value of labels) if (value !== 255) counts[value]! += 1;
  const wrong = Array.from(counts.keys()).filter((value) => value >= classes && counts[value]! > 0);
  throw new InvalidDataset(
    `${name}: its label holds values outside the model's classes: ${valuesText(wrong.map((value) => [value, counts[value]!]))}. ` +
      `Expected ${classesText(classes, classNames)}, or 255 for what to leave out; correct the label, or create the ` +
      'model with more classes.',
  );
}

const valuesText = (values: readonly (readonly [number, number])[]): string =>
  listed(values.map(([value, count]) => `${value} (${count} voxels)`));

function classesText(classes: number, names: readonly string[]): string {
  const named = names.map((name, value) => `${value} ${name}`).join(', ');
  return `0 to ${classes - 1}${named && ` (${named})`}`;
}
