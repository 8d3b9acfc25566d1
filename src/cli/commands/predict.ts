/** `predict`: segments files or folders of files with a trained model, onto each file's own grid. */
import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { bothOfPair } from '../../data/source.ts';
import {
  Aborted,
  InvalidDataset,
  InvalidOption,
  InvalidVolume,
  NotFinite,
  OutOfMemory,
  UNet3DError,
} from '../../errors.ts';
import { assertUnlocked } from '../../files/lock.node.ts';
import { failureOf, Unsatisfactory } from '../failure.ts';
import { addGpuOptions, announceAdapter } from '../gpu.ts';
import type { Io } from '../io.ts';
import { checkOutputs } from '../outputs.ts';
import * as parse from '../parse.ts';
import type { FoundModel, PredictOptions } from '../found-model.ts';
import { jobsOf, previousStages, type Job } from '../predict-jobs.ts';
import { configurationHelp, findModel } from '../predict-models.ts';
import { isMade, ModelFiles, recordName, ResultsFolder, shareOf, SteadyFiles } from '../results-there.ts';
import { predictionsName } from '../run-folder.ts';
import { shardOfTask, type Shard } from '../slurm.ts';
import { duration, formatBytes } from '../../format.ts';
import { bar, toJson } from '../text.ts';
import { annotateNext, uncertaintyFile, uncertaintyPath } from '../uncertainty.ts';
import { zooms } from '../../interop/totalsegmentator.ts';
import { some } from '../../listed.ts';

interface Options extends PredictOptions {
  readonly out: string;
  readonly shard?: Shard | 'auto';
  readonly continue?: boolean;
  readonly overwrite?: boolean;
  readonly json?: boolean;
}

/** Options that results do not depend on. */
const notOfResults = ['out', 'memory', 'shard', 'continue', 'overwrite', 'json'];

/** Windows of a volume from which on their number is shown. */
const manyWindows = 8;

/** Bytes beside the GPU from which on they are told. */
const manyBytes = 2 ** 30;

export function predictCommand(io: Io): Command {
  const command = new Command('predict')
    .description("Segment NIfTI volumes; results lie on each volume's own grid.")
    .argument(
      '<MODEL>',
      'model.safetensors, the folder of a training, or a model folder of nnU-Net, a bundle of MONAI, or the zip of either',
    )
    .argument(
      '<INPUT...>',
      'files or folders, with those below; channels of one volume as NAME_0000, NAME_0001, one 4-D file, or a folder per case',
    )
    .requiredOption(
      '--out <file|folder>',
      'a .nii or .nii.gz for one input, else a folder of files named as their cases (CASE for CASE_0000)',
    )
    .addOption(
      new Option('--output <kind>', 'what to write; logits lie on the grid of the network')
        .choices(['labels', 'probabilities', 'logits'])
        .default('labels'),
    )
    .option(
      '--uncertainty',
      'own models: also write CASE_uncertainty.nii.gz, from 0 to 1 per voxel, and tell which cases to annotate next, and where',
    )
    .option(
      '--overlap <share>',
      'own models: of neighbouring windows, for volumes that need several',
      parse.overlap,
      0.5,
    )
    .option(
      '--window <x,y,z>',
      'own models: size of the windows; default: of the patches trained on, or as large as memory allows',
      parse.size,
    )
    .option(
      '--tta',
      'own models: mirror test-time augmentation, the mean probability over flips along the axes that training mirrored; of a model that does not say, all three, or y and z where names of classes tell left from right',
    )
    .option(
      '--mirror-axes <list>',
      'own models: in place of these, some of x,y,z (right, front, up)',
      parse.mirrorAxes,
    )
    .option('--no-postprocess', 'own models: labels without the cleaning that validation chose for the model')
    .option(
      '--memory <bytes>',
      'GPU memory a volume or window may take; default: most of what the GPU tells, else 4 GiB, on software adapters 8 GiB',
      parse.memory,
    )
    .addOption(
      new Option(
        '--precision <kind>',
        'in which volumes are stored on the GPU: f16 takes half the memory, and a few labels may differ',
      ).choices(['f32', 'f16']),
    );
  return addGpuOptions(command)
    .option(
      '--folds <list>',
      'those averaged, such as 0,1; all: every fold of train --folds, of nnU-Net its fold_all; default: all numbered ones',
      parse.list,
    )
    .option('--configuration <name>', configurationHelp)
    .option('--checkpoint <file>', 'nnU-Net: of each fold (default: checkpoint_final.pth)')
    .option('--step <share>', 'nnU-Net: of a window, from one to the next (default: 0.5)', parse.step)
    .option('--no-mirror', 'nnU-Net: without averaging over the mirrorings that the model allows')
    .option(
      '--previous-stage <file|folder>',
      "nnU-Net: labels of a cascade's first network, as CASE.nii.gz; default: it makes them, if its folder lies beside MODEL",
    )
    .addOption(
      new Option(
        '--pipeline <name>',
        'what to do around nnU-Net; MODEL is then a folder of one network or of all parts of a task',
      ).choices(['totalsegmentator']),
    )
    .addOption(
      new Option(
        '--zoom <how>',
        "of --pipeline, to the networks' spacing: linear as its present source has it, cubic as its releases from 2.8 on, such as 2.12, or none, for nnU-Net to resample; default: linear, but none for the tasks that it has that for",
      ).choices(zooms),
    )
    .option(
      '--shard <k/n>',
      'share k, counted from 1, of n equal ones that run by themselves; auto: the place in an array of Slurm',
      parse.shard,
    )
    .option('--continue', 'leave out volumes whose results are there; --shard does, too')
    .option('--overwrite', 'of --continue and --shard: take away results of another model or other options')
    .option('--json', 'print one JSON line per volume')
    .addHelpText(
      'after',
      `
Own models are those of this package (model.safetensors and folds of train);
models of nnU-Net and MONAI keep their own rules and refuse what is for own
models, as these refuse what is for nnU-Net's.

That nobody reads what is printed (--json | head -1) does not keep the rest
from being segmented.

--shard 3/40 segments every 40th volume by name; the others are left to other
processes, at once or later, here or on other machines. A result appears whole
or not at all, so a share that was stopped or killed goes on when it is run
again. ${recordName} in --out says by which model, options and images: with
others, the command refuses to go on there.

Examples:
  unet3d-gpu predict runs/1/model.safetensors image.nii.gz --out labels.nii.gz
  unet3d-gpu predict runs/1 data/imagesTs --out predictions --tta
  unet3d-gpu predict runs/1 data/unlabelled --out proposals --uncertainty
  unet3d-gpu predict runs/folds scans --out predictions --shard 3/40
  unet3d-gpu predict runs/1 image.nii.gz --output probabilities --out probabilities.nii.gz
  unet3d-gpu predict Dataset003_Liver/nnUNetTrainer__nnUNetPlans__3d_fullres ct.nii.gz --out labels.nii.gz
  unet3d-gpu predict total_3mm ct.nii.gz --pipeline totalsegmentator --out labels.nii.gz`,
    )
    .action((model: string, inputs: string[], options: Options, command: Command) => {
      const given = Object.keys(options).filter((name) => command.getOptionValueSource(name) === 'cli');
      return predict(io, model, inputs, options, given);
    });
}

