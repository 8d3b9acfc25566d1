/**
 * Learning-rate schedules as data, and what they give at a step. Every step counts, one that is left out as not finite
 * too, as where PyTorch's scheduler follows its scaler.
 */
import * as v from 'valibot';
import { InvalidOption } from '../errors.ts';
import { assertOptions } from '../options.ts';
import {
  belowOne,
  flag,
  numberAbove,
  numberFrom,
  object,
  oneOf,
  wholeNumber,
  type Schema,
} from '../schema.ts';

/** A learning rate over the steps as plain data: made by `oneCycle`, `poly`, `cosine` or `constant`. */
export type Schedule =
  | {
      readonly name: 'oneCycle';
      readonly maxLearningRate: number;
      /** Share of the steps in which the rate rises. */
      readonly pctStart: number;
      /** The rate starts at maxLearningRate / divFactor. */
      readonly divFactor: number;
      /** And ends at its start / finalDivFactor. */
      readonly finalDivFactor: number;
      readonly anneal: 'cos' | 'linear';
      readonly threePhase: boolean;
      readonly cycleMomentum: boolean;
      readonly baseMomentum: number;
      readonly maxMomentum: number;
    }
  | {
      readonly name: 'poly';
      readonly learningRate: number;
      readonly power: number;
      /** Equal parts of the training within which the rate stays the same; absent: it falls with every step. */
      readonly stages?: number | undefined;
    }
  | {
      readonly name: 'cosine';
      readonly learningRate: number;
      readonly finalLearningRate: number;
      readonly warmup: number;
    }
  | { readonly name: 'constant'; readonly learningRate: number };

const rate = numberFrom(0);
const fraction = numberFrom(0, 1);
const oneCycleEntries = {
  maxLearningRate: rate,
  pctStart: fraction,
  divFactor: numberAbove(0),
  finalDivFactor: numberAbove(0),
  anneal: oneOf('cos', 'linear'),
  threePhase: flag,
  cycleMomentum: flag,
  baseMomentum: belowOne,
  maxMomentum: belowOne,
};
const polyEntries = { learningRate: rate, power: rate, stages: v.optional(wholeNumber(1)) };
const cosineEntries = { learningRate: rate, finalLearningRate: rate, warmup: fraction };
const constantEntries = { learningRate: rate };

export const scheduleSchema = v.variant(
  'name',
  [
    object({ name: v.literal('oneCycle'), ...oneCycleEntries }),
    object({ name: v.literal('poly'), ...polyEntries }),
    object({ name: v.literal('cosine'), ...cosineEntries }),
    object({ name: v.literal('constant'), ...constantEntries }),
  ],
  'a schedule, such as oneCycle({ maxLearningRate: 0.01 })',
) satisfies Schema<Schedule>;

/** @throws InvalidOption for options that are unknown or out of range */
function checked(
  name: Schedule['name'],
  entries: Readonly<Record<string, v.GenericSchema<unknown, unknown>>>,
  options: object,
  defaults: object,
): Schedule {
  assertOptions(
    name,
    Object.fromEntries(
      Object.entries(entries).map(([key, entry]) => [key, key in defaults ? v.optional(entry) : entry]),
    ),
    options,
  );
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { name, ...defaults, ...Object.fromEntries(given) } as Schedule;
}

/** PyTorch's OneCycleLR. */
type OneCycle = Extract<Schedule, { name: 'oneCycle' }>;

/**
 * PyTorch's OneCycleLR: up from max/divFactor to max at pctStart·T − 1, down to start/finalDivFactor at
 * T − 1. With `cycleMomentum` (PyTorch's default) β1 or momentum runs maxMomentum → baseMomentum and back.
 * @throws InvalidOption
 * @example
 * ```js
 * const schedule = oneCycle({ maxLearningRate: 0.01 });
 * ```
 */
export const oneCycle = (
  options: Partial<Omit<OneCycle, 'name'>> & { readonly maxLearningRate: number },
): Schedule =>
  checked('oneCycle', oneCycleEntries, options, {
    pctStart: 0.3,
    divFactor: 25,
    finalDivFactor: 1e4,
    anneal: 'cos',
    threePhase: false,
    cycleMomentum: true,
    baseMomentum: 0.85,
    maxMomentum: 0.95,
  });

/**
 * learningRate · (1 − step/T)^power, with power 0.9. With as many `stages` as epochs the rate is constant within an
 * epoch, as nnU-Net has it.
 * @throws InvalidOption
 * @example
 * ```js
 * const schedule = poly({ learningRate: 0.01, power: 0.9 });
 * ```
 */
