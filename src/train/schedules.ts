/**
 * Learning-rate schedules as data, and what they give at a step. Every step counts, one that is left out as not finite
 * too, as where PyTorch's scheduler follows its scaler.
 */
import { InvalidOption } from '../errors.ts';

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
  | { readonly name: 'poly'; readonly learningRate: number; readonly power: number }
  | {
      readonly name: 'cosine';
      readonly learningRate: number;
      readonly finalLearningRate: number;
      readonly warmup: number;
    }
  | { readonly name: 'constant'; readonly learningRate: number };

type OneCycle = Extract<Schedule, { name: 'oneCycle' }>;

/**
 * PyTorch's OneCycleLR: up from max/divFactor to max at pctStart·T − 1, down to start/finalDivFactor at
 * T − 1. With `cycleMomentum` (PyTorch's default) β1 or momentum runs maxMomentum → baseMomentum and back.
 * @throws InvalidOption for a pctStart outside 0 to 1, or factors that are not above 0
 */
export function oneCycle(options: Partial<Omit<OneCycle, 'name'>> & { maxLearningRate: number }): Schedule {
  const { pctStart = 0.3, divFactor = 25, finalDivFactor = 1e4 } = options;
  if (!(pctStart >= 0 && pctStart <= 1))
    throw new InvalidOption(`OneCycle's pctStart is ${pctStart}; give a share of the steps from 0 to 1`);
  for (const [name, value] of Object.entries({ divFactor, finalDivFactor }))
    if (!(value > 0 && value < Infinity))
      throw new InvalidOption(`OneCycle's ${name} is ${value}; give a number above 0`);
  return {
    name: 'oneCycle',
    anneal: 'cos',
    threePhase: false,
    cycleMomentum: true,
    baseMomentum: 0.85,
    maxMomentum: 0.95,
    ...options,
    pctStart,
    divFactor,
    finalDivFactor,
  };
}

/** learningRate · (1 − step/T)^power: nnU-Net's, with power 0.9. */
export const poly = (options: { learningRate: number; power?: number }): Schedule => ({
  name: 'poly',
  power: 0.9,
  ...options,
});

/** Linear warm-up over `warmup` of the steps (a fraction), then a half cosine to `finalLearningRate`. */
export const cosine = (options: {
  learningRate: number;
  finalLearningRate?: number;
  warmup?: number;
}): Schedule => ({
  name: 'cosine',
  finalLearningRate: 0,
  warmup: 0.05,
  ...options,
});

/** One learning rate throughout. */
export const constant = (options: { learningRate: number }): Schedule => ({ name: 'constant', ...options });

export interface ScheduleValue {
  readonly learningRate: number;
  /** β1 or momentum, where the schedule sets it. */
  readonly momentum?: number;
}

/** What the schedule gives at `step` of `total`; step from 0. */
export function scheduleAt(schedule: Schedule, step: number, total: number): ScheduleValue {
  if (!(step >= 0 && step < total)) {
    throw new InvalidOption(
      `step ${step} lies outside the schedule's ${total} steps: raise the number of epochs`,
    );
  }
  switch (schedule.name) {
    case 'oneCycle':
      return oneCycleAt(schedule, step, total);
    case 'poly':
      return { learningRate: schedule.learningRate * (1 - step / total) ** schedule.power };
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
      const share = finish > begin ? (step - begin) / (finish - begin) : 1; // a phase of one step is at its end
      const between = (a: number, b: number) =>
        schedule.anneal === 'cos' ? b + ((a - b) / 2) * (1 + Math.cos(Math.PI * share)) : a + (b - a) * share;
      const learningRate = between(from, to);
      return cycleMomentum ? { learningRate, momentum: between(momentumFrom, momentumTo) } : { learningRate };
    }
    begin = finish;
  }
  throw new InvalidOption(`OneCycle has no phase for step ${step} of ${total}`);
}
