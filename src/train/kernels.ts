/** Which kernels a training runs with: those of its checkpoint, tuned ones, or the adapter's table. */
import { assertSame, valueOfFirst, type Ranks } from '../distributed/ranks.ts';
import { UNet3DError } from '../errors.ts';
import { choicesSchema, type KernelChoices } from '../gpu/choices.ts';
import { idleMatrixUnits, unavailable } from '../gpu/passes.ts';
import { readJson } from '../json.ts';
import type { ModelState } from '../model/state.ts';
import { proved } from '../model/ladder.ts';
import { tune } from '../model/tune.ts';
import { tuningStore } from '../model/tuning-cache.ts';
import { some } from '../listed.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { TrainingEvent } from './events.ts';
import { planSession, type SessionOptions } from './session.ts';

export interface KernelOptions {
  /** Measure. Default: on GPUs, not on software adapters. */
  readonly tune?: boolean | undefined;
  /** What the training goes on from. */
  readonly found: Checkpoint | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Those that compute with the same kernels: rank 0 chooses. */
  readonly ranks?: Ranks | undefined;
}

/** As `chosen`, without those that the device computes wrongly. @throws Aborted, DeviceLost */
export async function chooseKernels(
  state: ModelState,
  session: SessionOptions,
  options: KernelOptions,
  emit: (event: TrainingEvent) => void,
): Promise<KernelChoices> {
  const { gpu, precision } = state;
  const { ranks, found, tune: wanted = gpu.adapterClass === 'hardware' } = options;
  const warn = (message: string): void => emit({ type: 'warning', message });
  const store = await tuningStore();
  const prove = (choices: KernelChoices) => proved(gpu, choices, precision, { store, warn });
  // Before anything is measured: native float16 that is wrong is packed from here on.
  const table = await prove(gpu.limits.kernels);
  const ofFirst = await valueOfFirst(ranks, async () =>
    JSON.stringify(await prove(await chosen(state, session, { ...options, tune: wanted, table }, emit))),
  );
  const choices = readJson(ofFirst, choicesSchema, (problem) => new UNet3DError(`kernels: ${problem}`));
  const kernels = await prove(unavailable(choices, gpu.abilities).length > 0 ? table : choices);
  await assertSame(
    ranks,
    JSON.stringify(kernels),
    (rank) =>
      `the adapter of rank ${rank} does not run the kernels of rank 0's: give all ranks adapters of one kind, or --no-tune`,
  );
  const why = found
    ? 'a training that goes on keeps the kernels that it began with'
    : wanted
      ? 'none of them was measured to be faster'
      : 'it takes measuring to choose them, which is off (by default on software adapters): add --tune (tune: true)';
  const idle = idleMatrixUnits(gpu, kernels, why);
  if (idle !== undefined) warn(idle);
  return kernels;
}

/**
 * A resumed training keeps its kernels, so that it repeats to the bit; checkpoints that name none were computed with
 * the table's. @throws Aborted if the signal fires while kernels are measured
 */
async function chosen(
  state: ModelState,
  session: SessionOptions,
  { tune: wanted, found, signal, table }: KernelOptions & { readonly table: KernelChoices },
  emit: (event: TrainingEvent) => void,
): Promise<KernelChoices> {
  const { gpu, budget: memoryBudget } = state;
  const warn = (message: string): void => emit({ type: 'warning', message });
  if (found) {
    const stored = found.kernels ?? table;
    const missing = unavailable(stored, gpu.abilities);
    if (missing.length === 0) return stored;
    warn(
      `the checkpoint was computed with kernels that this device or version does not run (${some(missing)}); ` +
        "the adapter's own take their place, and results may differ in the last digits",
    );
    return table;
  }
  if (!wanted) return table;
  const started = performance.now();
  const { passes } = planSession(state, session).plan;
  const onPass = (done: number, count: number): void => emit({ type: 'tuning', done, passes: count });
  const { tuned, measured, left } = await tune(gpu, passes, {
    store: await tuningStore(),
    signal,
    warn,
    onPass,
    memoryBudget,
    table,
  });
  const seconds = (performance.now() - started) / 1000;
  emit({ type: 'tuned', choices: tuned, passes: passes.length, measured: measured.length, left, seconds });
  return { ...table, tuned };
}