export const poly = (options: {
  readonly learningRate: number;
  readonly power?: number;
  readonly stages?: number;
}): Schedule => checked('poly', polyEntries, options, { power: 0.9 });

/**
 * Linear warm-up over `warmup` of the steps (a fraction), then a half cosine to `finalLearningRate`.
 * @throws InvalidOption
 * @example
 * ```js
 * const schedule = cosine({ learningRate: 0.01, warmup: 0.1 });
 * ```
 */
export const cosine = (options: {
  readonly learningRate: number;
  readonly finalLearningRate?: number;
  readonly warmup?: number;
}): Schedule => checked('cosine', cosineEntries, options, { finalLearningRate: 0, warmup: 0.05 });

/**
 * The same rate at every step. @throws InvalidOption
 * @example
 * ```js
 * const schedule = constant({ learningRate: 0.001 });
 * ```
 */
export const constant = (options: { readonly learningRate: number }): Schedule =>
  checked('constant', constantEntries, options, {});

/** What a schedule gives for one step. */
export interface ScheduleValue {
  /** Of this step. */
  readonly learningRate: number;
  /** β1 or momentum, where the schedule sets it. */
  readonly momentum?: number;
}

const placeEntries = { schedule: scheduleSchema, step: wholeNumber(), total: wholeNumber(1) };

/**
 * What the schedule gives at `step` of `total`; step from 0. @throws InvalidOption for a step that is not among them
 * @example
 * ```js
 * console.log(scheduleAt(oneCycle({ maxLearningRate: 0.01 }), 30, 100).learningRate);
 * ```
 */
export function scheduleAt(schedule: Schedule, step: number, total: number): ScheduleValue {
  assertOptions('scheduleAt', placeEntries, { schedule, step, total });
  if (step >= total) {
    throw new InvalidOption(
      `step ${step} lies outside the schedule's ${total} steps: raise the number of epochs`,
    );
  }
  switch (schedule.name) {
    case 'oneCycle':
      return oneCycleAt(schedule, step, total);
    case 'poly': {
      const { learningRate, power, stages } = schedule;
      const done = stages === undefined ? step / total : Math.floor((step * stages) / total) / stages;
      return { learningRate: learningRate * (1 - done) ** power };
    }
    case 'cosine': {
      const { learningRate, finalLearningRate, warmup } = schedule;
      const rising = Math.round(warmup * total);
      if (step < rising) return { learningRate: (learningRate * (step + 1)) / rising };
      const progress = (step - rising) / Math.max(1, total - rising);
      return {
        learningRate:
          finalLearningRate + ((learningRate - finalLearningRate) * (1 + Math.cos(Math.PI * progress))) / 2,
      };
    }
    case 'constant':
      return { learningRate: schedule.learningRate };
  }
}

function oneCycleAt(schedule: OneCycle, step: number, total: number): ScheduleValue {
  const { maxLearningRate, pctStart, divFactor, finalDivFactor, threePhase, cycleMomentum } = schedule;
  const { baseMomentum, maxMomentum } = schedule;
  const start = maxLearningRate / divFactor;
  const end = start / finalDivFactor;
  // Ends of the phases in (fractional) steps, learning rates and momenta at both ends.
  const phases: [end: number, from: number, to: number, momentumFrom: number, momentumTo: number][] =
    threePhase
      ? [
          [pctStart * total - 1, start, maxLearningRate, maxMomentum, baseMomentum],
          [2 * pctStart * total - 2, maxLearningRate, start, baseMomentum, maxMomentum],
          [total - 1, start, end, maxMomentum, maxMomentum],
        ]
      : [
          [pctStart * total - 1, start, maxLearningRate, maxMomentum, baseMomentum],
          [total - 1, maxLearningRate, end, baseMomentum, maxMomentum],
        ];
  let begin = 0;
  for (const [index, [finish, from, to, momentumFrom, momentumTo]] of phases.entries()) {
    if (step <= finish || index === phases.length - 1) {
      const fraction = finish > begin ? (step - begin) / (finish - begin) : 1; // a phase of one step is at its end
      const between = (a: number, b: number) =>
        schedule.anneal === 'cos'
          ? b + ((a - b) / 2) * (1 + Math.cos(Math.PI * fraction))
          : a + (b - a) * fraction;
      const learningRate = between(from, to);
      return cycleMomentum ? { learningRate, momentum: between(momentumFrom, momentumTo) } : { learningRate };
    }
    begin = finish;
  }
  throw new InvalidOption(`OneCycle has no phase for step ${step} of ${total}`);
}
