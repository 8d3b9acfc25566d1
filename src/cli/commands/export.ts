/** `export`: a trained model as a file or folder that other programs read. */
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { openRanges } from '../../data/byte-ranges.ts';
import { InvalidModel, InvalidOption } from '../../errors.ts';
import { exportMonai } from '../../export/monai.ts';
import { exportNnunet } from '../../export/nnunet.ts';
import { exportOnnx } from '../../export/onnx.ts';
import { exportPytorch, isInExample } from '../../export/pytorch.ts';
import { exportSafetensors } from '../../export/safetensors.ts';
import { isFolderAt } from '../../files/folder.node.ts';
import { FolderLock } from '../../files/lock.node.ts';
import { readIfThere } from '../../files/read.node.ts';
import { writeFileAtomically } from '../../files/write.node.ts';
import { classOf } from '../../interop/monai/definition.ts';
import { readCheckpoint } from '../../interop/nnunet/checkpoint.ts';
import { usualCheckpoint } from '../../interop/nnunet/folder.ts';
import { openModel } from '../../weights/model-file.ts';
import type { Io } from '../io.ts';
import { modelsToExport, type ModelsToExport } from '../models-to-export.ts';
import { checkOutputs } from '../outputs.ts';
import { configurationHelp } from '../predict-models.ts';

/** Where each kind goes beside the model: a file's ending, or a folder. */
const endings = {
  pytorch: '.pth',
  safetensors: '.safetensors',
  onnx: '.onnx',
  nnunet: '-nnunet',
  monai: '-monai',
} as const;
type Kind = keyof typeof endings;

interface Options {
  readonly to: Kind;
  readonly out?: string;
  readonly overwrite?: boolean;
  readonly precision?: 'f32' | 'f16';
  readonly upsampling?: 'transposed' | 'shuffled';
  readonly dataset?: string;
  readonly fold?: string;
  readonly configuration?: string;
}

/** Options of one kind alone. */
const own: Readonly<Record<string, Kind>> = {
  precision: 'safetensors',
  upsampling: 'onnx',
  dataset: 'nnunet',
};

export function exportCommand(io: Io): Command {
  return new Command('export')
    .description(
      'Write a trained model for PyTorch, nnU-Net, MONAI, ONNX runtimes or readers of safetensors.',
    )
    .argument(
      '<MODEL>',
      "model.safetensors or the folder of a training; or nnU-Net's model folder, a bundle of MONAI, or the zip of either",
    )
    .addOption(new Option('--to <kind>', 'what to write').choices(Object.keys(endings)).makeOptionMandatory())
    .option(
      '--out <path>',
      'a file, or a folder: for nnunet that which gets Dataset…, for monai the models/ of a bundle; default: beside the model',
    )
    .option('--overwrite', 'replace what is there')
    .addOption(
      new Option('--precision <kind>', 'of safetensors: f16 takes half the space').choices(['f32', 'f16']),
    )
    .addOption(
      new Option(
        '--upsampling <kind>',
        'of onnx: shuffled does without transposed convolutions, as onnxruntime-web needs it on WebGPU',
      ).choices(['transposed', 'shuffled']),
    )
    .option('--dataset <name>', 'of nnunet: the data set, such as Dataset042_Liver')
    .option(
      '--fold <name>',
      'of a folder with several: which one; nnunet takes all of them, and of one network what its file or folder says, else 0',
    )
    .option('--configuration <name>', configurationHelp)
    .addHelpText(
      'after',
      `
pytorch      a state dict (.pth); examples/pytorch/unet3d.py has the network,
             but for those of MONAI
safetensors  a state dict, with this package's description as metadata
onnx         opset 17, batch and lengths free; how images are prepared, labels
             and post-processing are JSON in the metadata
nnunet       a folder as nnU-Net v2 has it, for networks that nnU-Net has;
             folds go beside those that are there of the same training
monai        model.pt and network.json (its network_def in a bundle), for
             networks that MONAI has

Examples:
  unet3d-gpu export runs/1 --to pytorch
  unet3d-gpu export runs/1/model.safetensors --to onnx --out model.onnx
  unet3d-gpu export runs/1 --to nnunet --dataset Dataset042_Liver --out nnUNet_results`,
    )
    .action((model: string, options: Options) => exportModel(io, model, options));
}

async function exportModel(io: Io, path: string, options: Options): Promise<void> {
  const { to, overwrite = false } = options;
  for (const [option, kind] of Object.entries(own))
    if (options[option as keyof Options] !== undefined && kind !== to)
      throw new InvalidOption(`--${option} is for --to ${kind}, but this is --to ${to}: leave it out`);
  const found = await modelsToExport(path, options, to === 'nnunet');
  const { inputs } = found;
  const out = options.out ?? usualPlace(found, options);
  if (!isFolder(to) && (await isFolderAt(out)))
    throw new InvalidOption(
      `--out ${out} is a folder: give the name of a file, such as ${join(out, `model${endings[to]}`)}`,
    );
  const files = await exported(io, found, out, options);
  const paths = files.map((file) => file.path);
  await checkOutputs([{ option: '--out', paths }], inputs);
  using lock = isFolder(to) ? FolderLock.take(dirname(paths[0]!)) : undefined;
  void lock; // until the end
  const replacing = to === 'nnunet' ? await besideFolds(files) : files;
  const present = replacing.map((file) => file.path).find((file) => existsSync(file));
  if (present !== undefined && !overwrite)
    throw new InvalidOption(`${present} is there already: give another --out, or --overwrite to replace it`);
  // What describes the others goes first and comes last: nothing is read by a description that it is not of.
  const describes = (file: ExportedFile): boolean => isFolder(to) && basename(file.path) === descriptions[to];
  const description = replacing.filter(describes);
  for (const { path } of description) await rm(path, { force: true });
  const others = replacing.filter((file) => !describes(file));
  for (const { path, bytes } of [...others, ...description]) await writeFileAtomically(path, bytes);
  io.out(...paths);
  if (to === 'pytorch') await tellClass(io, files[0]!.bytes);
}

