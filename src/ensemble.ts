/** Several networks as one: folds of one training, or models that differ in their weights alone. */
import * as v from 'valibot';
import { caseList, evaluateEntries, predictEntries } from './call-options.ts';
import type { FileEntry } from './data/case.ts';
import type { PreparedCase } from './data/prepare.ts';
import { readText, sourceList, sourceSchema, type Source } from './data/source.ts';
import { ownRunner, type EnsemblePredictOptions, type Runner } from './ensemble-runner.ts';
import { InvalidModel, InvalidOption } from './errors.ts';
import { deviceEntries, type DeviceOptions } from './gpu/device-options.ts';
import { withUncertainty, type Segmentation } from './infer/predict.ts';
import type { CaseScore } from './infer/evaluator.ts';
import type { EvaluateOptions } from './infer/predictor.ts';
import type { Description } from './infer/model.ts';
import { modelFolders, nnunetEntries, openNnunet, type NnunetModel } from './interop/nnunet/folder.ts';
import { NnunetPredictor } from './interop/nnunet/pipeline/predictor.ts';
import { optionsForNnunet } from './interop/nnunet/pipeline/segment.ts';
import { headsOf } from './interop/nnunet/labels.ts';
import { compareFiles, descriptionOf } from './interop/nnunet/rules.ts';
import { modelFiles, modelFilesSchema, type ModelFile } from './interop/model-files.ts';
import { readJson } from './json.ts';
import { listed } from './listed.ts';
import type { Postprocessing } from './metrics/components.ts';
import type { UNet3DConfig } from './model/config.ts';
import { assertOptions, assertValue } from './options.ts';
import { openObject } from './schema.ts';
import { postprocessingSchema } from './weights/model-file.ts';

export type { EnsemblePredictOptions };

/** Which networks, and where they run. */
export interface EnsembleOptions extends DeviceOptions {
  /** Of a folder of folds, such as `['0', '3']`, or nnU-Net's `['all']`. Default: all numbered folds, else `all`. */
  readonly folds?: readonly string[];
  /** Of a model folder of nnU-Net. Default `checkpoint_final.pth`. */
  readonly checkpoint?: string;
  /** Of several model folders of nnU-Net within, the one that is meant, with its `/`. */
  readonly folder?: string;
  /** The same by its configuration, such as `3d_fullres`. */
  readonly configuration?: string;
}

export const ensembleEntries = {
  ...deviceEntries,
  ...nnunetEntries,
} satisfies Record<keyof EnsembleOptions, unknown>;

const ensemblePredictEntries = {
  ...predictEntries,
  previousStage: v.optional(sourceSchema),
} satisfies Record<keyof EnsemblePredictOptions, unknown>;

/**
 * The mean of several networks' logits. The device holds one of them at a time: weights are read from their files when
 * a network's turn comes, and stay nowhere else.
 * @example
 * ```js
 * const ensemble = await Ensemble.open([
 *   { path: 'fold_0/model.safetensors', source: modelBytes },
 *   { path: 'fold_1/model.safetensors', source: modelBytes },
 * ]);
 * const { labels } = await ensemble.predict('scan.nii.gz');
 * await ensemble.dispose();
 * ```
 */
export class Ensemble {
  readonly #runner: Runner;

  private constructor(runner: Runner) {
    this.#runner = runner;
  }

  /**
   * The folds of a model folder of nnU-Net v2 (or one with a single model somewhere within), those of `train --folds`
   * with their post-processing, or files that end in .safetensors of networks that differ in their weights alone.
   * @param files with `/` in their paths, or a zip archive of them, such as nnUNetv2_export_model_to_zip makes
   * @throws InvalidModel naming what is missing, damaged, not supported or of another network; InvalidOption; OutOfMemory
   *   where one window exceeds the budget; UnsupportedDevice without a GPU adapter
   */
  static async open(files: readonly FileEntry[] | Source, options: EnsembleOptions = {}): Promise<Ensemble> {
    assertOptions('Ensemble.open', { files: modelFilesSchema }, { files });
    assertOptions('Ensemble.open', ensembleEntries, options);
    const { folds, checkpoint, folder, configuration, ...device } = options;
    const all = await modelFiles(files);
    const own = all.filter(({ path }) => path.endsWith('.safetensors'));
    if (own.length === 0 || modelFolders(all).length > 0)
      return new Ensemble(
        await nnunetRunner(await openNnunet(files, { folds, checkpoint, folder, configuration }), device),
      );
    const trained = foldsAmong(own);
    refuse(
      { ...(trained.length === 0 && { folds }), checkpoint, folder, configuration },
      trained.length === 0
        ? 'these are neither folds of a training nor a model folder of nnU-Net: give those of the files that are meant'
        : 'these are folds of a training, not a model folder of nnU-Net',
    );
    if (trained.length === 0) return new Ensemble(await ownRunner(own, device));
    const chosen = chosenFolds(trained, folds);
    return new Ensemble(await ownRunner(chosen, device, await postprocessingIn(all, chosen[0]!.root)));
  }

