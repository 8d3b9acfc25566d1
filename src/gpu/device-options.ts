/** Where networks run, and in how much memory: options of every call that opens one. */
import * as v from 'valibot';
import { flag, limit } from '../schema.ts';
import { deviceSchema } from './device.ts';
import { limitsSchema, type PlanLimits } from './plan.ts';
import { precisionSchema, type Precision } from './precision.ts';

/** Where a model runs, and in how much memory. */
export interface DeviceOptions {
  /** A device of the caller's: used as it is, never destroyed. */
  readonly device?: GPUDevice;
  /** Lower limits than the device's, for tests and shared machines. */
  readonly limits?: Partial<PlanLimits>;
  /**
   * Bytes that a plan may take on the GPU. Default: four fifths of the device's memory where it tells, else 4 GiB, on
   * software adapters 8 GiB.
   */
  readonly memoryBudget?: number;
  /**
   * How volumes are stored: `f16` takes half the memory, natively or packed. Arithmetic, weights, statistics and
   * losses are float32 either way. Default `f32`.
   */
  readonly precision?: Precision;
  /**
   * Matrix units, which multiply in float16 and add in float32, may do convolutions where that is faster. By default
   * those of `precision: 'f16'`, whose volumes are float16 anyhow, where the adapter offers them. `false`: none. `true`:
   * also in `f32`, where operands are rounded to float16 as they are read (relative error 2⁻¹¹); in Node this switches
   * on what Dawn calls unsafe APIs, without which it offers no matrix units; a `device` of the caller's does not tell
   * their sizes there, and goes without. An experimental feature of WebGPU.
   */
  readonly matrixUnits?: boolean;
}

/** Those that reach a worker, where the device is its own. */
export const sharedDeviceEntries = {
  limits: v.optional(v.partial(limitsSchema)),
  memoryBudget: v.optional(limit('a number of bytes above 0, such as 4 * 2 ** 30')),
  precision: v.optional(precisionSchema),
  matrixUnits: v.optional(flag),
};

export const deviceEntries = {
  ...sharedDeviceEntries,
  device: v.optional(deviceSchema),
} satisfies Record<keyof DeviceOptions, unknown>;
