/** The kernels that predictions and evaluations run. */
import { idleMatrixUnits } from '../gpu/passes.ts';
import { proved } from '../model/ladder.ts';
import type { ModelState } from '../model/state.ts';
import { cachedChoices } from '../model/tune.ts';
import { tuningStore } from '../model/tuning-cache.ts';

/** Adapters of which was said that their matrix units are idle: once for all networks of an ensemble. */
const told = new Set<string>();

/**
 * Gives a network that was not trained here what earlier trainings have measured on its GPU, forward; nothing is measured
 * for the sake of a prediction, but seen to be right.
 * @throws DeviceLost
 */
export async function proveKernels(state: ModelState): Promise<void> {
  const { gpu, kernels, precision } = state;
  if (kernels !== gpu.limits.kernels) return; // chosen already
  const store = await tuningStore();
  const isTuned = kernels.tuned ?? (gpu.adapterClass !== 'hardware' && !gpu.matrixWish);
  const choices = isTuned ? kernels : { ...kernels, tuned: forward(await cachedChoices(gpu, store)) };
  const warn = (message: string): void => console.warn(message);
  state.kernels = await proved(gpu, choices, precision, { store, warn });
  const why =
    'predictions measure nothing, and no training here has found them faster: train with --matrix-units --tune first';
  const idle = idleMatrixUnits(gpu, state.kernels, why);
  if (idle === undefined || told.has(gpu.identity)) return;
  told.add(gpu.identity);
  warn(idle);
}

const forward = (tuned: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(tuned).filter(([key]) => key.startsWith('forward ')));
