/** `plan`: what a training step would allocate and compute, found without a GPU. */
import { Command, Option } from 'commander';
import type { Precision } from '../../gpu/precision.ts';
import { allAxes, type Size3 } from '../../size.ts';
import { defaultLimits, type Plan, type PlanLimits } from '../../gpu/plan.ts';
import { windowStarts } from '../../infer/window.ts';
import { nnunetPreprocessing } from '../../data/decide.ts';
import type { Fingerprint } from '../../data/fingerprint.ts';
import { InvalidOption } from '../../errors.ts';
import { writeFileAtomically } from '../../files/write.node.ts';
import { assumedBudget } from '../../model/budget.ts';
import { chooseWindow } from '../../infer/choose-window.ts';
import { describeWish, type Planner } from '../../model/wish.ts';
import { completeConfig } from '../../model/complete-config.ts';
import { defaultConfig } from '../../model/config.ts';
import { paddedSize, wholeSize } from '../../model/sizes.ts';
import { nnunetPatch, type PatchDecision } from '../../model/patch.ts';
import { planSlabs } from '../../model/plan.ts';
import { summarise } from '../../model/summary.ts';
import { memoryPicture } from '../../report/report.node.ts';
import { augmentationMargin } from '../../train/augmentation.ts';
import { lossShape } from '../../model/losses.ts';
import { fitStep } from '../../train/memory.ts';
import {
  addDatasetOptions,
  dataFiles,
  openFromArguments,
  type DatasetArguments,
} from '../dataset-options.ts';
import { initFiles, networkFrom, openInit, preparedAs, type InitModel } from '../init-model.ts';
import { outText, type Io } from '../io.ts';
import { checkOutputs } from '../outputs.ts';
import {
  addNetworkOptions,
  anisotropyTip,
  networkEntries,
  networkHelp,
  networkOf,
  type NetworkOptions,
} from '../network-options.ts';
import * as parse from '../parse.ts';
import { configurationHelp } from '../predict-models.ts';
import { nnunetPresets, planned, plannerOf } from '../planned.ts';
import { presetValues } from '../presets.ts';
import { augmentationNames, augmentationOf, lossOf, optimizerOf } from '../recipe.ts';
import { flagOf, toJson } from '../text.ts';
import { fingerprintOf } from '../training-data.ts';

interface Options extends DatasetArguments, NetworkOptions {
  readonly shape?: Size3;
  readonly batchSize?: number;
  readonly classes?: number;
  readonly channels?: number;
  readonly precision: Precision;
  readonly checkpointing?: boolean;
  readonly keepAll?: boolean;
  readonly augment?: (typeof augmentationNames)[number];
  readonly inference?: boolean;
  readonly memory?: number;
  readonly picture?: string;
  readonly limitBinding: number;
  readonly limitBuffer?: number;
  readonly preset?: (typeof nnunetPresets)[number];
  readonly model?: string;
  readonly configuration?: string;
  readonly json?: boolean;
}

