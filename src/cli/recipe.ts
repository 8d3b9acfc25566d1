/** From options to a loss, an optimiser, a schedule and sizes, with defaults that serve an unseen data set. */
import type { PlanLimits, Size3 } from '../gpu/plan.ts';
import { OutOfMemory } from '../errors.ts';
import { commonShape } from '../data/patches.ts';
import { sizeMultiple, type UNet3DConfig } from '../model/config.ts';
import { planTraining } from '../model/plan.ts';
import { crossEntropy, diceCrossEntropy, lossShape, weightedDice, type Loss } from '../train/losses.ts';
import { adam, adamW, sgd, type Optimizer } from '../train/optimizers.ts';
import { constant, cosine, oneCycle, poly, type Schedule } from '../train/schedules.ts';

export const lossNames = ['dice-ce', 'dice', 'ce'] as const;
export const optimizerNames = ['adam', 'adamw', 'sgd'] as const;
export const scheduleNames = ['onecycle', 'poly', 'cosine', 'constant'] as const;

export function lossOf(name: (typeof lossNames)[number], weights?: readonly number[]): Loss {
  if (name === 'ce') return crossEntropy(weights);
  if (name === 'dice') return weightedDice(weights);
  return diceCrossEntropy(weights ? { diceWeights: weights, entropyWeights: weights } : {});
}

export function optimizerOf(name: (typeof optimizerNames)[number]): Optimizer {
  return { adam, adamw: adamW, sgd }[name]();
}

export function scheduleOf(name: (typeof scheduleNames)[number], learningRate: number): Schedule {
  if (name === 'onecycle') return oneCycle({ maxLearningRate: learningRate });
  return { poly, cosine, constant }[name]({ learningRate });
}

/** Steps that a training should have at least, where the number of epochs is not given. */
const wantedSteps = 600;

/** Epochs for a data set: about 600 steps, no fewer than 8 epochs and no more than 200. */
export function defaultEpochs(cases: number, batchSize: number): number {
  const steps = Math.max(1, Math.ceil(cases / batchSize));
  return Math.min(200, Math.max(8, Math.round(wantedSteps / steps)));
}

/**
 * The patch to train on: undefined where whole volumes fit the memory, else the largest box with the volumes'
 * proportions that does.
 * @throws OutOfMemory if not even the smallest does
 */
export function choosePatch(
  config: UNet3DConfig,
  shapes: readonly Size3[],
  batch: number,
  options: {
    readonly loss: Loss;
    readonly optimizer: Optimizer;
    readonly limits: PlanLimits;
    readonly memory: number;
  },
): Size3 | undefined {
  const multiple = sizeMultiple(config);
  const whole = commonShape(shapes, multiple);
  const { loss, optimizer, limits, memory } = options;
  let least = 0;
  const fits = (size: Size3): boolean => {
    try {
      const { plan } = planTraining({
        config,
        size,
        batch,
        limits,
        loss: lossShape(loss, config.classes),
        optimizer,
      });
      least = plan.peakBytes;
      return plan.peakBytes <= memory;
    } catch (error) {
      if (error instanceof OutOfMemory) return false;
      throw error;
    }
  };
  const size = [...whole] as [number, number, number];
  while (!fits(size)) {
    const longest = size.indexOf(Math.max(...size));
    if (size[longest]! <= multiple)
      throw new OutOfMemory(
        `a step on the smallest patch, ${size.join(' x ')} voxels, takes ${least} bytes; --memory allows ${memory}: ` +
          'use fewer features or a smaller batch',
        least,
        memory,
      );
    size[longest] = Math.max(multiple, Math.floor((size[longest]! * 0.85) / multiple) * multiple);
  }
  return size.every((length, axis) => length === whole[axis]) ? undefined : size;
}
