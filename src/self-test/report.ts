/** What a self-test found, as one JSON document to hand on. */
import * as v from 'valibot';
import { finite, flag, numberFrom, object, oneOf, text, type Schema } from '../schema.ts';
import type { KernelRow } from './kernels.ts';
import type { TrainingRow } from './training.ts';

/** How long a convolution took. */
export interface TimingRow {
  /** Such as `forward 16>16 64x64x32 f32`: inputs, outputs, voxels, storage. */
  readonly pass: string;
  /** The kernel that the adapter begins with. */
  readonly kernel: string;
  /** Milliseconds of one run. */
  readonly ms: number;
  /** Billions of floating-point operations per second. */
  readonly gflops: number;
}

/** What `selfTest` gives: plain data, to be pasted into an issue as JSON. */
export interface SelfTestReport {
  /** The layout of this document. */
  readonly 'unet3d-gpu self-test': 1;
  /** Of this package. */
  readonly version: string;
  /** Adapter and driver, the WebGPU implementation, a hash of features and limits. */
  readonly adapter: string;
  /** A GPU, or which program on the CPU. */
  readonly adapterClass: 'hardware' | 'lavapipe' | 'software' | 'swiftshader';
  /** Of WebGPU's optional features, those that the device was opened with. */
  readonly features: readonly string[];
  /** The device's limits by WebGPU's names. */
  readonly limits: Readonly<Record<string, number>>;
  /** Whether all kernels and the training are right and repeat to the bit. */
  readonly right: boolean;
  /** Every op in every way it was computed. */
  readonly kernels: readonly KernelRow[];
  /** Ways of computing an op that time did not suffice for. */
  readonly left: readonly string[];
  /** Five steps of a small network. */
  readonly training: TrainingRow;
  /** Of the main kernels. */
  readonly timings: readonly TimingRow[];
  /** That all of it took. */
  readonly seconds: number;
  /** Of what else was involved, such as Node. */
  readonly versions?: Readonly<Record<string, string>> | undefined;
}

export const reportSchema = object({
  'unet3d-gpu self-test': v.literal(1),
  version: text,
  adapter: text,
  adapterClass: oneOf('hardware', 'lavapipe', 'software', 'swiftshader'),
  features: v.array(text, 'a list of texts'),
  limits: v.record(v.string(), finite(), 'numbers by name'),
  right: flag,
  kernels: v.array(
    object({
      op: text,
      kernels: text,
      storage: oneOf('f32', 'f16', 'packed16'),
      error: v.nullable(numberFrom(0)),
      right: flag,
      problem: v.optional(text),
    }),
    'a list of ops',
  ),
  left: v.array(text, 'a list of texts'),
  training: object({
    losses: v.array(v.nullable(finite()), 'a list of numbers'),
    expected: v.array(finite(), 'a list of numbers'),
    right: flag,
    sameBits: flag,
    problem: v.optional(text),
  }) as unknown as Schema<TrainingRow>,
  timings: v.array(
    object({ pass: text, kernel: text, ms: numberFrom(0), gflops: numberFrom(0) }),
    'a list of times',
  ),
  seconds: numberFrom(0),
  versions: v.optional(v.record(v.string(), text, 'texts by name')),
}) satisfies Schema<SelfTestReport>;
