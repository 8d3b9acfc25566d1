/** The window through which a network predicts within a memory budget. */
import { OutOfMemory } from '../errors.ts';
import { formatBytes } from '../format.ts';
import type { Plan, PlanLimits } from '../gpu/plan.ts';
import type { Precision } from '../gpu/precision.ts';
import { bytesOf, needText } from '../model/budget.ts';
import type { UNet3DConfig } from '../model/config.ts';
import { planSlabs } from '../model/plan.ts';
import type { PlanShape } from '../model/plan-shape.ts';
import { paddedSize, shrunk } from '../model/sizes.ts';
import type { Size3 } from '../size.ts';

/** What a network was trained on. */
export interface Trained {
  /** x, y, z */
  readonly inputSize?: Size3 | undefined;
  /** Whether that is the size of patches. */
  readonly patches?: boolean | undefined;
}

/**
 * The window for predicting a volume: the whole volume where its forward plan fits the budget, else the size
 * trained on, else the largest box of at most 128 × 128 × 64 that fits. Trained on patches, a network whose norms would
 * see all of a larger volume goes through windows of their size in any case, as it was validated.
 * @throws OutOfMemory if not even the smallest does
 */
export function chooseWindow(
  shape: { readonly config: UNet3DConfig; readonly whole: Size3; readonly trained?: Trained | undefined },
  budget: number,
  {
    limits,
    precision,
    plan = planSlabs,
  }: {
    readonly limits: PlanLimits;
    readonly precision: Precision;
    /** What is to run. Default: the logits alone. */
    readonly plan?: (shape: PlanShape) => { readonly plan: Plan };
  },
  remedy = 'raise memoryBudget',
): Size3 {
  const { config, whole, trained: { inputSize, patches = false } = {} } = shape;
  const isApart = patches && config.norm !== 'batch' && inputSize?.some((n, axis) => n < whole[axis]!);
  const bytes = (size: Size3) => bytesOf(() => plan({ config, size, batch: 1, limits, precision }));
  for (const size of [...(isApart ? [] : [whole]), ...(inputSize ? [inputSize] : [])])
    if (bytes(size) <= budget) return size;
  const [x, y, z] = whole;
  let size: Size3 | undefined = paddedSize(config, [Math.min(x, 128), Math.min(y, 128), Math.min(z, 64)]);
  let least = Infinity;
  for (; size; size = shrunk(config, size, 0.5)) {
    least = bytes(size);
    if (least <= budget) return size;
  }
  throw new OutOfMemory(
    `predicting through the smallest window needs ${needText(least)}; the memory budget is ${formatBytes(budget)}: ${remedy}`,
    least,
    budget,
  );
}
