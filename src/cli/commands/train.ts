/** `train`: options of a training, with defaults that work on an unseen data set. */
import { Command, InvalidArgumentError, Option } from 'commander';
import type { Axis, Size3 } from '../../size.ts';
import { leads } from '../../distributed/ranks.ts';
import { InvalidOption } from '../../errors.ts';
import { concessions } from '../../model/concessions.ts';
import { addDatasetOptions, addSplitOptions, datasetHelp } from '../dataset-options.ts';
import { addGpuOptions } from '../gpu.ts';
import type { Io } from '../io.ts';
import { addNetworkOptions, networkHelp, trainFeatures } from '../network-options.ts';
import * as parse from '../parse.ts';
import { configurationHelp } from '../predict-models.ts';
import { presetHelp } from '../presets.ts';
import {
  augmentationNames,
  lossNames,
  optimizerNames,
  preprocessingNames,
  scheduleNames,
} from '../recipe.ts';
import { together } from '../ranks.ts';
import { RunFolder } from '../run-folder.ts';
import { presetNames, type TrainOptions } from '../train-options.ts';
import { startTraining } from '../train-start.ts';
import { trainFolds, trainFoldOfTask } from '../train-folds.ts';

const spacingOrWord = (text: string): Size3 | 'median' | 'own' =>
  text === 'median' || text === 'own' ? text : parse.spacing(text);
const patchOrWhole = (text: string): Size3 | 'whole' => (text === 'whole' ? text : parse.size(text));

const axesOrNone = (text: string): readonly Axis[] | 'none' =>
  text === 'none' ? text : parse.mirrorAxes(text);

/** What people look for who have several. */
const severalGpus = (): never => {
  throw new InvalidArgumentError(
    'each GPU is used by a process of its own, which MPI starts: mpirun -np N unet3d-gpu train …',
  );
};

type Given = Omit<TrainOptions, 'fold'> & { readonly fold?: NonNullable<TrainOptions['fold']> | 'auto' };

const foldOption = (): Option =>
  new Option(
    '--fold <k/n>',
    'fold k of n for validation, the rest for training, no test part; auto: of --folds all, that of a task of Slurm',
  ).argParser((text) => (text === 'auto' ? text : parse.fold(text)));

