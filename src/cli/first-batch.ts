/** Pictures of what a training sees, for --dry-run: the first batch, and its first sample augmented. */
import type { CaseSource, trainingBatches } from '../data/patches.ts';
import type { Picture } from '../report/raster.ts';
import { sliceGrid } from '../report/slices.ts';
import type { Augmentation } from '../train/augmentation.ts';
import type { UNet3D } from '../unet3d.ts';
import { augmentationSheet } from './augmentation-sheet.ts';
import type { RunFolder } from './run-folder.ts';
import type { TrainingData } from './training-data.ts';

/** Draws the first batch, image and labels, as training will see it. */
export async function drawBatch(
  folder: RunFolder,
  source: ReturnType<typeof trainingBatches>,
  { training, labels, channels, preprocessing }: TrainingData,
): Promise<void> {
  const { image, label, cases } = await source.batch(0, 0);
  const [x, y, z] = source.size;
  const voxels = x * y * z;
  const spacing = preprocessing.spacing ?? [1, 1, 1];
  const rows = cases.map((index, sample) => ({
    name: nameOf(training, index),
    image: {
      data: image.subarray(sample * channels * voxels, (sample * channels + 1) * voxels),
      shape: [x, y, z],
      spacing,
    },
    truth: label.subarray(sample * voxels, (sample + 1) * voxels).map((value) => (value === 255 ? 0 : value)),
  }));
  await folder.picture('batch.png', sliceGrid(rows, { labels }));
}

/** The first sample of the first batch, as it is and as augmentation changes it. */
export async function drawAugmentation(
  model: UNet3D,
  source: ReturnType<typeof trainingBatches>,
  { labels, preprocessing }: TrainingData,
  augmentation: Augmentation,
  seed: number,
): Promise<Picture> {
  const { size, margin, batchSize } = source;
  const { image, label } = await source.batch(0, 0);
  const sample = {
    image: image.subarray(0, image.length / batchSize),
    label: label.subarray(0, label.length / batchSize),
    size,
    margin,
  };
  const spacing = preprocessing.spacing ?? ([1, 1, 1] as const);
  return augmentationSheet(model.gpu, sample, augmentation, { seed, spacing, labels });
}

const nameOf = (cases: CaseSource, index: number): string => cases.ids[index] ?? `case ${index}`;
