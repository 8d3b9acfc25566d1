/** `export`: a trained model as a file or folder that other programs read. */
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { foldsAmong } from '../../ensemble.ts';
import { InvalidModel, InvalidOption } from '../../errors.ts';
import { exportMonai } from '../../export/monai.ts';
import { exportNnunet } from '../../export/nnunet.ts';
import { exportOnnx } from '../../export/onnx.ts';
import { exportPytorch } from '../../export/pytorch.ts';
import { exportSafetensors } from '../../export/safetensors.ts';
import { isFolderAt } from '../../files/folder.node.ts';
import { FolderLock } from '../../files/lock.node.ts';
import { writeFileAtomically } from '../../files/write.node.ts';
import { convertNnunet } from '../../interop/nnunet/convert.ts';
import { convertMonai } from '../../interop/monai/convert.ts';
import { isMonai, openMonai } from '../../interop/monai/open.ts';
import { openNnunet } from '../../interop/nnunet/folder.ts';
import { fileMessage } from '../failure.ts';
import type { Io } from '../io.ts';
import { checkOutputs } from '../outputs.ts';
import { othersFiles } from '../predict-models.ts';

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
    .option('--fold <name>', 'of a folder with several: which one')
    .addHelpText(
      'after',
      `
pytorch      a state dict (.pth); examples/pytorch/unet3d.py has the network
safetensors  a state dict, with this package's description as metadata
onnx         opset 17, batch and lengths free; how images are prepared, labels
             and post-processing are JSON in the metadata
nnunet       a folder that nnUNetv2_predict reads, for networks that nnU-Net has
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
  const { to, fold, overwrite = false } = options;
  for (const [option, kind] of Object.entries(own))
    if (options[option as keyof Options] !== undefined && kind !== to)
      throw new InvalidOption(`--${option} is for --to ${kind}, but this is --to ${to}: leave it out`);
  const { bytes, inputs, place } = await modelAt(io, path, fold);
  const out = options.out ?? `${place}${endings[to]}`;
  if (!isFolder(to) && (await isFolderAt(out)))
    throw new InvalidOption(
      `--out ${out} is a folder: give the name of a file, such as ${join(out, `model${endings[to]}`)}`,
    );
  const files = await exported(io, bytes, out, options);
  const paths = files.map((file) => file.path);
  await checkOutputs([{ option: '--out', paths }], inputs);
  using lock = isFolder(to) ? FolderLock.take(dirname(paths[0]!)) : undefined;
  void lock; // until the end
  const present = paths.find((file) => existsSync(file));
  if (present !== undefined && !overwrite)
    throw new InvalidOption(`${present} is there already: give another --out, or --overwrite to replace it`);
  // What describes the others goes first and comes last: nothing is read by a description that it is not of.
  const describes = (file: ExportedFile): boolean => isFolder(to) && basename(file.path) === descriptions[to];
  for (const file of files.filter(describes)) await rm(file.path, { force: true });
  const others = files.filter((file) => !describes(file));
  for (const file of [...others, ...files.filter(describes)])
    await writeFileAtomically(file.path, file.bytes);
  io.out(...paths);
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
  model: Uint8Array,
  out: string,
  { to, precision = 'f32', upsampling = 'transposed', dataset }: Options,
): Promise<readonly ExportedFile[]> {
  if (to === 'pytorch') return [{ path: out, bytes: await exportPytorch(model) }];
  if (to === 'safetensors') return [{ path: out, bytes: await exportSafetensors(model, { precision }) }];
  if (to === 'onnx') return [{ path: out, bytes: await exportOnnx(model, { upsampling }) }];
  if (to === 'monai') {
    const { files } = await exportMonai(model);
    return files.map(({ path, source }) => ({ path: join(out, path), bytes: source }));
  }
  const { files, warnings } = await exportNnunet(model, dataset === undefined ? {} : { dataset });
  for (const warning of warnings) io.err(`warning: ${warning}`);
  return files.map(({ path, source }) => ({ path: join(out, path), bytes: source }));
}

/** The bytes of a model file, the files that they are of, and the path that exports go beside. */
async function modelAt(
  io: Io,
  path: string,
  fold: string | undefined,
): Promise<{ bytes: Uint8Array; inputs: readonly string[]; place: string }> {
  const isFolder = await isFolderAt(path);
  const file = isFolder ? join(path, 'model.safetensors') : path;
  const others = await othersFiles(path, isFolder, file);
  // Beside a folder of another tool: within, it would be taken for a part of the model.
  const place = isFolder ? resolve(path) : path.replace(/\.zip$/i, '');
  if (others?.paths.some((entry) => basename(entry.path) === 'plans.json')) {
    const model = await openNnunet(others.given, fold === undefined ? {} : { folds: [fold] });
    const names = model.folds.map(({ name }) => name);
    if (names.length > 1)
      throw new InvalidOption(`${path} has the folds ${names.join(', ')}: give one of them with --fold`);
    const bytes = await convertNnunet(model, names[0]);
    return { bytes, inputs: others.onDisk, place: `${place}-fold_${names[0]!}` };
  }
  const folds = isFolder ? foldsAmong(others?.paths ?? []) : [];
  if (folds.length > 0) {
    const chosen = folds.find((found) => found.fold === fold);
    if (chosen) return modelAt(io, join(path, chosen.path), undefined);
    throw new InvalidOption(
      `${path} has the folds ${folds.map((found) => found.fold).join(', ')}: give one of them with --fold`,
    );
  }
  if (fold !== undefined) throw new InvalidOption(`--fold is for folders of several folds; ${path} is none`);
  if (others && isMonai(others.paths))
    return {
      bytes: await convertMonai(await openMonai(others.given)),
      inputs: others.onDisk,
      place,
    };
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new InvalidModel(
      `cannot read the model ${fileMessage(error)}; give a model.safetensors, its folder, a model folder of nnU-Net or a bundle of MONAI`,
    );
  });
  return { bytes, inputs: [file], place: join(dirname(file), basename(file, extname(file))) };
}
