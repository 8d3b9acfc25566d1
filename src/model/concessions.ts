/** What may be given up for a training step that does not fit the memory budget, and giving it up. */
import * as v from 'valibot';
import { assertOptions } from '../options.ts';
import { oneOf } from '../schema.ts';
import { budgetSchema } from './budget.ts';
import { recomputedWithin } from './plan.ts';
import { shrunk } from './sizes.ts';
import { fitsBudget, plannerSchema, stepOf, wishSchema, type Planner, type TrainingWish } from './wish.ts';

/**
 * What may be given up for memory, in the order in which it is: volumes in float16 instead of float32; outputs kept
 * for the backward pass, as many as needed, which are computed again there; a batch in parts, whose gradients are averaged (batch norm then takes its
 * statistics from each part, instance norm does not notice); patches instead of whole volumes.
 */
export const concessions = ['float16', 'checkpointing', 'accumulation', 'patches'] as const;
/** Something that may be given up to fit into memory. */
export type Concession = (typeof concessions)[number];

/** Of a choice of concessions. */
export const concessionsSchema = v.union(
  [v.literal('auto'), v.array(oneOf(...concessions))],
  `'auto', or any of ${concessions.join(', ')}`,
);

/**
 * Gives up what is allowed, one thing after the other in the order of `concessions`, until the step fits.
 * What is given back may still not fit.
 * @example
 * ```js
 * const config = completeConfig({ inChannels: 1, classes: 6 });
 * const planner = { limits: defaultLimits, loss: lossShape(weightedDice(), 6), optimizer: adam() };
 * const { wish, taken } = concede({ config, size: [128, 128, 64], batch: 2 }, 2 ** 30, planner);
 * console.log(taken, wish.batch, wish.size);
 * ```
 */
export function concede(
  wish: TrainingWish,
  budget: number,
  planner: Planner,
  allowed: readonly Concession[] | 'auto' = 'auto',
): { wish: TrainingWish; taken: Concession[] } {
  assertOptions(
    'concede',
    { wish: wishSchema, budget: budgetSchema, planner: plannerSchema, allowed: concessionsSchema },
    { wish, budget, planner, allowed },
  );
  const fits = (candidate: TrainingWish) => fitsBudget(candidate, budget, planner);
  const recomputed = (candidate: TrainingWish) => recomputedWithin(stepOf(candidate, planner), budget);
  let current = wish;
  const taken: Concession[] = [];
  const attempts: Record<Concession, () => TrainingWish | undefined> = {
    float16: () => (current.precision === 'f16' ? undefined : { ...current, precision: 'f16' }),
    checkpointing: () =>
      current.checkpointing === true ? undefined : { ...current, checkpointing: recomputed(current) },
    accumulation: () => {
      const { batch, accumulate = 1 } = current;
      const parts = Array.from({ length: batch }, (_, i) => i + 1).filter((n) => n > 1 && batch % n === 0);
      const smaller = parts.map((n) => ({ ...current, batch: batch / n, accumulate: accumulate * n }));
      return smaller.find(fits) ?? smaller[smaller.length - 1];
    },
    patches: () => {
      let patched: TrainingWish | undefined;
      for (
        let size = shrunk(current.config, current.size, 0.85);
        size;
        size = shrunk(current.config, size, 0.85)
      ) {
        patched = { ...current, size };
        if (fits(patched)) break;
      }
      return patched;
    },
  };
  for (const name of concessions) {
    if (fits(current)) break;
    if (allowed !== 'auto' && !allowed.includes(name)) continue;
    const next = attempts[name]();
    if (!next) continue;
    current = next;
    taken.push(name);
  }
  if (!taken.includes('checkpointing')) return { wish: current, taken };
  // What came after it may have made it superfluous, in part or altogether.
  const checkpointing = recomputed(current);
  if (checkpointing.length > 0) return { wish: { ...current, checkpointing }, taken };
  return {
    wish: { ...current, checkpointing: wish.checkpointing },
    taken: taken.filter((name) => name !== 'checkpointing'),
  };
}
