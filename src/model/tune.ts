/**
 * Chooses kernels by measuring them on the device: for each pass of a plan every kernel that the device can run is
 * first checked against the table's, then timed, and taken only where it gains. Choices are plain data: they go
 * into the limits that plans are made for, and are kept in a cache for the next time.
 */
import * as v from 'valibot';
import { Aborted, DeviceLost } from '../errors.ts';
import type { KernelChoices } from '../gpu/choices.ts';
import type { Gpu } from '../gpu/device.ts';
import { isMatrixKernel, operandTolerance } from '../gpu/matrix-units.ts';
import {
  hasChoice,
  kernelsOf,
  runsOn,
  standardKernel,
  type ConvPass,
  type CountedPass,
} from '../gpu/passes.ts';
import type { Precision } from '../gpu/precision.ts';
import { assertOptions } from '../options.ts';
import { callback, list, signal, withParts } from '../schema.ts';
import { budgetSchema } from './budget.ts';
import { benchPass, ClockTooCoarse, type PassBench } from './pass-bench.ts';
import { toldOfBroken, trialName, Trials } from './trials.ts';
import { readCache, usable, writeCache, type TuningStore } from './tuning-cache.ts';

/** How kernels are measured. */
export interface TuningOptions {
  /** Where choices are kept. Default: nowhere. */
  readonly store?: TuningStore | undefined;
  /** Looked at between passes; the call then throws `Aborted`. */
  readonly signal?: AbortSignal | undefined;
  /** What the user should know, such as a damaged cache. */
  readonly warn?: (message: string) => void;
  /** Called before each pass that is measured, with those that were done and those that are not in the cache. */
  readonly onPass?: (done: number, passes: number) => void;
  /** Milliseconds after which no further pass is begun. Default 60 000. */
  readonly budgetMs?: number;
  /** Bytes that a pass may take on the GPU while it is measured. Default: as much as suffices, up to 512 MiB. */
  readonly memoryBudget?: number | undefined;
  /** What other kernels are held against, and serves where none gains. Default: the adapter's table. */
  readonly table?: KernelChoices | undefined;
  /** Names of the kernels to try. Default: all that the device can run. */
  readonly candidates?: (pass: ConvPass) => readonly string[];
  /** Runs the kernels of a pass; for tests. */
  readonly bench?: (gpu: Gpu, pass: ConvPass, memoryBudget?: number) => PassBench;
}

const choicesGiven = withParts('a choice of kernels', 'conv3', 'conv3Weights');
const milliseconds = 'a number of milliseconds from 0 on';
const tuningEntries = {
  store: v.optional(withParts('a store with save and load, such as folderCache()', 'save', 'load')),
  signal,
  warn: callback,
  onPass: callback,
  budgetMs: v.optional(v.pipe(v.number(milliseconds), v.minValue(0, milliseconds))),
  memoryBudget: v.optional(budgetSchema),
  table: v.optional(choicesGiven),
  candidates: callback,
  bench: callback,
} satisfies Record<keyof TuningOptions, unknown>;
const tunedEntries = {
  gpu: withParts('a Gpu', 'device', 'limits'),
  passes: list('the passes of a plan'),
};

/** How the kernels of one pass compare on the device. */
export interface Measurement {
  /** See `passKey`. */
  readonly key: string;
  /** What is used: the table's kernel unless another gains enough. */
  readonly kernel: string;
  /** The table's kernel. */
  readonly standard: string;
  /** Milliseconds of the kernel that is used, and of the table's. */
  readonly ms: number;
  /** Milliseconds of the table's kernel. */
  readonly standardMs: number;
  /** Others that gain enough, the fastest first: the next to serve where the one above is seen to be wrong. */
  readonly next: readonly string[];
  /** Kernels that gave other numbers or did not run. */
  readonly rejected: readonly string[];
}