async function predict(
  io: Io,
  modelPath: string,
  inputs: readonly string[],
  options: Options,
  given: readonly string[],
): Promise<void> {
  const found = await findModel(modelPath, options, given);
  const all = await jobsOf(io, inputs, options.out, found);
  const earlier = await previousStages(options.previousStage, all);
  await checkOutputs(
    [
      {
        option: '--out',
        paths: all.flatMap(({ target }) =>
          options.uncertainty ? [target, uncertaintyPath(target)] : [target],
        ),
      },
    ],
    [...found.files, ...all.flatMap(({ files }) => files), ...earlier.values()],
  );
  // A training reads back what it has written there.
  for (const folder of new Set(all.map(({ target }) => resolve(dirname(target))))) {
    if (!goesOn(options)) assertUnlocked(folder); // which waits for other shares below
    if (basename(folder) === predictionsName) assertUnlocked(dirname(folder));
  }

  const { results, parts } = await resultsFolder(io, found, inputs, options, all);
  /** What its result is made from. */
  const sourcesOf = (job: Job): readonly string[] =>
    [...job.files, ...(earlier.has(job) ? [earlier.get(job)!] : [])].flatMap((file) =>
      bothOfPair(file).filter((half) => half === file || existsSync(half)),
    );
  // What is older than the record is of another making, left there when its image was not among the inputs.
  const isDone = (job: Job): Promise<boolean> =>
    isMade(job.target, [...sourcesOf(job), join(dirname(job.target), recordName)]);
  const jobs = goesOn(options) ? await jobsLeft(io, all, options, isDone) : all;
  if (jobs.length === 0) return;

  await announceAdapter(io, options);
  if (found.notes.length > 0) io.err(...found.notes);
  const model = await found.open();
  const failed: string[] = [];
  const unsure: Parameters<typeof annotateNext>[0][number][] = [];
  const { window } = model;
  let isTold = false;
  let most = manyBytes;
  try {
    for (const [index, job] of jobs.entries()) {
      if (io.signal.aborted)
        throw new Aborted(`prediction was stopped after ${index} of ${jobs.length} volumes`);
      if (goesOn(options) && (await isDone(job))) continue; // by another process meanwhile
      const { files, target } = job;
      const started = performance.now();
      const sources = await SteadyFiles.of(sourcesOf(job));
      const assertUnchanged = async (): Promise<void> => {
        await parts?.assertSame(); // whose weights may be read anew for each volume
        const changed = await sources.changed();
        if (changed !== undefined)
          throw new InvalidVolume(`${changed} was replaced while it was worked with: run the command again`);
      };
      const name = basename(files[0]!);
      try {
        const memory = await model.memoryOf?.(files);
        if (memory && memory.bytes > most) {
          most = memory.bytes;
          const parts = memory.text ? `: ${memory.text}` : '';
          io.err(`${name} takes ${formatBytes(most)} at most beside the GPU${parts}.`);
        }
        const segmentation = await model.predict(files, {
          signal: io.signal,
          previousStage: earlier.get(job),
          onProgress: ({ loaded, total }) => {
            if (loaded === 1 && total > manyWindows && !isTold) {
              isTold = true;
              const windows = window
                ? `goes through ${total} windows of ${window.join(' x ')} voxels`
                : 'goes through many windows';
              io.err(`${name} ${windows}.`);
            }
            if (io.isTerminal) io.status(`${name} ${bar(loaded / total)} window ${loaded}/${total}`);
          },
        });
        const labels = { path: target, bytes: await segmentation.toNifti({ gzip: /\.gz$/i.test(target) }) };
        const unsureOf =
          segmentation.uncertainty && (await uncertaintyFile(segmentation.uncertainty, target));
        // Labels last: a result that is there is taken for whole.
        const made = unsureOf ? [unsureOf.file, labels] : [labels];
        await results.write(made, assertUnchanged);
        const uncertainty = unsureOf?.told;
        if (uncertainty) unsure.push({ name: job.name, ...uncertainty });
        for (const warning of segmentation.warnings) io.err(`warning: ${warning}`);
        const seconds = (performance.now() - started) / 1000;
        const told = { input: files, output: target, kind: options.output, seconds };
        if (options.json) io.out(toJson(uncertainty ? { ...told, uncertainty } : told));
        else io.out(`${index + 1}/${jobs.length}  ${name} -> ${target}  ${duration(seconds)}`);
      } catch (error) {
        // One bad file of many does not keep the others from being segmented.
        if (!(error instanceof UNet3DError) || error instanceof Aborted || jobs.length === 1) throw error;
        const isOfVolume = ofVolume.some((kind) => error instanceof kind);
        if (!isOfVolume) throw error;
        failed.push(job.name);
        // Too little memory does not tell for what.
        const { message: said } = failureOf(error);
        const message = files.some((file) => said.includes(basename(file))) ? said : `${name}: ${said}`;
        if (options.json) io.out(toJson({ input: files, error: message }));
        io.err(`error: ${message}`);
      }
    }
  } finally {
    model.dispose();
  }
  if (unsure.length > 0 && !options.json) {
    if (unsure.length < all.length)
      io.out('', `Of the ${unsure.length} of ${all.length} volumes segmented now:`);
    io.out('', ...annotateNext(unsure));
  }
  if (failed.length > 0)
    throw new Unsatisfactory(
      `${failed.length} of ${jobs.length} volumes could not be segmented: ${some(failed)}`,
    );
}