export function planCommand(io: Io): Command {
  const command = new Command('plan').description(
    'Show the memory and the work of one training step, without a GPU. Shapes are x,y,z. For a data set also what ' +
      'train --preprocessing nnunet decides, and why.',
  );
  return addNetworkOptions(addDatasetOptions(command), defaultConfig.features)
    .option('--shape <x,y,z>', 'voxels of the input, in place of a data set', parse.size)
    .addOption(
      new Option(
        '--preset <name>',
        "of a data set: the step of train --preset, with network, patch and batch as nnU-Net's planner decides",
      ).choices(nnunetPresets),
    )
    .option(
      '--model <path>',
      'the network of a model, as train --init takes it; --shape is then as it was trained, where that is known',
    )
    .option('--configuration <name>', configurationHelp)
    .option('--batch-size <n>', 'volumes per step; default: 2, or as --preset plans', parse.wholeNumber(1))
    .option(
      '--classes <n>',
      'background included; default 2, or as the data set says',
      parse.wholeNumber(2, 255),
    )
    .option('--channels <n>', 'of the input; default 1, or as the data set says', parse.wholeNumber(1, 1024))
    .addOption(
      new Option('--precision <kind>', 'of the stored volumes').choices(['f32', 'f16']).default('f32'),
    )
    .option(
      '--checkpointing',
      'as little memory as is worth the work: compute activations again instead of keeping them',
    )
    .addOption(
      new Option('--keep-all', 'compute nothing again, to compare with').conflicts([
        'checkpointing',
        'memory',
      ]),
    )
    .addOption(
      new Option('--augment <kind>', 'of batches, on the GPU; default: none, or as --preset trains').choices(
        augmentationNames,
      ),
    )
    .option('--inference', 'plan a prediction instead of a training step')
    .option(
      '--memory <bytes>',
      'what may be used: predictions then go through windows, a step computes activations again until it fits; default: ' +
        'no limit, but 4GiB for the patches that a data set is cut into',
      parse.memory,
    )
    .option('--picture <file.svg>', 'draw the memory over the step')
    .option('--limit-binding <bytes>', 'largest storage binding', parse.bytes, defaultLimits.maxBindingBytes)
    .option('--limit-buffer <bytes>', 'largest buffer; default: none', parse.bytes)
    .option('--json', 'print JSON: peakBytes, largestBindingBytes, tensors, dispatches')
    .addHelpText(
      'after',
      `${networkHelp}

Examples:
  unet3d-gpu plan --shape 256,256,128 --batch-size 2 --features 16,32,64,128 --classes 6
  unet3d-gpu plan --shape 256,256,128 --classes 6 --precision f16 --checkpointing --picture memory.svg
  unet3d-gpu plan --shape 320,320,20 --classes 3 --down conv --strides 2,2,1/2,2,1/2 --kernels 3,3,1/3,3,1/3
  unet3d-gpu plan --shape 512,512,300 --classes 6 --inference --memory 3GiB
  unet3d-gpu plan --shape 128,128,64 --classes 3 --limit-binding 128MiB --json
  unet3d-gpu plan data/liver --memory 6GiB --augment nnunet
  unet3d-gpu plan data/liver --preset nnunet-resenc-m
  unet3d-gpu plan --model Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres --inference`,
    )
    .action(async (folder: string | undefined, options: Options) => {
      const { precision, checkpointing, inference, memory = Infinity } = options;
      const hasData = folder !== undefined || options.images !== undefined;
      const isGiven = (name: string) => command.getOptionValueSource(name) === 'cli';
      const preset = presetValues(options, isGiven);
      const model =
        options.model === undefined
          ? undefined
          : await openInit(options.model, { configuration: options.configuration });
      if (model) assertModelAlone(isGiven);
      else if (options.configuration !== undefined)
        throw new InvalidOption(
          `--configuration ${options.configuration} is one of several in --model: give that, or leave it out`,
        );
      const trained = hasData ? undefined : model?.description.inputSize;
      if (hasData === ((options.shape ?? trained) !== undefined))
        throw new InvalidOption('give either a data set or --shape x,y,z');
      for (const note of model?.notes ?? []) io.err(note);
      const dataset = hasData ? await openFromArguments(io, folder, options) : undefined;
      if (options.picture !== undefined)
        await checkOutputs(
          [{ option: '--picture', paths: [options.picture] }],
          [
            ...(dataset ? dataFiles(dataset, folder, options) : []),
            ...(options.model === undefined ? [] : await initFiles(options.model)),
          ],
        );
      const print = dataset && (await fingerprintOf(io, dataset, dataset.cases));
      const regions = dataset?.regions;
      const labels = options.classes ?? (dataset?.labels.length || 1 + Math.max(1, ...valuesOf(print)));
      const classes = regions?.length ?? labels;
      const inChannels = options.channels ?? print?.intensities.length ?? 1;
      const kept = model?.description.preprocessing;
      const decision =
        print &&
        (kept
          ? nnunetPreprocessing(print, [], kept.spacing ?? null)
          : nnunetPreprocessing(print, dataset.channels));
      const nnunetPlanner = plannerOf(options.preset);
      if (nnunetPlanner && !decision)
        throw new InvalidOption(
          `--preset ${options.preset} plans for a data set: give one in place of --shape`,
        );
      const nnunet =
        nnunetPlanner &&
        decision &&
        planned(print, {
          planner: nnunetPlanner,
          inChannels,
          classes,
          labels: classes + (regions ? 1 : 0) + (dataset?.ignoreLabel === undefined ? 0 : 1),
          spacing: decision.typical.spacing,
          features: isGiven('features') ? options.features : undefined,
        });
      // As `train --init` makes it of the model and the data.
      const theirs =
        model &&
        (hasData ? { ...networkFrom(model, options), inChannels, classes } : model.description.config);
      const config =
        theirs ?? nnunet?.config ?? completeConfig({ inChannels, classes, ...networkOf(options) });
      const batchSize = options.batchSize ?? nnunet?.batchSize ?? 2;
      const limits: PlanLimits = {
        ...defaultLimits,
        maxBindingBytes: options.limitBinding,
        maxBufferBytes: options.limitBuffer ?? Infinity,
      };
      const { augment = 'none', loss = 'dice-ce', optimizer = 'adam' } = { ...options, ...preset };
      const augmentation = augmentationOf(augment, allAxes);
      let planner: Planner = {
        limits,
        loss: lossShape(
          lossOf(loss, {
            ...config,
            regions: hasData ? regions : model?.description.regions,
            batchDice: nnunet?.batchDice,
            ignore: dataset?.ignoreLabel !== undefined,
          }),
          config.classes,
        ),
        optimizer: optimizerOf(optimizer),
        augment: augmentation !== undefined,
        keepAll: options.keepAll,
      };
      const step = { config, batch: batchSize, precision, checkpointing };
      let shape = options.shape ?? trained;
      let decisions: readonly string[] = [];
      if (decision) {
        const { typical, largest, reasons } = decision;
        if (augmentation)
          planner = { ...planner, margin: (size) => augmentationMargin(augmentation, size, largest) };
        const budget = options.memory ?? assumedBudget.hardware;
        const { features, strides, kernels } = options;
        const { patch, reasons: more } =
          nnunet ?? trainedPatch(model) ?? patchOf(nnunetPatch(typical, step, budget, planner));
        const isDecided = nnunet ?? model ?? strides ?? kernels;
        const tip = isDecided ? undefined : anisotropyTip(typical.spacing, typical.shape, features.length);
        const prepared = model && kept ? [preparedAs(model.file, kept)] : reasons;
        decisions = [...prepared, ...(inference ? [] : more), ...(tip ? [tip] : [])];
        shape = inference ? typical.shape : patch;
      }
      const input = shape!;
      const whole = inference
        ? wholeSize(config, input, model?.description.inputSize)
        : paddedSize(config, input);
      const size = inference
        ? chooseWindow(
            { config, whole, trained: model?.description },
            memory,
            { limits, precision },
            'raise --memory',
          )
        : whole;
      const batch = inference ? 1 : batchSize;
      const fitted = inference
        ? undefined
        : fitStep({ ...step, size }, planner, {
            budget: memory,
            allowed: nnunet ? ['checkpointing', 'accumulation', 'patches'] : ['checkpointing'],
            remedy: 'Or let train choose (--concede auto), or raise --memory.',
          });
      const { plan } = fitted?.planned ?? planSlabs({ config, size, batch, limits, precision });
      const recomputed = fitted?.planned.recomputed;
      if (options.picture !== undefined)
        await writeFileAtomically(options.picture, await memoryPicture(plan));
      if (options.json) {
        const request = { config, shape: input, size, batchSize: batch, precision, recomputed };
        return outText(io, toJson(description(plan, dataset ? { ...request, decisions } : request), 2));
      }
      for (const text of decisions) io.out(text);
      if (fitted && (fitted.wish.checkpointing || fitted.taken.length > 0))
        io.out(`This is ${describeWish(fitted.wish, planner)}.`);
      if (size !== whole) {
        const windows = input.map((length, axis) => windowStarts(length, size[axis]!, 0.5).length);
        io.out(
          `The volume goes through ${windows.join(' × ')} windows of ${size.join(',')}, half overlapping.`,
        );
      } else if (options.shape && size.some((length, axis) => length !== input[axis]))
        io.out(`The shape ${input.join(',')} is padded to ${size.join(',')}.`);
      io.out(...summarise(config, plan, { size, batch }).split('\n'));
      if (options.picture !== undefined) io.out(`The memory over the step is drawn in ${options.picture}.`);
    });
}

