/**
 * What must hold for an image and its label before training: one grid, one place, and only the classes' values.
 */
import { InvalidDataset, InvalidVolume } from '../errors.ts';
import { some } from '../listed.ts';
import { arrayFor } from './allocation.ts';
import { apartText, gridDifference, reversedRemedy } from './grid.ts';
import { labelAdvice } from './label-advice.ts';
import { labelOf } from './label-values.ts';
import type { Size3 } from '../size.ts';
import { spatialShape, type Volume } from './volume.ts';

/** A volume that may come from no file. */
export type BareVolume = Omit<Volume, 'header'> & Partial<Pick<Volume, 'header'>>;

export const spatial = (volume: BareVolume): Size3 => spatialShape(volume.shape);

/** A shape as messages show it: "4 x 5 x 6". */
export const shapeText = (shape: readonly number[]): string => shape.join(' x ');

/** What labels may hold. */
export interface LabelRules {
  /** Label values are 0 to classes − 1; default: 0 to 254. */
  readonly classes?: number;
  /** Names by label value, for messages. */
  readonly classNames?: readonly string[];
  /** Value that becomes 255, "leave out". */
  readonly ignoreLabel?: number;
}

/** A case as its files hold it, on the axes of its first image (see turnedOnto). */
export interface ReadCase {
  readonly id: string;
  readonly images: readonly BareVolume[];
  readonly label?: BareVolume | undefined;
  /** What messages call the files, where there are any. */
  readonly files?: { readonly images: readonly string[]; readonly label?: string | undefined } | undefined;
}

/** One thing that keeps a case from training. */
export interface CaseProblem {
  readonly kind: 'shape' | 'place' | 'channels';
  /** Whose grid it is about. */
  readonly of: 'images' | 'label';
  readonly error: InvalidDataset;
}

/** What messages call an image of a case. */
export const imageName = ({ id, files }: ReadCase, index: number): string =>
  `Case "${id}": ${files?.images[index] ?? 'the image'}`;

/** Channels of an image, the fourth axis of its shape. */
export const channelsOf = ({ shape }: BareVolume): number => shape[3] ?? 1;

/**
 * All that is wrong with the shapes and places of a case, one after the other; training stops at the first. Its
 * voxels are looked at by `requireFinite` and `checkedLabels`.
 * @param channels that the case should have; undefined where that is not known
 */
export function* gridProblems(item: ReadCase, channels?: number): Generator<CaseProblem> {
  const { id, images, label, files } = item;
  const problem = (
    kind: CaseProblem['kind'],
    text: string,
    of: CaseProblem['of'] = 'images',
  ): CaseProblem => ({
    kind,
    of,
    error: new InvalidDataset(`Case "${id}": ${text}`),
  });
  const stored = ({ shape, header }: BareVolume): string => shapeText(header?.shape ?? shape);
  const first = images[0];
  for (const [index, image] of images.entries())
    if (image.shape.length < 3 || image.shape.slice(4).some((n) => n > 1)) {
      const name = files ? `${files.images[index]} ` : 'an image ';
      const remedy =
        image.shape.length < 3
          ? 'stack its slices into a volume, or give it a third axis of one slice'
          : 'save its channels along the fourth axis, or as one file each';
      yield problem(
        'shape',
        `${name}has the shape ${stored(image)}; expected x, y, z and possibly channels: ${remedy}.`,
      );
    }
  for (const [index, image] of images.entries()) {
    const difference = index > 0 && first && gridDifference(first, image);
    if (!difference) continue;
    const named = files ? ` (${files.images[0]}, ${files.images[index]})` : '';
    yield difference.kind === 'shape'
      ? problem(
          'shape',
          `its channels have the shapes ${stored(first)} and ${stored(image)}${named}; all must have one shape: ` +
            'resample them onto one grid.',
        )
      : problem(
          'place',
          `its channels lie ${apartText(difference.millimetres)}${named}; voxels of one index must show one place: ` +
            'register the second and resample it onto the grid of the first.',
        );
  }
  const count = images.reduce((sum, image) => sum + channelsOf(image), 0);
  if (channels !== undefined && images.length > 0 && count !== channels)
    yield problem('channels', channelsText(count, channels));
  if (!label) return;
  const isMap = !label.shape.slice(3).some((n) => n > 1);
  const named =
    files?.label === undefined ? '' : ` (${[files.images[0], files.label].filter(Boolean).join(', ')})`;
  if (!isMap) {
    const than = first ? `the image has the shape ${stored(first)}, its label ` : 'its label has the shape ';
    yield problem(
      'shape',
      `${than}${stored(label)}${named}; expected one label map of three axes: join its maps into one, with a value ` +
        'for each class.',
    );
    return;
  }
  const difference = first && gridDifference(first, label);
  if (!difference) return;
  yield difference.kind === 'shape'
    ? problem(
        'shape',
        `the image has the shape ${stored(first)}, its label ${stored(label)}${named}; they must be equal: ` +
          (reversedRemedy('label', label.shape, first.shape) ??
            "resample the label (nearest neighbour) onto the image's grid") +
          '.',
        'label',
      )
    : problem(
        'place',
        `the image and its label lie ${apartText(difference.millimetres)}${named}, more than a quarter of a voxel; ` +
          'if their voxels correspond, save the label with the affine of its image, else resample it (nearest ' +
          "neighbour) onto the image's grid.",
        'label',
      );
}

