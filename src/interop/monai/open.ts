/** Models of MONAI: a bundle, or weights beside the definition of their network, read as data. */
import * as v from 'valibot';
import type { FileEntry } from '../../data/case.ts';
import { readText, type Source } from '../../data/source.ts';
import { InvalidModel } from '../../errors.ts';
import { readJson } from '../../json.ts';
import { listed } from '../../listed.ts';
import { layoutParameters } from '../../model/parameters.ts';
import { assertOptions } from '../../options.ts';
import type { ReadableTensor } from '../../weights/named-tensors.ts';
import { stateDictIn } from '../../weights/pytorch/state-dict.ts';
import { toOurs } from '../mapping.ts';
import { modelFiles, modelFilesSchema, type ModelFile } from '../model-files.ts';
import { BundleConfig, componentOf, requireValues } from './config.ts';
import { readNetwork, type MonaiNetwork } from './network.ts';
import { readPipeline, type Pipeline } from './pipeline.ts';
import { monaiMapping } from './weights.ts';

/** What a model of MONAI says. */
export interface MonaiModel {
  /** Its class, and the network as this package has it. */
  readonly network: MonaiNetwork;
  /** Under this package's names and in its order of axes; read when they are asked for. */
  readonly weights: ReadonlyMap<string, ReadableTensor>;
  /** Names by label value; empty if nobody gave any. */
  readonly labels: readonly string[];
  /** Names of the input channels, in order; empty if nobody gave any. */
  readonly channels: readonly string[];
  /** Of a bundle: what it does with an image before and after its network. */
  readonly pipeline?: Pipeline | undefined;
}

/** Of a bundle, by which it is known. */
export const metadataPath = /(^|\/)configs\/metadata\.json$/;
/** Of a state dict that its network's definition lies beside. */
const definitionPath = /(^|\/)network\.json$/;

/** Whether files are a model of MONAI's: a bundle, or a state dict with its network.json. */
export const isMonai = (files: readonly { readonly path: string }[]): boolean =>
  files.some(({ path }) => metadataPath.test(path) || definitionPath.test(path));

/** Of a bundle's files, those that are read. */
const bundlePath = /(^|\/)(configs\/(metadata|inference|train)\.json|models\/model\.pt)$/;

/** Which of these files may be of a model. */
export function mayBeOfModel(
  files: readonly { readonly path: string }[],
): (file: { readonly path: string }) => boolean {
  const wanted = files.some(({ path }) => metadataPath.test(path)) ? bundlePath : /\.(json|pt|pth|ckpt)$/;
  return ({ path }) => wanted.test(path);
}

/** The files that may be of a model; others of an archive stay packed. */
async function wantedFiles(given: readonly FileEntry[] | Source): Promise<readonly ModelFile[]> {
  const all = await modelFiles(given);
  return all.filter(mayBeOfModel(all));
}

/**
 * Reads a bundle (a folder with configs/metadata.json, configs/inference.json or train.json, and models/model.pt) or,
 * of two files, a state dict and the definition of its network: `{"_target_": "UNet", …}` as JSON. Weights stay in
 * their file until they are asked for.
 * @param given files with `/` in their paths, or a zip archive of them
 * @throws InvalidModel naming what is missing, damaged or not supported
 * @example
 * ```js
 * const { network, labels, pipeline } = await openMonai(monaiFiles);
 * console.log(network, labels);
 * ```
 */
export async function openMonai(given: readonly FileEntry[] | Source): Promise<MonaiModel> {
  assertOptions('openMonai', { files: modelFilesSchema }, { files: given });
  const files = await wantedFiles(given);
  const metadata = files.filter(({ path }) => metadataPath.test(path));
  if (metadata.length > 1)
    throw new InvalidModel(
      `there are several bundles of MONAI: ${listed(metadata.map(({ path }) => path))}; give one of these folders`,
    );
  const [found] = metadata;
  return found ? openBundle(files, found) : openPlain(files);
}

