/** Training steps near one that does not fit the memory budget. */
import { OutOfMemory } from '../errors.ts';
import { formatBytes } from '../format.ts';
import { assertOptions } from '../options.ts';
import { wholeNumber } from '../schema.ts';
import type { Size3 } from '../size.ts';
import { budgetSchema, needText } from './budget.ts';
import { narrowed } from './config.ts';
import { paddedSize, shrunk } from './sizes.ts';
import {
  describeWish,
  plannerSchema,
  trainingBytes,
  wishSchema,
  type Planner,
  type TrainingWish,
} from './wish.ts';

/** A configuration near the wish, with its planned bytes. */
export interface Alternative extends TrainingWish {
  /** On the GPU, all included. */
  readonly bytes: number;
}

/**
 * The configurations nearest to the wish that fit the budget, nearest first: float16, checkpointing, a smaller
 * batch, patches, fewer features, and their combinations. Distance counts halvings; one of the features counts
 * twice, float16 and checkpointing half.
 * @example
 * ```js
 * const config = completeConfig({ inChannels: 1, classes: 6 });
 * const planner = { limits: defaultLimits, loss: lossShape(weightedDice(), 6), optimizer: adam() };
 * for (const { change, bytes } of alternatives({ config, size: [128, 128, 64], batch: 2 }, 2 ** 29, planner))
 *   console.log(change, formatBytes(bytes));
 * ```
 */
export function alternatives(wish: TrainingWish, budget: number, planner: Planner, count = 3): Alternative[] {
  assertOptions(
    'alternatives',
    { wish: wishSchema, budget: budgetSchema, planner: plannerSchema, count: wholeNumber(1) },
    { wish, budget, planner, count },
  );
  const { config, size, batch } = wish;
  const batches = [batch, Math.floor(batch / 2), 1].filter((n, i, all) => n >= 1 && all.indexOf(n) === i);
  const sizes: Size3[] = [paddedSize(config, size)];
  while (sizes.length < 12) {
    const next = shrunk(config, sizes[sizes.length - 1]!, 0.5);
    if (!next) break;
    sizes.push(next);
  }
  const widths = [1, 2, 4].map((by) => narrowed(config, by)).filter((made) => made !== undefined);
  const savings: { readonly saving: Partial<TrainingWish>; readonly distance: number }[] = [
    { saving: {}, distance: 0 },
    ...(wish.precision === 'f16' ? [] : [{ saving: { precision: 'f16' } as const, distance: 0.4 }]),
    ...(wish.checkpointing ? [] : [{ saving: { checkpointing: true }, distance: 0.5 }]),
  ];
  const candidates = savings.flatMap(({ saving, distance }) =>
    batches.flatMap((b, i) =>
      sizes.flatMap((s, j) =>
        widths.map((narrow, k) => ({
          wish: {
            ...wish,
            ...saving,
            config: narrow,
            size: s,
            batch: b,
          },
          distance: distance + i + 1.1 * j + 2 * k,
        })),
      ),
    ),
  );
  const found: Alternative[] = [];
  for (const { wish: candidate } of candidates.sort((a, b) => a.distance - b.distance)) {
    if (candidate.checkpointing && isHopeless(candidate, budget, planner)) continue;
    const bytes = trainingBytes(candidate, planner);
    if (bytes <= budget) found.push({ ...candidate, bytes });
    if (found.length === count) break;
  }
  return found;
}

/** Whether so much memory is missing that computing outputs again, which saves about a quarter, need not be tried. */
const isHopeless = (wish: TrainingWish, budget: number, planner: Planner): boolean =>
  trainingBytes({ ...wish, checkpointing: false }, planner) > 1.4 * budget;

/**
 * Throws `OutOfMemory` with planned bytes, budget and the three nearest configurations that fit.
 * @param remedy what else can be done, in the caller's words
 */
export function assertFits(
  wish: TrainingWish,
  budget: number,
  planner: Planner,
  remedy = "Or let training choose (concessions: 'auto'), or raise memoryBudget if the GPU has more memory.",
): void {
  const planned = trainingBytes(wish, planner);
  if (planned <= budget) return;
  const near = alternatives(wish, budget, planner).map(
    (alternative) => `${describeWish(alternative)} (${formatBytes(alternative.bytes)})`,
  );
  throw new OutOfMemory(
    `a training step of ${describeWish(wish)} (x, y, z) needs ${needText(planned)}; the memory budget is ${formatBytes(budget)}. ` +
      (near.length ? `These fit: ${near.join('; ')}. ` : '') +
      remedy,
    planned,
    budget,
  );
}
