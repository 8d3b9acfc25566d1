/** A model folder of nnU-Net v2 as data: what its plans, its dataset.json and its folds' checkpoints say. */
import * as v from 'valibot';
import type { FileEntry } from '../../data/case.ts';
import { readText, type Source } from '../../data/source.ts';
import { InvalidModel } from '../../errors.ts';
import { listed } from '../../listed.ts';
import { assertOptions } from '../../options.ts';
import { layoutParameters } from '../../model/parameters.ts';
import { text, withParts } from '../../schema.ts';
import type { NnunetOrigin } from '../../weights/model-file.ts';
import type { ReadableTensor } from '../../weights/named-tensors.ts';
import { toOurs } from '../mapping.ts';
import { modelFiles, modelFilesSchema, type ModelFile } from '../model-files.ts';
import { readCheckpoint } from './checkpoint.ts';
import { outlineIn, type NnunetOutline } from './plans.ts';
import { readRules, type NnunetRules } from './rules.ts';
import { nnunetMapping } from './weights.ts';

/** What a model folder of nnU-Net v2 says, and the weights of its folds. */
export interface NnunetModel extends NnunetRules {
  /** The words of its files that a saved model carries. */
  readonly origin: NnunetOrigin;
  /** Those that were asked for. */
  readonly folds: readonly NnunetFold[];
  /** Of the second network of a cascade, the first, where its folder lies beside this one's. */
  readonly previous?: NnunetModel | undefined;
}

/** One training of several that differ in the cases they were validated on. */
export interface NnunetFold {
  /** A number, or `all`. */
  readonly name: string;
  /** Of its checkpoint in the folder. */
  readonly path: string;
  /** Under the names and with the shapes of this package; read from the file one by one when they are asked for. */
  readonly weights: ReadonlyMap<string, ReadableTensor>;
}

/** What is opened of a model folder. */
export interface NnunetOptions {
  /** Such as `['0', '3']` or `['all']`, of both networks of a cascade. Default: all numbered folds, else `all`. */
  readonly folds?: readonly string[] | undefined;
  /** Default `checkpoint_final.pth`. */
  readonly checkpoint?: string | undefined;
  /** Of several model folders within, the one that is meant, as `modelFolders` names it. */
  readonly folder?: string | undefined;
  /** The same by its configuration, such as `3d_fullres`, or by as much of its folder's name before that as tells it apart. */
  readonly configuration?: string | undefined;
}

const foldsText = "a list of one fold or more, each once, such as ['0', '3'] or ['all']";

export const nnunetEntries = {
  folds: v.optional(
    v.pipe(
      v.array(text, foldsText),
      v.minLength(1, foldsText),
      v.check((folds) => new Set(folds).size === folds.length, foldsText),
    ),
  ),
  checkpoint: v.optional(text),
  folder: v.optional(text),
  configuration: v.optional(text),
} satisfies Record<keyof NnunetOptions, unknown>;

/**
 * Reads a model folder, or one with a single model or the two of a cascade somewhere within, beside which networks in two
 * dimensions are passed over. Weights stay in their files until they are asked for, also in an archive, where they are
 * unpacked as far as they are read.
 * @param files with `/` in their paths, or an archive of them as nnUNetv2_export_model_to_zip makes it
 * @throws InvalidModel naming what is missing, damaged or not supported; InvalidOption
 * @example
 * ```js
 * const { plans, labels, folds } = await openNnunet(nnunetFiles);
 * console.log(labels, folds);
 * ```
 */
export async function openNnunet(
  files: readonly FileEntry[] | Source,
  options: NnunetOptions = {},
): Promise<NnunetModel> {
  assertOptions('openNnunet', { files: modelFilesSchema }, { files });
  assertOptions('openNnunet', nnunetEntries, options);
  const { configuration } = options;
  const all = await modelFiles(files);
  const root = await modelRoot(all, options);
  const model = await openModel(all, root, options);
  const { name } = model.plans.configuration;
  if (configuration !== undefined && configuration !== name && !isNamed(root, configuration))
    throw new InvalidModel(
      `the model of nnU-Net is of configuration ${name}, not ${configuration}: give the folder of that one, or ${name}`,
    );
  return model;
}