/** Beside the model, under another name than its own. */
function usualPlace({ inputs, place }: ModelsToExport, { to, precision }: Options): string {
  const usual = `${place}${endings[to]}`;
  const isModel = inputs.some((input) => resolve(input) === resolve(usual));
  return isModel ? `${place}-${precision ?? 'exported'}${endings[to]}` : usual;
}

/** Which class loads the weights, where it is not that of the example. */
async function tellClass(io: Io, weights: Uint8Array): Promise<void> {
  const { config } = (await openModel(weights)).description;
  if (isInExample(config)) return;
  const kind = classOf(config);
  io.err(
    `examples/pytorch/unet3d.py does not have this network: ` +
      (kind
        ? `it is MONAI's ${kind}, for which --to monai writes the weights under its names, with its arguments`
        : 'no class of MONAI has it either; --to onnx writes network and weights'),
  );
}

/** Of kinds that are folders, the file without which the others are not read. */
const descriptions = { nnunet: 'plans.json', monai: 'network.json' } as const;

const isFolder = (kind: Kind): kind is keyof typeof descriptions => kind in descriptions;

interface ExportedFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** What is to be written, and where. */
async function exported(
  io: Io,
  found: ModelsToExport,
  out: string,
  { to, precision = 'f32', upsampling = 'transposed', dataset }: Options,
): Promise<readonly ExportedFile[]> {
  if (to === 'nnunet') return nnunetFiles(io, found, out, dataset);
  if (to !== 'monai' && found.around && found.around.length > 0)
    io.err(
      `warning: what the bundle does around its network is not in the file: ${found.around.join(', ')}; its configs/inference.json has it`,
    );
  const [{ read, fold }] = found.models as [ModelsToExport['models'][number]];
  const model = await read();
  if (to === 'pytorch') return [{ path: out, bytes: await exportPytorch(model) }];
  if (to === 'safetensors')
    return [{ path: out, bytes: await exportSafetensors(model, { precision, ...foldOf(fold) }) }];
  if (to === 'onnx') return [{ path: out, bytes: await exportOnnx(model, { upsampling }) }];
  const { files } = await exportMonai(model);
  return files.map(({ path, source }) => ({ path: join(out, path), bytes: source }));
}

/** Where it is not known, the file may say it. */
const foldOf = (fold: string | undefined) => (fold === undefined ? {} : { fold });

/** One folder for all folds. */
async function nnunetFiles(
  io: Io,
  { models }: ModelsToExport,
  out: string,
  dataset: string | undefined,
): Promise<readonly ExportedFile[]> {
  const files = new Map<string, Uint8Array>();
  const warnings = new Set<string>();
  for (const { fold, read } of models) {
    const given = { ...foldOf(fold), ...(dataset === undefined ? {} : { dataset }) };
    const made = await exportNnunet(await read(), given);
    for (const warning of made.warnings) warnings.add(warning);
    for (const { path, source } of made.files) {
      const other = files.get(path);
      if (other && !isSame(other, source))
        throw new InvalidModel(
          `${path} of fold ${fold} is not that of fold ${models[0]!.fold}, and nnU-Net has one for all: export each (--fold) to an --out of its own`,
        );
      files.set(path, source);
    }
  }
  for (const warning of warnings) io.err(`warning: ${warning}`);
  return [...files].map(([path, bytes]) => ({ path: join(out, path), bytes }));
}

/**
 * The files without plans.json and dataset.json of nnU-Net that are there with these very bytes: a fold goes beside the
 * others of its training.
 * @throws InvalidOption where folds that stay would be read by plans that they are not of, or mirrored as they were not
 */
async function besideFolds(files: readonly ExportedFile[]): Promise<readonly ExportedFile[]> {
  const texts = files.filter(({ path }) => extname(path) === '.json');
  const folds = files.filter((file) => !texts.includes(file));
  const there = await Promise.all(texts.map(({ path }) => readIfThere(path)));
  const folder = dirname(texts[0]!.path);
  const replaced = folds.map(({ path }) => basename(dirname(path)));
  const others = (await readdir(folder).catch(() => [])).filter(
    (name) => name.startsWith('fold_') && !replaced.includes(name),
  );
  if (texts.every(({ bytes }, at) => there[at] && isSame(there[at], bytes))) {
    await requireOneMirroring(
      folds[0]!,
      others.map((name) => join(folder, name, usualCheckpoint)),
    );
    return folds;
  }
  if (others.length > 0)
    throw new InvalidOption(
      `${folder} holds ${others.join(', ')} of other plans than these: give another --out or --dataset, or take that folder away`,
    );
  return files;
}

/** @throws InvalidOption where folds that stay are mirrored along other axes: nnU-Net takes those of the first for all */
async function requireOneMirroring(fold: ExportedFile, others: readonly string[]): Promise<void> {
  const axesOf = async (path: string, source: string | Uint8Array): Promise<string> =>
    (await readCheckpoint(await openRanges(source), path)).mirrorAxes.join(', ');
  const axes = await axesOf(fold.path, fold.bytes);
  for (const path of others.filter((other) => existsSync(other))) {
    const theirs = await axesOf(path, path);
    if (theirs !== axes)
      throw new InvalidOption(
        `${path} is mirrored along the axes [${theirs}], this fold along [${axes}], and nnU-Net has one list for all: export the ` +
          'folder of all folds at once, or give another --out',
      );
  }
}

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