/** @throws InvalidOption for options that the model decides */
function assertModelAlone(isGiven: (name: string) => boolean): void {
  const own = [...networkEntries, 'deepSupervision', 'classes', 'channels', 'preset'].find(isGiven);
  if (own !== undefined)
    throw new InvalidOption(`${flagOf(own)} is decided by the network of --model: leave one of the two out`);
}

const patchOf = ({ patch, reason }: PatchDecision) => ({ patch, reasons: [reason] });

/** Of a model that says what patches it was trained on. */
const trainedPatch = (model: InitModel | undefined) =>
  model?.patch && {
    patch: model.patch,
    reasons: [`Patches are of ${model.patch.join(' x ')} voxels, as ${model.file} was trained on.`],
  };

/** Label values of a data set but those that mean "leave out". */
const valuesOf = (print: Fingerprint | undefined): number[] =>
  (print?.classes ?? []).map(({ value }) => value).filter((value) => Number.isInteger(value) && value < 255);

/** The plan as JSON; bindings by name with their tensor, offset and bytes. */
function description(plan: Plan, request: Record<string, unknown>) {
  const { peakBytes, largestBindingBytes, paramBytes, flops, buffers, tensors, dispatches } = plan;
  return {
    ...request,
    peakBytes,
    largestBindingBytes,
    paramBytes,
    flops,
    buffers,
    tensors,
    dispatches: dispatches.map(({ bindings, ...dispatch }) => ({
      ...dispatch,
      bindings: Object.fromEntries(
        Object.entries(bindings).map(([name, { tensor, offset, size }]) => [
          name,
          { tensor: tensor.name, offset, size },
        ]),
      ),
    })),
  };
}