export function trainCommand(io: Io): Command {
  const command = new Command('train').description(
    'Train a 3D U-Net on NIfTI images and labels, test it, and write everything into one folder.',
  );
  addSplitOptions(addNetworkOptions(addDatasetOptions(command), trainFeatures), foldOption())
    .requiredOption('--out <folder>', 'where the model, checkpoint, tables and pictures go')
    .addOption(
      new Option('--preset <name>', 'a recipe as the default of other options, see below').choices(
        presetNames,
      ),
    )
    .option(
      '--init <model>',
      'go on from the weights of this model: a model.safetensors, its folder, a .pth, or a folder or zip of nnU-Net or MONAI',
    )
    .option('--configuration <name>', configurationHelp)
    .option(
      '--init-fold <name>',
      'of several folds in --init, which one; default: for each of --folds that of its number, else the first',
    )
    .addOption(
      new Option(
        '--init-heads <how>',
        'of --init; auto, the default, keeps them where classes are the same',
      ).choices(['auto', 'keep', 'new']),
    )
    .addOption(
      new Option('--freeze <part>', 'of --init, whose weights then stay as they are').choices(['encoder']),
    )
    .addOption(
      new Option(
        '--initial-weights <kind>',
        "of new weights: pytorch, as its layers draw them; he, as nnU-Net: normal for leaky ReLU, biases 0, residual blocks' last norms 0",
      )
        .choices(['pytorch', 'he'])
        .default('pytorch'),
    )
    .option(
      '--folds <list>',
      'all, or some such as 0,3, of five-fold cross-validation, one after another into --out; see below',
      parse.folds,
    )
    .addOption(
      new Option(
        '--decide-from <cases>',
        'what preprocessing and planner look at: the training cases, or as nnU-Net those of validation too; default: train, with --folds all',
      ).choices(['train', 'all']),
    )
    .option('--epochs <n>', 'default: about 600 steps, from 8 to 200 epochs', parse.wholeNumber(1))
    .option(
      '--batch-size <n>',
      'volumes or patches per step; default: 2, or as a preset plans',
      parse.wholeNumber(1),
    )
    .option('--steps-per-epoch <n>', 'default: as many as show each case once', parse.wholeNumber(1))
    .addOption(
      new Option('--order <how>', 'each case once per pass, or cases drawn at random again and again')
        .choices(['passes', 'draws'])
        .default('passes'),
    )
    .option('--classes <n>', 'background included; default: as the data set says', parse.wholeNumber(2, 255))
    .option('--class-names <list>', 'background first; default: as the data set says', parse.names)
    .addOption(
      new Option(
        '--preprocessing <how>',
        "plain: z-score per volume; nnunet: crop, normalisation, --spacing and --patch from the data, by nnU-Net's rules; model: as --init was trained, its default",
      )
        .choices(preprocessingNames)
        .default('plain'),
    )
    .option('--patch <x,y,z>', 'or "whole"; default: whole volumes, or what --concede allows', patchOrWhole)
    .addOption(
      new Option(
        '--placement <where>',
        'of training patches in larger volumes; centre always trims to the middle',
      )
        .choices(['random', 'centre'])
        .default('random'),
    )
    .addOption(
      new Option('--oversample <share>', 'of random patches that lie around foreground')
        .argParser(parse.share)
        .default(1 / 3, '1/3'),
    )
    .addOption(
      new Option(
        '--oversampling <which>',
        'each patch by chance lies around foreground, or the last places of each step do',
      )
        .choices(['chance', 'places'])
        .default('chance'),
    )
    .option(
      '--spacing <mm>',
      'x,y,z in mm, "median" of the training cases (default), or "own"',
      spacingOrWord,
    )
    .addOption(
      new Option('--augment <kind>', 'of training batches, on the GPU')
        .choices(augmentationNames)
        .default('none'),
    )
    .option(
      '--mirror <list>',
      'axes that --augment mirrors, or "none"; default: x,y,z, or y,z where names of classes tell left from right',
      axesOrNone,
    )
    .addOption(new Option('--loss <name>').choices(lossNames).default('dice-ce'))
    .option('--class-weights <list>', 'one per class, background first; default: equal', parse.weights)
    .addOption(new Option('--optimizer <name>').choices(optimizerNames).default('adam'))
    .addOption(
      new Option('--schedule <name>', 'of the learning rate; onecycle-plain keeps the momentum fixed')
        .choices(scheduleNames)
        .default('onecycle'),
    )
    .option('--learning-rate <x>', 'largest of the schedule', parse.numberFrom(0, true), 0.01)
    .option('--pct-start <share>', "onecycle's share of steps in which it rises; default 0.3", parse.share)
    .option(
      '--div-factor <x>',
      'onecycle starts at --learning-rate / x; default 25',
      parse.numberFrom(0, true),
    )
    .option(
      '--final-div-factor <x>',
      'onecycle ends at its start / x; default 10000',
      parse.numberFrom(0, true),
    )
    .option('--clip <norm>', 'largest global norm of the gradient; default: none', parse.numberFrom(0, true))
    .option('--ema <decay>', 'validate and keep averaged weights, such as 0.999', parse.decay)
    .option('--early-stopping <n>', 'stop after n epochs without a better Dice', parse.wholeNumber(1))
    .addOption(
      new Option('--on-not-finite <what>', 'after a step with NaN: stop, or skip up to 10 in a row')
        .choices(['stop', 'skip'])
        .default('stop'),
    )
    .option(
      '--seed <n>',
      'of split (but not that of --folds), weights, order and patches',
      parse.wholeNumber(0),
      0,
    )
    .option(
      '--memory <bytes>',
      'GPU memory a step may take; default: most of what the GPU tells, else 4 GiB, on software adapters 8 GiB',
      parse.memory,
    )
    .addOption(
      new Option('--precision <kind>', 'in which volumes are stored on the GPU')
        .choices(['f32', 'f16'])
        .default('f32'),
    )
    .option(
      '--checkpointing',
      'as little memory as is worth the work: compute activations again instead of keeping them',
    )
    .option('--accumulate <n>', 'batches whose gradients are averaged for a step', parse.wholeNumber(1), 1)
    .option(
      '--concede <list>',
      `what may be given up for --memory: auto, none, or any of ${concessions.join(', ')}, taken in this order`,
      parse.concessions,
      ['checkpointing', 'patches'],
    )
    .option(
      '--tta',
      'test with mirror test-time augmentation: the mean over flips along the axes that training mirrored, else all, but x where names of classes tell left from right',
    )
    .option(
      '--no-postprocess',
      'keep small components; by default a class keeps its largest only where that helps on validation',
    )
    .option(
      '--tune',
      'measure, once for an adapter, which kernels are fastest; on by default but for software',
    )
    .option('--no-tune', 'keep the default kernels');
  addGpuOptions(command)
    .option('--cache <bytes>', 'of prepared volumes to keep in main memory', parse.bytes, 2 * 2 ** 30)
    .option('--allow-duplicates', 'allow the same volume in two parts of the split')
    .addOption(
      new Option('--resume', 'go on from the checkpoint in --out, with its options').conflicts('overwrite'),
    )
    .addOption(
      new Option(
        '--continue',
        'go on with the training of this same command line in --out, or begin it; one that is done stays as it is',
      ).conflicts(['resume', 'overwrite']),
    )
    .option('--overwrite', 'start anew in a folder that holds a training')
    .addOption(new Option('--devices <n>').hideHelp().argParser(severalGpus))
    .addOption(new Option('--gpus <n>').hideHelp().argParser(severalGpus))
    .option('--dry-run', 'read the data, print the plan, draw the first batch and its augmentation, and stop')
    .option(
      '--json',
      'print JSON lines: events of the training, then the result (with --dry-run, the plan); epochs and steps count from 0',
    )
    .addHelpText(
      'after',
      `${datasetHelp}
${networkHelp}
${presetHelp}

--init MODEL goes on from a model: its network (its options need not be given again) and its way of preparing cases are
kept, and its heads where it has the same classes; --freeze encoder trains the decoder and the heads alone. Of nnU-Net's
models, crop, normalisation, spacing and patch are kept; a bundle of MONAI does not tell how its cases were prepared.
Where the split.json beside MODEL says that it was trained on cases that are now validated or tested, a warning does.

--folds all trains five networks, each without a fifth of the cases: as splits_final.json of DATASET (or --split FILE)
says, else divided as nnU-Net does, subjects kept together. Each has a folder, fold_0 to fold_4, which predict takes
together as an ensemble (predict OUT scan.nii.gz). cross-validation.csv and report.html score every case by the network
that has not seen it; from these predictions the post-processing of the ensemble is chosen. With --init, each goes on
from the fold of its number in MODEL, where that has several. --resume leaves out folds that are done; --folds 1 with
--continue adds a fold to those that --folds 0 has begun. --fold auto trains one of them, which the number of a task in a job array of Slurm says (sbatch --array=0-4): the tasks write into
one --out, at once or one after another, and the last makes the cross-validation.

Several GPUs: mpirun -np 4 unet3d-gpu train … (or srun) starts a process for each. They share the batches of each step:
--batch-size is divided among them, or the batches of --accumulate are. Losses are those of as many parts of a batch
in one process (--accumulate): the mean of each part's.

Training on patches, each epoch validates larger cases through windows of the patch's size: all that cover a case side
by side, or, of more than eight, the same eight each time, which hold every class. The test covers whole volumes.

Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 save a checkpoint and leave with 130, 143, 129 and 138; --resume goes on as if
nothing had happened, and so does the same command line with --continue, which can be run until it is done. A closed terminal sends SIGHUP, which nohup does not keep from Node: setsid or tmux do. That nobody reads what
is printed (--json | head -1) does not end a training. Two trainings cannot have one --out: the second is refused
while the first runs.

Examples:
  unet3d-gpu train data/hippocampus --out runs/hippocampus
  unet3d-gpu train data/liver --out runs/liver --preprocessing nnunet --augment nnunet --memory 6GiB --dry-run
  unet3d-gpu train data/prostate --out runs/prostate --strides 2,2,1/2 --kernels 3,3,1/3 --block residual --down conv
  unet3d-gpu train data/pelvis --out runs/pelvis --preset pelvis-mr --epochs 100
  unet3d-gpu train --images scans --labels masks --out runs/fold1 --fold 1/5
  unet3d-gpu train data/hippocampus --out runs/folds --folds all
  unet3d-gpu train data/hippocampus --out runs/folds --fold auto
  unet3d-gpu train data/new --out runs/tuned --init runs/1 --freeze encoder --learning-rate 0.001
  unet3d-gpu train --out runs/hippocampus --resume`,
    )
    .action(async (dataset: string | undefined, { fold, ...others }: Given) => {
      const isGiven = (name: string) => command.getOptionValueSource(name) === 'cli';
      await together(io, async (own, ranks) => {
        const start = { io: own, dataset, command, isGiven, ranks };
        if (fold === 'auto') return await trainFoldOfTask(start, others);
        const given = { ...others, ...(fold && { fold }) };
        if (fold && isGiven('split'))
          throw new InvalidOption(
            `--fold ${fold.fold + 1}/${fold.folds} and --split ${others.split} are two ways to divide the cases: leave one out, or train the folds that a file tells by --folds`,
          );
        using folder = leads(ranks) ? await RunFolder.open(given.out, own) : RunFolder.lookAt(given.out, own);
        const goesOn = given.resume ? folder.isOfFolds : given.continue && folder.holdsFolds;
        if (given.folds !== undefined || goesOn) return await trainFolds(start, folder, given);
        await startTraining(start, folder, given);
      });
    });
  return command;
}
