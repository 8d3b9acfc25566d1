/**
 * How much memory a plan may take. Few devices report how much they have, so the budget is an assumption that the user
 * can change.
 */
import { OutOfMemory } from '../errors.ts';
import { formatBytes } from '../format.ts';
import type { AdapterClass } from '../gpu/choices.ts';
import { assertValue } from '../options.ts';
import { limit, withParts } from '../schema.ts';

/** Bytes that plans may use where neither the caller nor the device says: what nearly every GPU of that kind has. */
export const assumedBudget: Readonly<Record<AdapterClass, number>> = {
  hardware: 4 * 2 ** 30,
  lavapipe: 8 * 2 ** 30,
  software: 8 * 2 ** 30,
  swiftshader: 8 * 2 ** 30,
};

/**
 * What plans may use where the caller does not say: four fifths of what the device reports, else the assumption.
 * @example
 * ```js
 * const gpu = await Gpu.open();
 * console.log(formatBytes(defaultBudget(gpu)));
 * gpu.dispose();
 * ```
 */
export const defaultBudget = (gpu: {
  readonly adapterClass: AdapterClass;
  readonly memoryBytes?: number | undefined;
}): number => {
  assertValue('defaultBudget', withParts('a Gpu', 'adapterClass'), gpu);
  return gpu.memoryBytes === undefined ? assumedBudget[gpu.adapterClass] : Math.floor(0.8 * gpu.memoryBytes);
};

/** Of a budget. */
export const budgetSchema = limit('a number of bytes above 0');

/** Bytes of a plan; Infinity where a tensor exceeds what the device can hold in one buffer. */
export function bytesOf(plan: () => { plan: { peakBytes: number } }): number {
  try {
    return plan().plan.peakBytes;
  } catch (error) {
    if (error instanceof OutOfMemory) return Infinity;
    throw error;
  }
}

/** Bytes of a plan, in words where no device could hold one of its tensors. */
export const needText = (bytes: number): string =>
  bytes === Infinity ? 'a buffer larger than the device allows' : formatBytes(bytes);
