/** The kernels that predictions and evaluations run. */
import type { KernelChoices } from '../gpu/choices.ts';
import { proved } from '../model/ladder.ts';
import type { ModelState } from '../model/state.ts';
import { cachedChoices } from '../model/tune.ts';
import { tuningStore } from '../model/tuning-cache.ts';

/** What was seen to be right for a network; others are its kernels once it has been trained. */
const seen = new WeakMap<ModelState, KernelChoices>();

/**
 * Gives a network what earlier trainings have measured on its GPU, forward; nothing is measured for the sake of a
 * prediction, but seen to be right.
 * @throws DeviceLost
 */
export async function proveKernels(state: ModelState): Promise<void> {
  const { gpu, kernels, precision } = state;
  if (seen.get(state) === kernels) return;
  const store = await tuningStore();
  const isTuned = gpu.adapterClass !== 'hardware' || kernels.tuned;
  const choices = isTuned ? kernels : { ...kernels, tuned: forward(await cachedChoices(gpu, store)) };
  const warn = (message: string): void => console.warn(message);
  state.kernels = await proved(gpu, choices, precision, { store, warn });
  seen.set(state, state.kernels);
}

const forward = (tuned: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(tuned).filter(([key]) => key.startsWith('forward ')));