/** Which kernels a device runs fastest. */
export interface Tuning {
  /** For `KernelChoices.tuned`: kernels by key, where they are not the table's. */
  readonly tuned: Readonly<Record<string, string>>;
  /** Each pass that was measured just now. */
  readonly measured: readonly Measurement[];
  /** Passes that were not measured; where it was for want of time, they keep the table's kernel, next time as well. */
  readonly left: number;
}

/** A kernel is taken if its time is at most this fraction of that of the table's. */
const worthwhile = 0.95;
/** Largest ‖a − b‖ / ‖b‖ between two kernels' results; stored volumes of float16 are rounded to 2⁻¹¹. */
const tolerance = { f32: 1e-4, f16: 1e-3 };
export const toleranceOf = (kernel: string, precision: Precision): number =>
  Math.max(tolerance[precision], isMatrixKernel(kernel) ? operandTolerance : 0);

/** A pass that takes longer than this is left to the table: trying all kernels would take too long. */
const longMs = 500;
/** Of which those on matrix units push none of the others out. */
const mostCandidates = 24;
const defaultBudgetMs = 60_000;

/**
 * Kernels for the passes of a plan for which the device has several, from the cache or measured; those with the most work
 * first. What is chosen once
 * stays, so that trainings repeat: remove the cache to measure again.
 * @throws Aborted if the signal fires; what was measured until then is cached
 */
export async function tune(
  gpu: Gpu,
  passes: readonly CountedPass[],
  options: TuningOptions = {},
): Promise<Tuning> {
  assertOptions('tune', tunedEntries, { gpu, passes });
  assertOptions('tune', tuningEntries, options);
  const { store, warn = () => undefined, budgetMs = defaultBudgetMs, table = gpu.limits.kernels } = options;
  const standardOf = (pass: ConvPass): string => standardKernel(table, pass);
  const cached = await readCache(store, gpu, warn);
  const known = new Map(Object.entries(usable(cached.choices, gpu)));
  const trials = new Trials(gpu, store, cached);
  const fresh = passes.filter((pass) => hasChoice(pass, gpu.abilities) && !known.has(pass.key));
  const measured: Measurement[] = [];
  /** Passes that could not be measured this time, which says nothing of the next. */
  const failed = new Set<CountedPass>();
  const started = performance.now();
  if (fresh.length > 0) for (const name of cached.broken) warn(toldOfBroken(name));
  try {
    for (const [done, pass] of fresh.entries()) {
      if (performance.now() - started >= budgetMs) break;
      options.onPass?.(done, fresh.length);
      try {
        measured.push(await measure(gpu, pass, standardOf(pass), trials, options));
      } catch (error) {
        if (error instanceof Aborted) throw error;
        if (await gpu.isLost()) throw gpu.lossError();
        const isCoarse = error instanceof ClockTooCoarse;
        for (const one of isCoarse ? fresh.slice(done) : [pass]) failed.add(one);
        if (isCoarse) {
          warn(`kernels are not measured, and the default ones are used: ${error.message}`);
          break;
        }
        warn(`no kernels were measured for ${pass.key}: ${(error as Error).message}`);
      }
    }
    for (const pass of fresh) if (!failed.has(pass)) known.set(pass.key, standardOf(pass));
  } finally {
    for (const { key, kernel } of measured) known.set(key, kernel);
    const behind = measured.filter(({ next }) => next.length > 0).map(({ key, next }) => [key, next]);
    const next = Object.fromEntries(behind) as Record<string, readonly string[]>;
    if (fresh.length > 0) await writeCache(store, gpu, { choices: Object.fromEntries(known), next }, warn);
  }
  const used = passes.filter((pass) => known.has(pass.key) && known.get(pass.key) !== standardOf(pass));
  return {
    tuned: Object.fromEntries(used.map(({ key }) => [key, known.get(key)!])),
    measured,
    left: fresh.length - measured.length,
  };
}

/** What the cache holds for a device and it can run, without measuring; nothing where there is no cache. */
export async function cachedChoices(
  gpu: Gpu,
  store: TuningStore | undefined,
  warn: (message: string) => void = () => undefined,
): Promise<Readonly<Record<string, string>>> {
  const { choices } = await readCache(store, gpu, warn);
  return usable(choices, gpu);
}