  /** The network that all have in common. */
  get config(): UNet3DConfig {
    return this.#runner.config;
  }

  /** Names of labels and channels and the rules that predictions follow, as a saved model carries them. */
  get description(): Description {
    return this.#runner.description;
  }

  /** Names of the folds, or paths of the files. */
  get members(): readonly string[] {
    return this.#runner.members;
  }

  /** Segments one volume, as `UNet3D.predict` does. @throws as that */
  async predict(
    sources: Source | readonly Source[],
    options: EnsemblePredictOptions = {},
  ): Promise<Segmentation> {
    assertOptions('Ensemble.predict', ensemblePredictEntries, options);
    return this.#runner.predict(sourceList(sources), { ...options });
  }

  /**
   * Loss, Dice and prediction of each prepared case, as `UNet3D.evaluate` gives them: labels by the mean of the logits,
   * the loss the mean of the networks' own.
   * @throws as that; InvalidOption for a folder of nnU-Net, whose images are prepared by its own rules
   */
  async evaluate(cases: readonly PreparedCase[], options: EvaluateOptions = {}): Promise<CaseScore[]> {
    assertOptions('Ensemble.evaluate', evaluateEntries, options);
    assertValue('Ensemble.evaluate', caseList, cases);
    return this.#runner.evaluate([...cases], { ...options });
  }

  /** Frees everything on the GPU; the device too, unless the caller brought it. Calls that run or wait reject. */
  dispose(): void {
    this.#runner.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @throws InvalidOption for the first option that is given */
function refuse(options: Readonly<Record<string, unknown>>, because: string): void {
  const name = Object.keys(options).find((key) => options[key] !== undefined);
  if (name === undefined) return;
  throw new InvalidOption(`Ensemble.open: ${name} does nothing here: ${because}; leave it out`);
}

async function nnunetRunner(model: NnunetModel, device: DeviceOptions): Promise<Runner> {
  const predictor = await NnunetPredictor.of(model, device);
  const { config, ...description } = descriptionOf(model, model.origin);
  return {
    config,
    description,
    members: model.folds.map(({ name }) => name),
    async predict(sources, options) {
      const { previousStage, uncertainty, output } = options;
      const how = { ...optionsForNnunet(options), previousStage };
      const found = await predictor.predict(sources, how);
      return uncertainty ? withUncertainty(found, headsOf(model.labels), output) : found;
    },
    evaluate: () =>
      Promise.reject(
        new InvalidOption(
          `these networks follow nnU-Net’s rules and prepare images themselves: ${compareFiles}`,
        ),
      ),
    dispose: () => predictor.dispose(),
  };
}

/** A model within the folder of several folds. */
interface FoldFile {
  readonly path: string;
  readonly fold: string;
  /** The folder of all, with its `/`. */
  readonly root: string;
}

/** The models that `train --folds` has written among some files. */
export function foldsAmong<File extends { readonly path: string }>(
  files: readonly File[],
): (File & { readonly fold: string; readonly root: string })[] {
  return files
    .flatMap((file) => {
      const found = /^(.*\/)?fold_(\d+)\/model\.safetensors$/.exec(file.path);
      return found ? [{ ...file, root: found[1] ?? '', fold: found[2]! }] : [];
    })
    .sort((a, b) => Number(a.fold) - Number(b.fold));
}

/** @throws InvalidModel where one is missing, or where they are of several trainings */
export function chosenFolds<File extends FoldFile>(
  files: readonly File[],
  wanted: readonly string[] | undefined,
): readonly File[] {
  const other = files.find(({ root }) => root !== files[0]!.root);
  if (other)
    throw new InvalidModel(
      `there are folds in ${files[0]!.root} and in ${other.root}; give one of these folders`,
    );
  const chosen = wanted && wanted.join() !== 'all' ? wanted : files.map(({ fold }) => fold);
  return chosen.map((name) => {
    const found = files.find(({ fold }) => fold === name);
    if (found) return found;
    throw new InvalidModel(`fold ${name} is missing; there are ${listed(files.map(({ fold }) => fold))}`);
  });
}

const ensembleSchema = openObject({ postprocessing: postprocessingSchema });

/** What cross-validation chose for the folds; nothing where it has not ended. */
export async function postprocessingIn(
  files: readonly ModelFile[],
  root: string,
): Promise<Postprocessing | undefined> {
  const path = `${root}ensemble.json`;
  const file = files.find((other) => other.path === path);
  if (!file) return undefined;
  return readJson(await readText(await file.open()), ensembleSchema, (problem) => {
    return new InvalidModel(`${path}: ${problem}; train again with --resume, which writes it anew`);
  }).postprocessing;
}