/** @param later folders of the networks that take its labels */
async function openModel(
  all: readonly ModelFile[],
  root: string,
  { folds, checkpoint = usualCheckpoint }: Pick<NnunetOptions, 'folds' | 'checkpoint'>,
  later: readonly string[] = [],
): Promise<NnunetModel> {
  if (later.includes(root))
    throw new InvalidModel(
      `the previous stages of ${root} lead back to it; take another copy of the model folder`,
    );
  const within = new Map(
    all.filter(({ path }) => path.startsWith(root)).map((file) => [file.path.slice(root.length), file]),
  );
  const textOf = async (name: string): Promise<string> => {
    const file = within.get(name);
    if (!file) throw new InvalidModel(`the folder ${root} has no ${name}; give the whole model folder`);
    return readText(await file.open());
  };
  const [plans, dataset] = [await textOf('plans.json'), await textOf('dataset.json')];
  const checkpoints = await Promise.all(
    chosenFolds(within, root, checkpoint, folds).map(async (name) => {
      const path = `fold_${name}/${checkpoint}`;
      return {
        name,
        path: root + path,
        ...(await readCheckpoint(await within.get(path)!.ranges(), root + path)),
      };
    }),
  );
  const { configuration, trainer, mirrorAxes } = checkpoints[0]!;
  const facts = JSON.stringify([configuration, trainer, mirrorAxes]);
  const other = checkpoints.find(
    (fold) => JSON.stringify([fold.configuration, fold.trainer, fold.mirrorAxes]) !== facts,
  );
  if (other)
    throw new InvalidModel(
      `${other.path} is of configuration ${other.configuration} and trainer ${other.trainer}, mirrored along ` +
        `[${other.mirrorAxes.join(', ')}]; ${checkpoints[0]!.path} of ${configuration} and ${trainer}, along ` +
        `[${mirrorAxes.join(', ')}]: give folds of one training`,
    );
  const origin = { plans, dataset, configuration, trainer, mirrorAxes };
  const rules = readRules(origin);
  const { parameters } = layoutParameters(rules.config);
  const mapping = nnunetMapping(rules.config);
  const { previousStage } = rules.plans.configuration;
  const before = previousStage && besideFolder(root, configuration, previousStage);
  const isThere = before && modelFolders(all).includes(before);
  return {
    ...rules,
    origin,
    ...(isThere && { previous: await openModel(all, before, { folds, checkpoint }, [...later, root]) }),
    folds: checkpoints.map(({ name, path, weights }) => ({
      name,
      path,
      weights: toOurs(mapping, weights, parameters, { name: path, describedBy: 'plans.json' }),
    })),
  };
}

/** Of a training that has ended. */
export const usualCheckpoint = 'checkpoint_final.pth';

const foldPattern = /^fold_(\d+|all)\//;
/** A network of `train --folds`. */
const ownFold = /^(.*\/|)fold_\d+\/model\.safetensors$/;

const pathsSchema = v.array(withParts('a file with its path', 'path'), 'files with their paths');

/**
 * The folders that hold plans.json beside folds, each with its `/`, in order; without what lies below the folds of this
 * package's trainings, from which it was exported.
 */
export function modelFolders(files: readonly { readonly path: string }[]): string[] {
  assertOptions('modelFolders', { files: pathsSchema }, { files });
  const paths = files.map(({ path }) => path);
  const trained = [...new Set(paths.flatMap((path) => ownFold.exec(path)?.slice(1, 2) ?? []))];
  return paths
    .filter((path) => path === 'plans.json' || path.endsWith('/plans.json'))
    .map((path) => path.slice(0, -'plans.json'.length))
    .filter((folder) =>
      paths.some((path) => path.startsWith(folder) && foldPattern.test(path.slice(folder.length))),
    )
    .filter((folder) => !trained.some((root) => folder !== root && folder.startsWith(root)))
    .sort();
}

/**
 * The folder of another configuration of the same training, with its `/`: nnU-Net calls them
 * TRAINER__PLANS__CONFIGURATION. Undefined for a folder that has another name.
 */
export function besideFolder(folder: string, configuration: string, other: string): string | undefined {
  const ending = `__${configuration}/`;
  return folder.endsWith(ending) ? `${folder.slice(0, -ending.length)}__${other}/` : undefined;
}

