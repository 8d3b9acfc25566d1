/** The labels of a cascade's previous stage, which are a part of the input of the next. */
import { arrayFor, filled } from '../../../data/allocation.ts';
import { labelOf } from '../../../data/label-values.ts';
import { gridDifference } from '../../../data/grid.ts';
import { readNifti } from '../../../data/nifti.ts';
import { sourceName, type Source } from '../../../data/source.ts';
import { InvalidVolume } from '../../../errors.ts';
import { some } from '../../../listed.ts';
import { foregroundLabels, type NnunetLabels } from '../labels.ts';
import { voxelsOf } from './axes.ts';
import type { NnunetImage } from './image.ts';
import type { PreviousStage } from './preprocess.ts';

/**
 * @param source a file of labels on the image's own grid, as the previous stage writes them
 * @throws InvalidVolume if they lie on another grid, or are no labels of the model
 */
export async function previousStage(
  source: Source,
  { origin, size, name }: NnunetImage,
  labels: NnunetLabels,
): Promise<PreviousStage> {
  const read = await readNifti(source);
  if (gridDifference(origin, read))
    throw new InvalidVolume(
      `${sourceName(source)} lies on another grid than ${name}; give what the previous stage made of this image`,
    );
  const refuse = (what: string): never => {
    throw new InvalidVolume(
      `${sourceName(source)} ${what}; give the labels that the previous stage made of this image, not its probabilities or logits`,
    );
  };
  if (read.shape.slice(3).some((length) => length > 1)) refuse(`has the shape ${read.shape.join(' x ')}`);
  const known = new Set([0, ...foregroundLabels(labels)]);
  const values = filled(arrayFor(Uint16Array, read.data.length, sourceName(source)), read.data, labelOf);
  const other = values.findIndex((value, at) => !known.has(value) || Math.abs(read.data[at]! - value) > 0.01);
  if (other >= 0)
    refuse(`holds ${read.data[other]}, which is no label of this model (${some(Array.from(known, String))})`);
  return labelsBefore(values, { origin, size }, labels);
}

/** Labels in the order of the file, brought to the axes of nnU-Net's arrays. */
export function labelsBefore(
  values: ArrayLike<number>,
  { origin, size }: Pick<NnunetImage, 'origin' | 'size'>,
  labels: Pick<NnunetLabels, 'heads'>,
): PreviousStage {
  const result = new Uint16Array(voxelsOf(size));
  const [sx, sy, sz] = origin.steps;
  let at = 0;
  for (let z = 0; z < size[2]; z++)
    for (let y = 0; y < size[1]; y++)
      for (let x = 0, from = origin.start + y * sy + z * sz; x < size[0]; x++, from += sx)
        result[at++] = values[from]!;
  return { labels: result, values: foregroundLabels(labels) };
}
