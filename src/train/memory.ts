/** The one place where a training step and the memory that it may take are brought together. */
import { OutOfMemory } from '../errors.ts';
import { assertFits } from '../model/alternatives.ts';
import { concede, type Concession } from '../model/concessions.ts';
import { stepOf, type Planner, type TrainingWish } from '../model/wish.ts';
import { planTraining, type TrainingPlan } from '../model/plan.ts';
import type { TrainingShape } from '../model/plan-shape.ts';

/** Plans training steps. Asked again for the step that it planned last, it gives the same plan. */
export class StepPlans {
  #last: { readonly key: string; readonly planned: TrainingPlan } | undefined;

  /** @throws OutOfMemory where a tensor exceeds what the device can hold in one buffer */
  of(shape: TrainingShape): TrainingPlan {
    const given = Object.entries(shape).filter(([, value]) => value !== undefined);
    const whole = { ...defaults, ...Object.fromEntries(given) };
    const key = JSON.stringify(Object.entries(whole).sort(([a], [b]) => (a < b ? -1 : 1)));
    if (this.#last?.key !== key) this.#last = { key, planned: planTraining(shape) };
    return this.#last.planned;
  }
}

/** What a shape that leaves them out means. */
const defaults: Partial<TrainingShape> = {
  accumulate: 1,
  checkpointing: false,
  precision: 'f32',
  augment: false,
  averaging: false,
  margin: [0, 0, 0],
  coarserTruth: 'nearest',
};

/** A step that fits the memory. */
export interface FittedStep {
  readonly wish: TrainingWish;
  /** What was given up for it. */
  readonly taken: readonly Concession[];
  readonly planned: TrainingPlan;
}

/**
 * The step as wished where it fits, else with as much given up as needed.
 * @param budget bytes that its plan may take
 * @param allowed what may be given up; see `concessions`
 * @param remedy what else can be done, in the caller's words
 * @throws OutOfMemory if it does not fit with all of that given up either, naming what would
 */
export function fitStep(
  wish: TrainingWish,
  planner: Planner,
  {
    budget,
    allowed,
    remedy,
    plans = new StepPlans(),
  }: {
    readonly budget: number;
    readonly allowed: 'auto' | readonly Concession[];
    readonly remedy?: string;
    readonly plans?: StepPlans;
  },
): FittedStep {
  const planned = orTooLarge(() => plans.of(stepOf(wish, planner)));
  if (planned && planned.plan.peakBytes <= budget) return { wish, taken: [], planned };
  const { wish: conceded, taken } = concede(wish, budget, planner, allowed);
  assertFits(conceded, budget, planner, remedy);
  return { wish: conceded, taken, planned: plans.of(stepOf(conceded, planner)) };
}

function orTooLarge<T>(plan: () => T): T | undefined {
  try {
    return plan();
  } catch (error) {
    if (error instanceof OutOfMemory) return undefined;
    throw error;
  }
}
