/**
 * Does a training step fit the memory that may be used, and if not, what would? WebGPU does not tell how
 * much memory a GPU has, so the budget is an assumption that the user can change.
 */
import { OutOfMemory } from '../errors.ts';
import type { AdapterClass } from '../gpu/choices.ts';
import type { PlanLimits, Size3 } from '../gpu/plan.ts';
import type { LossShape } from '../ops/loss.ts';
import { paddedSize, sizeMultiple, type UNet3DConfig } from './config.ts';
import { planTraining, type OptimizerChoice } from './plan.ts';
import { formatBytes } from './summary.ts';

/** Bytes that plans may use where the caller sets no `memoryBudget`: what nearly every GPU of that kind has. */
export const assumedBudget: Readonly<Record<AdapterClass, number>> = {
  hardware: 4 * 2 ** 30,
  lavapipe: 8 * 2 ** 30,
  swiftshader: 8 * 2 ** 30,
};

export interface TrainingWish {
  readonly config: UNet3DConfig;
  /** x, y, z of the network's input. */
  readonly size: Size3;
  readonly batch: number;
}

/** A configuration near the wish, with its planned bytes. */
export interface Alternative extends TrainingWish {
  readonly bytes: number;
}

interface Planner {
  readonly limits: PlanLimits;
  readonly loss: LossShape;
  readonly optimizer: OptimizerChoice;
}

/** Bytes of a training step's plan; Infinity where a tensor exceeds what the device can hold in one buffer. */
function plannedBytes(wish: TrainingWish, planner: Planner): number {
  try {
    return planTraining({ ...wish, ...planner }).plan.peakBytes;
  } catch (error) {
    if (error instanceof OutOfMemory) return Infinity;
    throw error;
  }
}

/**
 * The configurations nearest to the wish that fit the budget, nearest first: a smaller batch, patches, half
 * the features, and their combinations. Distance counts halvings; one of the features counts twice.
 */
export function alternatives(wish: TrainingWish, budget: number, planner: Planner, count = 3): Alternative[] {
  const { config, size, batch } = wish;
  const batches = [batch, Math.floor(batch / 2), 1].filter((n, i, all) => n >= 1 && all.indexOf(n) === i);
  const sizes: Size3[] = [paddedSize(config, size)];
  while (sizes.length < 12) {
    const last = sizes[sizes.length - 1]!;
    const axis = last.indexOf(Math.max(...last));
    const halved = [...last];
    halved[axis] = Math.ceil(last[axis]! / 2 / sizeMultiple(config)) * sizeMultiple(config);
    if (halved[axis] === last[axis] || last[axis]! <= 2 * sizeMultiple(config)) break;
    sizes.push(halved as unknown as Size3);
  }
  const widths = [1, 2, 4].filter((by) => config.features.every((n) => n % by === 0));
  const candidates = batches.flatMap((b, i) =>
    sizes.flatMap((s, j) =>
      widths.map((by, k) => ({
        wish: { config: { ...config, features: config.features.map((n) => n / by) }, size: s, batch: b },
        distance: i + j + 2 * k,
      })),
    ),
  );
  const found: Alternative[] = [];
  for (const { wish: candidate } of candidates.sort((a, b) => a.distance - b.distance)) {
    const bytes = plannedBytes(candidate, planner);
    if (bytes <= budget) found.push({ ...candidate, bytes });
    if (found.length === count) break;
  }
  return found;
}

/** Throws `OutOfMemory` with planned bytes, budget and the three nearest configurations that fit. */
export function assertFits(wish: TrainingWish, budget: number, planner: Planner): void {
  const planned = plannedBytes(wish, planner);
  if (planned <= budget) return;
  const near = alternatives(wish, budget, planner).map(
    ({ config, size, batch, bytes }) =>
      `batch ${batch} of [${size.join(', ')}] with features ${config.features.join(', ')} (${formatBytes(bytes)})`,
  );
  const need = planned === Infinity ? 'a buffer larger than the device allows' : formatBytes(planned);
  throw new OutOfMemory(
    `a training step of batch ${wish.batch} of [${wish.size.join(', ')}] (x, y, z) with features ` +
      `${wish.config.features.join(', ')} needs ${need}; the memory budget is ${formatBytes(budget)}. ` +
      (near.length ? `These fit: ${near.join('; ')}. ` : '') +
      'Or raise memoryBudget if the GPU has more memory.',
    planned,
    budget,
  );
}