/** Errors that another volume may not have. */
const ofVolume = [InvalidVolume, InvalidDataset, InvalidOption, NotFinite, OutOfMemory];

/** Whether results that are there stay. */
const goesOn = (options: Options): boolean => options.continue === true || options.shard !== undefined;

/**
 * The folder of the results, and the model's files where these are kept together with what they are made by.
 * @throws InvalidOption if they are made otherwise
 */
async function resultsFolder(
  io: Io,
  { files, parts = files }: FoundModel,
  inputs: readonly string[],
  options: Options,
  jobs: readonly Job[],
): Promise<{ results: ResultsFolder; parts?: ModelFiles }> {
  const targets = jobs.map(({ target }) => target);
  const folder = dirname(targets[0]!);
  if (!goesOn(options) && !existsSync(join(folder, recordName)))
    return { results: ResultsFolder.unrecorded(folder) };
  if (goesOn(options) && targets[0] === options.out)
    throw new InvalidOption('--shard and --continue are of a folder of results: give one with --out');
  const made = Object.fromEntries(Object.entries(options).filter(([name]) => !notOfResults.includes(name)));
  if (options.previousStage !== undefined) made['previousStage'] = resolve(options.previousStage);
  const model = await ModelFiles.read(parts);
  const all = targets.flatMap((target) => [target, uncertaintyPath(target)]);
  const results = await ResultsFolder.open(folder, { model, options: made, inputs }, all, {
    overwrite: options.overwrite ?? false,
    signal: io.signal,
  });
  return { results, parts: model };
}

/** Those of this process's share whose results are not there. */
async function jobsLeft(
  io: Io,
  all: readonly Job[],
  { shard }: Options,
  isDone: (job: Job) => Promise<boolean>,
): Promise<Job[]> {
  const wanted = shard === 'auto' ? shardOfTask() : (shard ?? { shard: 1, shards: 1 });
  const share = shareOf(all, wanted);
  const left: Job[] = [];
  for (const job of share) if (!(await isDone(job))) left.push(job);
  const there = share.length - left.length;
  const which = shard === undefined ? '' : `Share ${wanted.shard} of ${wanted.shards}: `;
  io.err(
    `${which}${share.length} of ${all.length} volume(s)${there > 0 ? `, of which ${there} are there already` : ''}.`,
  );
  return left;
}