async function measure(
  gpu: Gpu,
  pass: CountedPass,
  standard: string,
  trials: Trials,
  {
    bench = benchPass,
    candidates: named = (one) => kernelsOf(one, gpu.matrixUnits),
    memoryBudget,
    signal,
  }: TuningOptions,
): Promise<Measurement> {
  const rejected: string[] = [];
  const stopIfAsked = (): void => {
    if (signal?.aborted) throw new Aborted('training was stopped while it chose its kernels');
  };
  stopIfAsked();
  const under = bench(gpu, pass, memoryBudget);
  try {
    const { output: expected, ms: standardMs } = await tried(under, standard, Infinity, () => true);
    const gaining: { readonly name: string; readonly ms: number }[] = [];
    const close = (name: string) => (output: Parts) =>
      agree(output, expected, toleranceOf(name, pass.precision));
    const nameOf = (kernel: string) => trialName(pass, kernel, gpu.storageFormat(pass.precision));
    const mayBeTried = (name: string) => name !== standard && !trials.isRisky(nameOf(name));
    const runnable = named(pass).filter((name) => mayBeTried(name) && runsOn(name, gpu.abilities, pass));
    const plainer = runnable.filter((name) => !isMatrixKernel(name));
    const onMatrices = runnable.filter(isMatrixKernel).slice(0, Math.max(0, mostCandidates - plainer.length));
    const candidates = [...onMatrices, ...plainer];
    // Those on matrix units, which drivers are new to, one after the other: one that ends the process is then known.
    const together = candidates.filter((name) => !isMatrixKernel(name) || trials.hasSurvived(nameOf(name)));
    if (standardMs <= longMs) await under.compile(together);
    for (const name of standardMs <= longMs ? candidates : []) {
      stopIfAsked();
      try {
        const { ms } = await trials.run(nameOf(name), () => tried(under, name, standardMs, close(name)));
        if (ms <= worthwhile * standardMs) gaining.push({ name, ms });
      } catch (error) {
        if (error instanceof DeviceLost || error instanceof ClockTooCoarse) throw error;
        rejected.push(name); // it does not compile here, does not fit the memory, or computes something else
      }
    }
    const [best, ...others] = gaining.sort((a, b) => a.ms - b.ms);
    const found = { key: pass.key, standard, rejected, next: [] };
    if (!best) return { ...found, kernel: standard, ms: standardMs, standardMs };
    // A gain must show twice: other work may have disturbed the first measurement of the table's kernel.
    const { ms: standardAgain } = await tried(under, standard, Infinity, close(standard));
    const { ms: again } = await tried(under, best.name, standardAgain, close(best.name));
    const least = { ms: Math.min(best.ms, again), standardMs: Math.min(standardMs, standardAgain) };
    if (again > worthwhile * standardAgain)
      return { ...found, kernel: standard, ...least, ms: least.standardMs };
    return { ...found, kernel: best.name, ...least, next: others.map(({ name }) => name) };
  } finally {
    under.dispose();
  }
}

/** Result and time of a kernel, roughly if it takes more than twice `enough`. Throws if `right` says no. */
async function tried(bench: PassBench, kernel: string, enough: number, right: (output: Parts) => boolean) {
  const trial = await bench.open(kernel);
  try {
    const output = await trial.output();
    if (!right(output)) throw new Error(`${kernel} gives other numbers`);
    return { output, ms: await trial.time(enough) };
  } finally {
    trial.dispose();
  }
}

/** A result, of which each part is compared by itself: few numbers would pass among many others. */
type Parts = readonly Float32Array[];

/** Whether each part is as far from the one expected as `tolerance` says, at most. */
export const agree = (found: Parts, expected: Parts, tolerance: number): boolean =>
  found.length === expected.length && found.every((part, i) => distance(part, expected[i]!) <= tolerance);

/** ‖a − b‖ / ‖b‖; NaN where something is not a number. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return NaN;
  let [difference, norm] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}
