/** A model as a model folder of nnU-Net v2, whose own commands predict with it. */
import * as v from 'valibot';
import type { FileEntry } from '../data/case.ts';
import { InvalidModel } from '../errors.ts';
import { parseJson } from '../json.ts';
import { toTheirs } from '../interop/mapping.ts';
import { usualCheckpoint } from '../interop/nnunet/folder.ts';
import { rulesOf } from '../interop/nnunet/rules.ts';
import { nnunetMapping } from '../interop/nnunet/weights.ts';
import type { UNet3DConfig } from '../model/config.ts';
import { layoutParameters } from '../model/parameters.ts';
import { assertOptions } from '../options.ts';
import type { NnunetOrigin } from '../weights/model-file.ts';
import { Storages, writePytorch } from '../weights/pytorch/write.ts';
import { Call, Tuple, type Pickled } from '../weights/pytorch/write-pickle.ts';
import type { NamedTensor } from '../weights/safetensors.ts';
import { foldEntry, modelToExport } from './model.ts';
import { describedForNnunet, nnunetConfig } from './nnunet/describe.ts';

/** How a folder of nnU-Net is written. */
export interface NnunetExportOptions {
  /** Its data set, by which nnU-Net finds it. Default: the one that a model of nnU-Net's comes from, else `Dataset001_unet3d`. */
  readonly dataset?: string;
  /** Of a training, whose folds go into one folder: a number, or `all`. Default: what the file says, else `0`. */
  readonly fold?: string;
}

const named = /^Dataset\d{3}_[\w-]+$/;

const exportEntries = {
  dataset: v.optional(v.pipe(v.string(), v.regex(named, 'a name such as Dataset042_Liver'))),
  fold: foldEntry,
} satisfies Record<keyof NnunetExportOptions, unknown>;

/** A folder of nnU-Net's results. */
export interface NnunetExport {
  /** Paths from the data set's folder on, `/` in between, with the bytes of each file. */
  readonly files: readonly (FileEntry & { readonly source: Uint8Array<ArrayBuffer> })[];
  /** What nnU-Net does in another way than this package does for this model. */
  readonly warnings: readonly string[];
}

/**
 * The model folder `Dataset…/TRAINER__PLANS__CONFIGURATION` with one fold. A model that came from nnU-Net gets its own
 * plans.json and dataset.json again; for others they are made from the model's description. Folds of one training have
 * the same of both, and belong into one folder.
 * @param model the content of model.safetensors
 * @throws InvalidModel for a file that is damaged, newer or of another network, and naming what of a network or its
 *   preprocessing nnU-Net does not have; InvalidOption for what is not bytes and for unknown options
 * @example
 * ```js
 * const { files, warnings } = await exportNnunet(nnunetModelBytes);
 * for (const { path, source } of files) console.log(path, source.length);
 * ```
 */
export async function exportNnunet(
  model: Uint8Array,
  options: NnunetExportOptions = {},
): Promise<NnunetExport> {
  assertOptions('exportNnunet', exportEntries, options);
  const { description, tensors, fold: told = '0' } = await modelToExport('exportNnunet', model);
  rulesOf(description); // what it carries is read before it is written
  const config = nnunetConfig(description.config);
  const { origin, warnings } = description.nnunet
    ? { origin: description.nnunet, warnings: [] }
    : describedForNnunet({ ...description, config });
  const plans = parsed(origin.plans);
  const { fold = told } = options;
  const parts = {
    dataset_name: options.dataset ?? plans['dataset_name'],
    trainer_name: origin.trainer,
    plans_name: plans['plans_name'],
    configuration: origin.configuration,
  };
  const [dataset, ...names] = Object.entries(parts).map(folderName);
  const folder = `${dataset}/${names.join('__')}`;
  const encoded = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
  return {
    files: [
      { path: `${folder}/plans.json`, source: encoded(origin.plans) },
      { path: `${folder}/dataset.json`, source: encoded(origin.dataset) },
      {
        path: `${folder}/fold_${fold}/${usualCheckpoint}`,
        source: checkpoint(config, withAllHeads(config, tensors), origin, fold),
      },
    ],
    warnings,
  };
}

/** nnU-Net's decoder has a head at every level, of which only the finest predicts: those that are missing are 0. */
function withAllHeads(
  config: UNet3DConfig,
  tensors: ReadonlyMap<string, NamedTensor>,
): ReadonlyMap<string, NamedTensor> {
  const all = new Map<string, NamedTensor>();
  for (const [name, { shape, length }] of layoutParameters(config).parameters) {
    const found = tensors.get(name);
    all.set(name, found ?? { shape, data: new Float32Array(length) });
  }
  return all;
}

/** As nnU-Net's trainer saves it, without what only going on with a training needs. */
function checkpoint(
  config: UNet3DConfig,
  tensors: ReadonlyMap<string, NamedTensor>,
  { plans, dataset, configuration, trainer, mirrorAxes }: NnunetOrigin,
  fold: string,
): Uint8Array<ArrayBuffer> {
  const storages = new Storages();
  const saved: Pickled = {
    network_weights: storages.stateDict(toTheirs(nnunetMapping(config), tensors)),
    optimizer_state: { state: {}, param_groups: [] },
    grad_scaler_state: null,
    logging: {},
    _best_ema: null,
    current_epoch: 0,
    init_args: {
      plans: parsed(plans),
      configuration,
      fold: fold === 'all' ? fold : Number(fold),
      dataset_json: parsed(dataset),
      device: new Call('torch.device', ['cpu']),
    },
    trainer_name: trainer,
    inference_allowed_mirroring_axes: mirrorAxes.length > 0 ? new Tuple(mirrorAxes) : null,
  };
  return writePytorch(saved, storages);
}

/** Of text that has been read before. */
const parsed = (json: string): Readonly<Record<string, Pickled>> =>
  parseJson(json) as Readonly<Record<string, Pickled>>;

/** What becomes a part of a path. */
function folderName([key, name]: [string, Pickled | undefined]): string {
  if (typeof name === 'string' && /^[\w.-]+$/.test(name) && !/^\.+$/.test(name)) return name;
  throw new InvalidModel(
    `the model comes from nnU-Net with ${key} ${JSON.stringify(name)}, which names a folder there; expected letters, digits and _`,
  );
}
