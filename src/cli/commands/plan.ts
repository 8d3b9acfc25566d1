/** `plan`: what a training step would allocate and compute, told without a GPU. */
import { writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import type { Plan, PlanLimits, Precision, Size3 } from '../../gpu/plan.ts';
import { defaultLimits } from '../../gpu/plan.ts';
import { windowStarts } from '../../infer/window.ts';
import { assertFits, chooseWindow } from '../../model/budget.ts';
import { completeConfig, defaultConfig, paddedSize } from '../../model/config.ts';
import { planInference, planTraining } from '../../model/plan.ts';
import { summarise } from '../../model/summary.ts';
import type { NormKind } from '../../ops/norm.ts';
import { memoryPicture } from '../../report/report.node.ts';
import { lossShape, weightedDice } from '../../train/losses.ts';
import { adam } from '../../train/optimizers.ts';
import type { Io } from '../io.ts';
import * as parse from '../parse.ts';
import { toJson } from '../text.ts';

interface Options {
  readonly shape: Size3;
  readonly batchSize: number;
  readonly features: readonly number[];
  readonly classes: number;
  readonly channels: number;
  readonly norm: NormKind;
  readonly precision: Precision;
  readonly checkpointing?: boolean;
  readonly inference?: boolean;
  readonly memory?: number;
  readonly picture?: string;
  readonly limitBinding: number;
  readonly limitBuffer?: number;
  readonly json?: boolean;
}

export function planCommand(io: Io): Command {
  return new Command('plan')
    .description('Show the memory and the work of one training step, without a GPU. Shapes are x,y,z.')
    .requiredOption('--shape <x,y,z>', 'voxels of the input', parse.size)
    .option('--batch-size <n>', 'volumes per step', parse.wholeNumber(1), 2)
    .option('--features <list>', 'channels per level', parse.features, [...defaultConfig.features])
    .option('--classes <n>', 'classes, background included', parse.wholeNumber(2, 255), 2)
    .option('--channels <n>', 'channels of the input', parse.wholeNumber(1, 1024), 1)
    .addOption(new Option('--norm <kind>').choices(['batch', 'instance']).default('instance'))
    .addOption(
      new Option('--precision <kind>', 'of the stored volumes').choices(['f32', 'f16']).default('f32'),
    )
    .option('--checkpointing', 'compute activations twice instead of keeping them')
    .option('--inference', 'plan a prediction instead of a training step')
    .option(
      '--memory <bytes>',
      'what may be used: predictions then go through windows, a step must fit',
      parse.bytes,
    )
    .option('--picture <file.svg>', 'draw the memory over the step')
    .option('--limit-binding <bytes>', 'largest storage binding', parse.bytes, defaultLimits.maxBindingBytes)
    .option('--limit-buffer <bytes>', 'largest buffer; default: none')
    .option('--json', 'print JSON: peakBytes, largestBindingBytes, tensors, dispatches')
    .addHelpText(
      'after',
      `
Examples:
  unet3d-gpu plan --shape 256,256,128 --batch-size 2 --features 16,32,64,128 --classes 6
  unet3d-gpu plan --shape 256,256,128 --classes 6 --precision f16 --checkpointing --picture memory.svg
  unet3d-gpu plan --shape 512,512,300 --classes 6 --inference --memory 3GiB
  unet3d-gpu plan --shape 128,128,64 --classes 3 --limit-binding 128MiB --json`,
    )
    .action(async (options: Options & { limitBuffer?: string }) => {
      const { shape, batchSize, features, classes, channels: inChannels, norm } = options;
      const config = completeConfig({ inChannels, classes, features, norm });
      const whole = paddedSize(config, shape);
      const limits: PlanLimits = {
        ...defaultLimits,
        maxBindingBytes: options.limitBinding,
        maxBufferBytes: options.limitBuffer === undefined ? Infinity : parse.bytes(options.limitBuffer),
      };
      const { precision, checkpointing, inference, memory = Infinity } = options;
      const size = inference ? chooseWindow({ config, whole }, memory, { limits, precision }) : whole;
      const batch = inference ? 1 : batchSize;
      const common = { config, size, batch, limits, precision };
      const planner = { limits, loss: lossShape(weightedDice(), classes), optimizer: adam() };
      if (!inference) assertFits({ ...common, checkpointing }, memory, planner);
      const { plan } = inference
        ? planInference(common)
        : planTraining({ ...common, ...planner, checkpointing });
      if (options.picture !== undefined) await writeFile(options.picture, await memoryPicture(plan));
      if (options.json) {
        io.out(toJson(description(plan, { config, shape, size, batchSize: batch, precision }), 2));
        return;
      }
      if (size !== whole) {
        const windows = shape.map((length, axis) => windowStarts(length, size[axis]!, 0.5).length);
        io.out(
          `The volume goes through ${windows.join(' × ')} windows of ${size.join(',')}, half overlapping.`,
        );
      } else if (size.some((length, axis) => length !== shape[axis]))
        io.out(`The shape ${shape.join(',')} is padded to ${size.join(',')}.`);
      io.out(summarise(config, plan, { size, batch }));
      if (options.picture !== undefined) io.out(`The memory over the step is drawn in ${options.picture}.`);
    });
}

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
