/** What a map of other values than those of classes seems to be, and what to do about it. */
import { labelOf } from './label-values.ts';

/** Different values that a map of labels has at most; images have more. */
const mostLabels = 255;

/** What a map may hold, and the images beside it. */
interface Expected {
  /** Labels are 0 to classes − 1. */
  readonly classes: number;
  /** On the same axes. */
  readonly images?: readonly ArrayLike<number>[] | undefined;
}

/** What to do about voxels that are no labels, as the end of a message. */
export function labelAdvice(data: ArrayLike<number>, { classes, images = [] }: Expected): string {
  if (images.some((image) => startsWith(image, data)))
    return 'its voxels are those of the image: give the label of this case';
  const values = valuesOf(data);
  const [least, largest] = [Math.min(...values), Math.max(...values)];
  if (!Number.isFinite(least + largest))
    return 'NaN and infinity are no labels: save the value of the background there, 0';
  const isImage = values.length > mostLabels;
  if (!values.every(Number.isInteger)) {
    if (least >= 0 && largest <= 1)
      return 'these are shares or probabilities: save 1 where they are 0.5 or more, else 0';
    if (!isImage || (least >= 0 && largest < classes && isMostlyWhole(data)))
      return 'values between whole numbers come from interpolation: resample labels to the nearest neighbour';
  }
  if (isImage) return 'so many values are those of an image: see whether image and label are exchanged';
  const unknown =
    least >= 0 && largest <= 255
      ? 'or say which value unknown voxels have (--ignore, ignoreLabel)'
      : 'or save unknown voxels as 255 and say so (--ignore 255, ignoreLabel)';
  if (values.length === 2 && least === 0)
    return `save ${largest} as 1, as the first class is 1 beside the background 0, ${unknown}`;
  return (
    'number the classes of all labels alike and without gaps, such as 0, 1, 2, 4 as 0, 1, 2, 3, name all classes ' +
    `where they have names, ${unknown}`
  );
}

/** Whether most voxels are whole numbers, as inside of what was interpolated. */
function isMostlyWhole(data: ArrayLike<number>): boolean {
  let whole = 0;
  for (let at = 0; at < data.length; at++) if (Number.isInteger(labelOf(data[at]!))) whole++;
  return 2 * whole >= data.length;
}

/** The different labels of a map, and one more than it may have where there are too many. */
function valuesOf(data: ArrayLike<number>): number[] {
  const values = new Set<number>();
  for (let at = 0; at < data.length && values.size <= mostLabels; at++) values.add(labelOf(data[at]!));
  return [...values];
}

/** Whether the voxels of a map are those of an image, or of its first channel. */
export function startsWith(image: ArrayLike<number>, map: ArrayLike<number>): boolean {
  if (map.length > image.length) return false;
  for (let at = 0; at < map.length; at++) if (image[at] !== map[at]) return false;
  return true;
}
