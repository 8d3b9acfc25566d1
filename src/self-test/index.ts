/** Whether this package computes rightly on the device at hand. */
import * as v from 'valibot';
import { Aborted } from '../errors.ts';
import { deviceSchema, Gpu } from '../gpu/device.ts';
import { limitsSchema, type PlanLimits } from '../gpu/plan.ts';
import { assertOptions } from '../options.ts';
import { callback, flag, signal } from '../schema.ts';
import type { SelfTestReport } from './report.ts';

/** How the self-test runs. */
export interface SelfTestOptions {
  /** A device of the caller's: used as it is, never destroyed. Default: one is opened, and destroyed at the end. */
  readonly device?: GPUDevice | undefined;
  /** Lower limits than the device's. */
  readonly limits?: Partial<PlanLimits> | undefined;
  /** Whether matrix units are tried: see `DeviceOptions`. */
  readonly matrixUnits?: boolean | undefined;
  /** Looked at between ops; the call then throws `Aborted`. */
  readonly signal?: AbortSignal | undefined;
  /** Called before each part of the test, with its name, those that are done and those that there are. */
  readonly onProgress?: ((part: string, done: number, parts: number) => void) | undefined;
}

const entries = {
  device: v.optional(deviceSchema),
  limits: v.optional(v.partial(limitsSchema)),
  matrixUnits: v.optional(flag),
  signal,
  onProgress: callback,
} satisfies Record<keyof SelfTestOptions, unknown>;

/**
 * Tries the device at hand: every kernel on small volumes of odd sizes against stored answers of float64 loops, five
 * steps of training against PyTorch's losses, twice for the same bits, and how long the main kernels take. What time
 * does not suffice for is named in `left`.
 * @throws InvalidOption, UnsupportedDevice, DeviceLost, Aborted; what is computed wrongly is in the report instead
 * @example
 * ```js
 * const report = await selfTest({ onProgress: (part, done, parts) => console.log(`${done} of ${parts}: ${part}`) });
 * ```
 */
export async function selfTest(options: SelfTestOptions = {}): Promise<SelfTestReport> {
  assertOptions('selfTest', entries, options);
  const { device, limits, matrixUnits, signal, onProgress } = options;
  const stopIfAsked = (): void => {
    if (signal?.aborted) throw new Aborted('the self-test was stopped');
  };
  const { runSelfTest } = await import('./run.ts');
  using gpu = await Gpu.open({ device, limits, matrixUnits });
  return await runSelfTest(gpu, { onProgress, stopIfAsked });
}
