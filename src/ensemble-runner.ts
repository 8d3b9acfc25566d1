/** What runs an ensemble, and how networks of this package do. */
import type { PreparedCase } from './data/prepare.ts';
import type { Trained } from './infer/choose-window.ts';
import { assertLabelled } from './data/labelled-case.ts';
import type { Source } from './data/source.ts';
import { InvalidModel, InvalidOption } from './errors.ts';
import type { DeviceOptions } from './gpu/device-options.ts';
import type { CaseScore, DenseCase } from './infer/evaluator.ts';
import { meanPlanes, type Member } from './infer/mean-planes.ts';
import { evaluateMean, type ScoredMember } from './infer/mean-scores.ts';
import type { Description } from './infer/model.ts';
import { OpenNetwork } from './infer/opened.ts';
import {
  assertNoMeanOfLogits,
  readSources,
  segmentVolumes,
  Segmentation,
  type PredictOptions,
} from './infer/predict.ts';
import type { EvaluateOptions } from './infer/predictor.ts';
import type { ModelFile } from './interop/model-files.ts';
import { listed } from './listed.ts';
import type { Postprocessing } from './metrics/components.ts';
import type { UNet3DConfig } from './model/config.ts';
import type { Axis } from './size.ts';
import { openModel, requireConsistent } from './weights/model-file.ts';
import type { ReadableTensor } from './weights/named-tensors.ts';
import { uploadWeights } from './weights/upload.ts';

/** How an ensemble segments. */
export interface EnsemblePredictOptions extends PredictOptions {
  /** Of the second network of one of nnU-Net's cascades: the labels of the first, on the image's own grid. */
  readonly previousStage?: Source;
}

/** What runs: nnU-Net's folds by its rules, or networks of this package by its own. */
export interface Runner {
  readonly config: UNet3DConfig;
  readonly description: Description;
  readonly members: readonly string[];
  predict(sources: Source | readonly Source[], options: EnsemblePredictOptions): Promise<Segmentation>;
  evaluate(cases: readonly PreparedCase[], options: EvaluateOptions): Promise<CaseScore[]>;
  dispose(): void;
}

/**
 * @param together post-processing that was chosen for all; default: that of each, where it is the same
 * @throws InvalidModel for networks that differ in more than their weights; UnsupportedDevice without a GPU adapter
 */
export async function ownRunner(
  files: readonly ModelFile[],
  device: DeviceOptions,
  together?: Postprocessing,
): Promise<Runner> {
  let common: { config: UNet3DConfig; description: Description } | undefined;
  /** Of each network, which may have been trained on another. */
  const trained: Trained[] = [];
  const mirrored: (readonly Axis[] | undefined)[] = [];
  const cleanings: (Postprocessing | undefined)[] = [];
  for (const file of files) {
    const { description: saved } = await openModel(await file.ranges(), file.path);
    const { config, labels, regions, channels, preprocessing, inputSize, patches, mirrorAxes, nnunet } =
      saved;
    const description = { labels, regions, channels, preprocessing, nnunet };
    trained.push({ inputSize, patches });
    mirrored.push(mirrorAxes);
    cleanings.push(saved.postprocessing);
    common ??= { config, description };
    if (JSON.stringify([config, description]) !== JSON.stringify([common.config, common.description]))
      throw new InvalidModel(
        `${file.path} and ${files[0]!.path} differ in more than their weights: give models of one network with the same labels, channels and preprocessing`,
      );
  }
  const { config } = common!;
  const isOneCleaning = cleanings.every((one) => JSON.stringify(one) === JSON.stringify(cleanings[0]));
  const postprocessing = together ?? (isOneCleaning ? cleanings[0] : undefined);
  requireConsistent(
    { config, ...common!.description, postprocessing },
    (problem) => new InvalidModel(problem),
  );
  const isOneSize = trained.every((each) => JSON.stringify(each) === JSON.stringify(trained[0]));
  const description = {
    ...common!.description,
    ...(postprocessing && { postprocessing }),
    ...(isOneSize && trained[0]),
    mirrorAxes: mirroredByAll(mirrored),
  };
  if (description.nnunet)
    throw new InvalidModel(
      `${listed(files.map(({ path }) => path))} follow nnU-Net's rules: open their model folder instead`,
    );
  const network = await OpenNetwork.open(config, device);
  const { state, inference } = network;
  /** Whose weights the device holds: of one network alone they stay. */
  let written: ModelFile | undefined;
  const write = async (file: ModelFile): Promise<void> => {
    if (written === file) return;
    written = undefined;
    await uploadWeights(state, await weightsIn(file), file.path);
    written = file;
  };
  async function* planes(volume: DenseCase, options: PredictOptions): AsyncGenerator<Float32Array> {
    const members: Member[] = [];
    for (const [index, file] of files.entries())
      members.push({
        planes: (more) =>
          inference.planes(volume, trained[index]!, { ...options, ...more }, () => write(file)),
        isWhole: await inference.isWhole(volume.shape, trained[index]!, options),
      });
    yield* meanPlanes(members, volume.shape, config.classes, options.onProgress);
  }
  const mean = { config, description, planes };
  return {
    config,
    description,
    members: files.map(({ path }) => path),
    async predict(sources, { previousStage, ...options }) {
      if (previousStage !== undefined)
        throw new InvalidOption('previousStage is for cascades of nnU-Net, and these are none: leave it out');
      assertNoMeanOfLogits(options);
      const turn = { name: 'prediction', signal: options.signal, ahead: () => readSources(sources) };
      const found = await network.turns.take(turn, (read) => segmentVolumes(mean, read, options));
      if (together || isOneCleaning || options.postprocess === false) return found;
      const { labels, probabilities, logits, warnings, uncertainty } = found;
      const all = [...warnings, 'The networks do not agree on post-processing, and none is done.'];
      return new Segmentation(labels, probabilities, logits, all, uncertainty);
    },
    evaluate(cases, options) {
      assertLabelled(cases, { ...description, config });
      const { precision } = state;
      const members = files.map((file, index): ScoredMember => {
        const own = { ...description, ...trained[index] };
        return {
          model: { state, description: own, precision, budget: inference.budget, limits: undefined },
          prepare: () => write(file),
        };
      });
      return network.turns.take({ name: 'evaluation', signal: options.signal }, () => {
        inference.release();
        return evaluateMean(mean, members, cases, options);
      });
    },
    dispose: () => network.dispose(),
  };
}

/** The axes that all trainings mirrored; of a network that does not say what its training did, nothing is taken away. */
export function mirroredByAll(of: readonly (readonly Axis[] | undefined)[]): readonly Axis[] | undefined {
  const told = of.filter((axes) => axes !== undefined);
  return told[0]?.filter((axis) => told.every((axes) => axes.includes(axis)));
}

async function weightsIn(file: ModelFile): Promise<ReadonlyMap<string, ReadableTensor>> {
  return (await openModel(await file.ranges(), file.path)).tensors;
}
