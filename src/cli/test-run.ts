/** What follows a training: the post-processing is chosen, the model saved and tested. */
import type { Case } from '../data/case.ts';
import type { Dataset } from '../data/dataset.ts';
import type { LabelledCase } from '../data/labelled-case.ts';
import { readNifti } from '../data/nifti.ts';
import type { Region } from '../data/regions.ts';
import { testedPart, type Split } from '../data/split.ts';
import { spatialShape, type Grid, type Volume } from '../data/volume.ts';
import { Aborted } from '../errors.ts';
import type { PostprocessingChoice } from '../metrics/components.ts';
import { evaluate, type CaseMetrics } from '../metrics/evaluate.ts';
import { mapsOver } from '../report/render.ts';
import type { UNet3D } from '../unet3d.ts';
import type { Truths } from './case-files.ts';
import type { Io } from './io.ts';
import type { Stopwatch } from './provenance.ts';
import type { CaseVolumes } from './results.ts';
import { predictionName, type RunFolder } from './run-folder.ts';

/** A trained model, and what it is tested on. */
export interface TestRun {
  readonly io: Io;
  readonly folder: RunFolder;
  readonly model: UNet3D;
  readonly dataset: Dataset;
  readonly split: Split;
  /** Names by label value. */
  readonly labels: readonly string[];
  /** What is scored, where that overlaps; else the labels are. */
  readonly regions?: readonly Region[] | undefined;
  /** Prepared, for the choice of the post-processing. */
  readonly validation: readonly LabelledCase[];
  /** Whether post-processing is chosen. */
  readonly postprocess: boolean;
  /** Mirror test-time augmentation. */
  readonly tta: boolean;
  /** Labels that need not be read again. */
  readonly truths?: Truths;
  readonly clock: Stopwatch;
}

export interface TestResult {
  /** The bytes of model.safetensors. */
  readonly weights: Uint8Array<ArrayBuffer>;
  /** Undefined where it was not asked for or nothing was left to choose it on. */
  readonly postprocessing: PostprocessingChoice | undefined;
  readonly part: 'test' | 'validation';
  /** None where nothing was left to test on. */
  readonly cases: readonly CaseMetrics[];
  /** What pictures of a case need. */
  readonly volumes: (index: number) => Promise<CaseVolumes>;
}

/** Chooses the post-processing, writes model.safetensors and predictions/, and compares these on the files' own grids. */
export async function testModel(run: TestRun): Promise<TestResult> {
  const { io, folder, model, dataset, split, validation, tta, clock } = run;
  const postprocessing =
    run.postprocess && validation.length > 0
      ? await model.choosePostprocessing(validation, { tta, signal: io.signal })
      : undefined;
  if (postprocessing) clock.end('choosing the post-processing');
  const weights = await model.save();
  await folder.write('model.safetensors', weights);

  const part = testedPart(split);
  const byId = new Map(dataset.cases.map((item) => [item.id, item]));
  const items = split[part].cases.map((id) => byId.get(id)!);
  const cases: CaseMetrics[] = [];
  for (const [index, item] of items.entries()) {
    if (io.signal.aborted)
      throw new Aborted(`the test was stopped after ${index} of ${items.length} cases; the model is saved`);
    if (io.isTerminal) io.status(`testing ${item.id} (${index + 1} of ${items.length})`);
    cases.push(await testCase(run, item));
  }
  if (items.length > 0) clock.end(`segmenting and comparing ${items.length} cases`);
  const volumes = (index: number) => volumesOf(run, items[index]!);
  return { weights, postprocessing, part, cases, volumes };
}

async function testCase(
  { io, folder, model, dataset, labels, regions, tta, truths }: TestRun,
  item: Case,
): Promise<CaseMetrics> {
  const segmentation = await model.predict(item.images, { tta, signal: io.signal });
  await folder.write(predictionName(item.id), await segmentation.toNifti());
  const { shape, spacing, affine, data } = segmentation.labels;
  const truth = await truthOf(item, segmentation.labels, truths);
  const options = { classes: labels, name: item.id, ignore: dataset.ignoreLabel };
  return evaluate({ data: truth.data, shape, spacing, affine }, { data, shape }, options, regions);
}

const truthOf = async (item: Case, grid: Grid, truths: Truths | undefined): Promise<Volume> =>
  truths?.of(item.id, grid) ?? (await readNifti(item.label!, { onto: grid }));

async function volumesOf({ folder, dataset, truths }: TestRun, item: Case): Promise<CaseVolumes> {
  const { data, affine, shape } = await readNifti(item.images[0]!);
  const grid = spatialShape(shape);
  const image = { data: data.subarray(0, grid[0] * grid[1] * grid[2]), shape: grid, affine };
  const [truth, prediction] = [
    await truthOf(item, image, truths),
    await readNifti(folder.file(predictionName(item.id))),
  ];
  const maps = mapsOver(
    {
      name: item.id,
      image,
      truth: { data: truth.data, shape: grid },
      prediction: { data: prediction.data, shape: grid },
    },
    dataset.ignoreLabel,
  );
  return { image, truth: maps.truth!, prediction: maps.prediction! };
}