async function openPlain(files: readonly ModelFile[]): Promise<MonaiModel> {
  const single = (ending: RegExp, expected: string): ModelFile => {
    const found = files.filter(({ path }) => ending.test(path));
    if (found.length === 1) return found[0]!;
    throw new InvalidModel(
      `there ${found.length === 0 ? 'is no' : `are ${found.length} files that may be the`} ${expected}; give a bundle of MONAI, ` +
        'or its state dict (model.pt) and its network as JSON ({"_target_": "UNet", …})',
    );
  };
  const weights = single(/\.(pt|pth|ckpt)$/, 'state dict');
  const named = files.filter(({ path }) => definitionPath.test(path));
  const definition = named.length === 1 ? named[0]! : single(/\.json$/, 'definition of the network');
  const fail = (problem: string): InvalidModel =>
    new InvalidModel(`${definition.path} cannot be followed: ${problem}`);
  const network = readNetwork(
    readJson(await readText(await definition.open()), v.record(v.string(), v.unknown(), 'an object'), fail),
    definition.path,
  );
  return { ...(await withWeights(network, weights, definition.path)), labels: [], channels: [] };
}

async function withWeights(
  network: MonaiNetwork,
  { path, ranges }: ModelFile,
  describedBy: string,
): Promise<Pick<MonaiModel, 'network' | 'weights'>> {
  const { parameters, statistics } = layoutParameters(network.config);
  const dict = await stateDictIn(await ranges(), path);
  const ours = new Map([...parameters, ...statistics]);
  return { network, weights: toOurs(monaiMapping(network), dict, ours, { name: path, describedBy }) };
}

/** Names by number, as `channel_def` has them. */
const channelNames = v.optional(v.record(v.string(), v.string()), {});
const metadataSchema = v.object({
  network_data_format: v.optional(
    v.object({
      inputs: v.optional(v.record(v.string(), v.object({ channel_def: channelNames })), {}),
      outputs: v.optional(v.record(v.string(), v.object({ channel_def: channelNames })), {}),
    }),
    {},
  ),
});

async function openBundle(files: readonly ModelFile[], metadata: ModelFile): Promise<MonaiModel> {
  const root = metadata.path.slice(0, -'configs/metadata.json'.length);
  const within = (name: string): ModelFile | undefined => files.find(({ path }) => path === root + name);
  const configOf = async (name: string): Promise<BundleConfig | undefined> => {
    const file = within(`configs/${name}`);
    return file && new BundleConfig(await readText(await file.open()), file.path);
  };
  const [inference, train] = [await configOf('inference.json'), await configOf('train.json')];
  const config = [inference, train].find((one) => one?.has('network_def'));
  if (!config)
    throw new InvalidModel(
      `neither ${root}configs/inference.json nor train.json has a network_def, which says what the network is made of: ` +
        'give the whole bundle, with its configurations as JSON',
    );
  const definition = componentOf(config.value('network_def'), 'network_def', config);
  requireValues(definition, config);
  const network = readNetwork({ _target_: definition.className, ...definition.given }, config.name);
  const path = `${root}models/model.pt`;
  const weights = within('models/model.pt');
  if (!weights) throw new InvalidModel(`the bundle has no ${path}; give it whole`);
  const { network_data_format: format } = readJson(
    await readText(await metadata.open()),
    metadataSchema,
    (problem) => new InvalidModel(`in ${metadata.path}, ${problem}: take another copy of the bundle`),
  );
  return {
    ...(await withWeights(network, weights, config.name)),
    labels: labelsOf(format.outputs, network.config.classes),
    channels: namesOf(format.inputs, network.config.inChannels),
    pipeline: inference?.has('preprocessing') ? readPipeline(inference, network.config.classes) : undefined,
  };
}

/** One channel alone is of label 1, which some call channel 1 as if the background had one, too. */
function labelsOf(outputs: Parameters<typeof namesOf>[0], classes: number): readonly string[] {
  const names = namesOf(outputs, 2);
  if (classes > 1 || names.length > 0) return namesOf(outputs, Math.max(classes, 2));
  return namesOf(outputs, 1).flatMap((name) => ['background', name]);
}

/** Of the only input or output, if it has a name for each number and none twice. */
function namesOf(
  tensors: Readonly<Record<string, { readonly channel_def: Readonly<Record<string, string>> }>>,
  count: number,
): readonly string[] {
  const [first, ...others] = Object.values(tensors);
  if (!first || others.length > 0) return [];
  const names = Array.from({ length: count }, (_, index) => first.channel_def[String(index)]);
  const given = names.filter((name) => name !== undefined);
  return given.length === count && new Set(given).size === count ? given : [];
}