/** What is said of a case with another number of channels. */
export const channelsText = (found: number, expected: number): string =>
  `it has ${found} channel(s); expected ${expected}: give every case the same channels, as many as dataset.json names ` +
  'where there is one.';

/** @throws InvalidDataset for the first of the `gridProblems` */
export function requireOneGrid(item: ReadCase, channels?: number): void {
  for (const { error } of gridProblems(item, channels)) throw error;
}

/** What is said of voxels that are NaN or infinite. */
const notFiniteText = (count: number, total: number): string =>
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
 * @param beside what tells more of a wrong one: the images of the case, and what its label's file is called
 * @throws InvalidDataset that names the case, the values found, the classes, and what to do; or where no voxel is known
 */
export function checkedLabels(
  id: string,
  data: ArrayLike<number>,
  rules: LabelRules = {},
  { images, files }: Partial<ReadCase> = {},
): Uint8Array {
  const { classes = 255, classNames = [], ignoreLabel } = rules;
  const result = arrayFor(Uint8Array, data.length, `Case "${id}": ${files?.label ?? 'the label'}`);
  const wrong = new Map<number, number>();
  for (let voxel = 0; voxel < data.length; voxel++) {
    const value = labelOf(data[voxel]!);
    if (value === ignoreLabel) result[voxel] = 255;
    else if (Number.isInteger(value) && value >= 0 && value < classes) result[voxel] = value;
    else if (wrong.size < 1000 || wrong.has(value)) wrong.set(value, (wrong.get(value) ?? 0) + 1);
  }
  if (wrong.size > 0) {
    const values = valuesText([...wrong].sort(([a], [b]) => a - b));
    const file = files?.label;
    throw new InvalidDataset(
      `Case "${id}": its label${file === undefined ? '' : ` (${file})`} holds values outside the classes: ${values}. Expected ` +
        `${classesText(classes, classNames)}; ${labelAdvice(data, { classes, images: images?.map((image) => image.data) })}.`,
    );
  }
  requireKnown(id, result);
  return result;
}

/** @throws InvalidDataset for a label [z][y][x] without a voxel that is not 255 */
export function requireKnown(id: string, label: Uint8Array, where = ''): void {
  if (label.every((value) => value === 255))
    throw new InvalidDataset(
      `Case "${id}": no voxel of its label is annotated${where}, all are unknown; annotate some, or leave the case out.`,
    );
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
  some(values.map(([value, count]) => `${Number(value.toPrecision(6))} (${count} voxels)`));

function classesText(classes: number, names: readonly string[]): string {
  const named = some(names.map((name, value) => `${value} ${name}`));
  return `0 to ${classes - 1}${named && ` (${named})`}`;
}