/** The only one, or the one that is meant; of the two of a cascade the second. */
async function modelRoot(
  files: readonly ModelFile[],
  { checkpoint = usualCheckpoint, folder, configuration }: NnunetOptions,
): Promise<string> {
  const all = modelFolders(files).filter((found) => folder === undefined || found === folder);
  const named = all.filter((found) => configuration === undefined || isNamed(found, configuration));
  // Of a folder with another name than nnU-Net gives, its files tell.
  const models = named.length > 0 ? named : all.filter((found) => !/__[^/]*\/$/.test(found));
  if (models.length === 0 && all.length > 0)
    throw new InvalidModel(
      `there is no model of nnU-Net of configuration ${configuration}; there are ${listed(shortNames(all))}`,
    );
  const left = await toChooseFrom(files, models);
  if (left.length === 1) return left[0]!;
  const names = shortNames(left);
  if (left.length > 1)
    throw new InvalidModel(
      `there are several models of nnU-Net: ${listed(left)}; give one of these folders, or choose by configuration: ` +
        `${listed(names)} (--configuration ${names[0]})`,
    );
  throw new InvalidModel(
    `there is no model of nnU-Net v2: expected a folder with plans.json, dataset.json and fold_0/${checkpoint} or the like`,
  );
}

/** Whether a folder's name, TRAINER__PLANS__CONFIGURATION, ends so. */
const isNamed = (folder: string, configuration: string): boolean =>
  ['__', '/'].some((mark) => `/${folder}`.endsWith(`${mark}${configuration}/`));

/** As much of the folders' ends as tells them apart. */
function shortNames(folders: readonly string[]): readonly string[] {
  const paths = folders.map((folder) => folder.slice(0, -1));
  const ends = [/^.*__/, /^.*\//].map((start) => paths.map((path) => path.replace(start, '')));
  return ends.find((names) => new Set(names).size === names.length) ?? paths;
}

/**
 * The folders of models to choose from, each with its `/`: without networks in two dimensions, which are not supported,
 * where there are others, and of the two of a cascade alone the second, before which `openNnunet` has the first.
 * @throws InvalidModel where plans.json cannot be read
 */
export async function foldersToChoose(files: readonly FileEntry[] | Source): Promise<readonly string[]> {
  assertOptions('foldersToChoose', { files: modelFilesSchema }, { files });
  const all = await modelFiles(files);
  return toChooseFrom(all, modelFolders(all));
}

async function toChooseFrom(
  files: readonly ModelFile[],
  folders: readonly string[],
): Promise<readonly string[]> {
  if (folders.length < 2) return folders;
  const outlines = new Map<string, NnunetOutline | undefined>();
  for (const folder of folders) {
    const plans = files.find(({ path }) => path === `${folder}plans.json`)!;
    outlines.set(folder, outlineIn(await readText(await plans.open()), configurationOf(folder)));
  }
  const spatial = folders.filter((folder) => !outlines.get(folder)?.isPlanar);
  if (spatial.length === 0) return folders;
  const second = spatial.find((folder) => {
    const previous = outlines.get(folder)?.previousStage;
    const first = previous && besideFolder(folder, configurationOf(folder), previous);
    return first && spatial.includes(first);
  });
  return second !== undefined && spatial.length === 2 ? [second] : spatial;
}

const configurationOf = (folder: string): string => folder.slice(folder.lastIndexOf('__') + 2, -1);

/** `all` comes last. */
const foldOrder = (name: string): number => (name === 'all' ? Infinity : Number(name));

function chosenFolds(
  within: ReadonlyMap<string, unknown>,
  root: string,
  checkpoint: string,
  wanted: readonly string[] | undefined,
): readonly string[] {
  const all = [...within.keys()]
    .filter(
      (path) => foldPattern.test(path) && path.endsWith(`/${checkpoint}`) && path.split('/').length === 2,
    )
    .map((path) => foldPattern.exec(path)![1]!)
    .sort((a, b) => foldOrder(a) - foldOrder(b));
  const numbered = all.filter((name) => name !== 'all');
  const chosen = wanted ?? (numbered.length > 0 ? numbered : all);
  const missing = chosen.find((name) => !all.includes(name));
  if (missing === undefined && chosen.length > 0) return chosen;
  // Of the two networks of a cascade, it may be the other one's.
  const where = root === '' ? '' : ` of ${root.slice(0, -1)}`;
  const found = all.length > 0 ? `there are ${listed(all)}` : 'there is none';
  throw new InvalidModel(
    missing === undefined
      ? `no fold${where} has a ${checkpoint}; give a model folder whose training has ended, or another checkpoint`
      : `fold ${missing}${where} with its ${checkpoint} is missing; ${found}`,
  );
}
