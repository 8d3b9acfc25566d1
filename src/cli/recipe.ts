/** From options to a loss, an optimiser, a schedule and sizes, with defaults that serve an unseen data set. */
import { InvalidOption } from '../errors.ts';
import type { Region } from '../data/regions.ts';
import {
  crossEntropy,
  diceCrossEntropy,
  lossOfHeads,
  nnunetLoss,
  nnunetRegionLoss,
  weightedDice,
  type Loss,
} from '../model/losses.ts';
import { adam, adamW, sgd, type Optimizer } from '../train/optimizers.ts';
import type { Axis } from '../size.ts';
import { nnunetAugmentation, type Augmentation } from '../train/augmentation.ts';
import { constant, cosine, oneCycle, poly, type Schedule } from '../train/schedules.ts';

/** `nnunet` is cross-entropy minus the mean Dice of the foreground. */
export const lossNames = ['dice-ce', 'dice', 'ce', 'nnunet'] as const;
export const optimizerNames = ['adam', 'adamw', 'sgd'] as const;
/** `nnunet` decides on crop, normalisation, spacing and patch from the data; `model` does as the one of --init says. */
export const preprocessingNames = ['plain', 'nnunet', 'model'] as const;
export type PreprocessingName = (typeof preprocessingNames)[number];
export const augmentationNames = ['none', 'nnunet'] as const;
/**
 * `onecycle-plain` leaves the momentum (Adam's β1) alone, where `onecycle` cycles it as PyTorch does by default.
 * `poly-by-epoch` is constant within an epoch.
 */
export const scheduleNames = [
  'onecycle',
  'onecycle-plain',
  'poly',
  'poly-by-epoch',
  'cosine',
  'constant',
] as const;

/**
 * @param of.weights one per class, or per region
 * @param of.ignore whether there are unknown voxels
 * @throws InvalidOption for weights beside a loss that has its own or knows none
 */
export function lossOf(
  name: (typeof lossNames)[number],
  {
    classes,
    regions,
    weights,
    batchDice = false,
    ignore = false,
  }: {
    readonly classes: number;
    readonly weights?: readonly number[] | undefined;
    readonly regions?: readonly Region[] | undefined;
    readonly batchDice?: boolean | undefined;
    readonly ignore?: boolean;
  },
): Loss {
  if (name === 'nnunet') {
    if (weights)
      throw new InvalidOption(
        '--class-weights has no place in --loss nnunet, which has its own: leave it out',
      );
    return regions
      ? nnunetRegionLoss(regions, { batch: batchDice, ignore })
      : nnunetLoss(classes, { batch: batchDice });
  }
  if (name === 'ce' && regions && weights)
    throw new InvalidOption(
      '--class-weights weigh classes of which one wins, and these are regions: leave it out, or take --loss dice',
    );
  if (name === 'ce') return lossOfHeads(crossEntropy(weights), regions);
  if (name === 'dice') return lossOfHeads(weightedDice(weights), regions);
  const both = weights && { diceWeights: weights, ...(!regions && { entropyWeights: weights }) };
  return lossOfHeads(diceCrossEntropy(both), regions);
}

export function optimizerOf(name: (typeof optimizerNames)[number]): Optimizer {
  return { adam, adamw: adamW, sgd }[name]();
}

/** Options of OneCycle alone, by their names on the command line. */
export interface OneCycleOptions {
  readonly pctStart?: number;
  readonly divFactor?: number;
  readonly finalDivFactor?: number;
}

/** @throws InvalidOption for options of OneCycle beside another schedule */
export function scheduleOf(
  name: (typeof scheduleNames)[number],
  learningRate: number,
  epochs: number,
  { pctStart, divFactor, finalDivFactor }: OneCycleOptions = {},
): Schedule {
  const shape = {
    ...(pctStart !== undefined && { pctStart }),
    ...(divFactor !== undefined && { divFactor }),
    ...(finalDivFactor !== undefined && { finalDivFactor }),
  };
  const cycle = { maxLearningRate: learningRate, ...shape };
  if (name === 'onecycle') return oneCycle(cycle);
  if (name === 'onecycle-plain') return oneCycle({ ...cycle, cycleMomentum: false });
  if (Object.keys(shape).length > 0)
    throw new InvalidOption(
      `--pct-start, --div-factor and --final-div-factor belong to onecycle; --schedule is ${name}: leave them out`,
    );
  if (name === 'poly-by-epoch') return poly({ learningRate, stages: epochs });
  return { poly, cosine, constant }[name]({ learningRate });
}

/** Augmentation by name, with the axes that may be mirrored. */
export function augmentationOf(
  name: (typeof augmentationNames)[number],
  mirror: readonly Axis[],
): Augmentation | undefined {
  if (name === 'none') return undefined;
  const probability = (axis: Axis) => (mirror.includes(axis) ? 0.5 : 0);
  return nnunetAugmentation({ mirror: [probability('x'), probability('y'), probability('z')] });
}

/** Steps that a training should have at least, where the number of epochs is not given. */
const wantedSteps = 600;

/**
 * Epochs for a data set: about 600 steps, no fewer than 8 epochs and no more than 200.
 * @param stepsPerEpoch where it is not the number of cases that says how many there are
 */
export function defaultEpochs(cases: number, batchSize: number, stepsPerEpoch?: number): number {
  const steps = stepsPerEpoch ?? Math.max(1, Math.ceil(cases / batchSize));
  return Math.min(200, Math.max(8, Math.round(wantedSteps / steps)));
}
