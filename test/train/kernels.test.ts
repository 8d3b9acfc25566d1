/** The kernels that trainings and predictions run: kept by all ranks, and what is said of matrix units that stay idle. */
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Ranks } from '../../src/distributed/ranks.ts';
import { kernelChoices, type AdapterClass, type KernelChoices } from '../../src/gpu/choices.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import { passKey } from '../../src/gpu/passes.ts';
import { proveKernels } from '../../src/infer/kernels.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { ModelState } from '../../src/model/state.ts';
import { setTuningStore, writeCache } from '../../src/model/tuning-cache.ts';
import type { Checkpoint } from '../../src/train/checkpoint.ts';
import type { TrainingEvent } from '../../src/train/events.ts';
import { chooseKernels, type KernelOptions } from '../../src/train/kernels.ts';
import type { SessionOptions } from '../../src/train/session.ts';
import { memory } from '../support/training.ts';

const pass = { kind: 'forward', channelsOut: 4, grid: [8, 8, 8], precision: 'f32' } as const;
const key = passKey({ ...pass, inputs: [{ channels: 4, norm: false }] });
const onMatrices = { [key]: 'matrix 16x16x16, 16' };

let store = memory();
beforeEach(() => {
  store = memory();
  setTuningStore(() => Promise.resolve(store));
  onTestFinished(() => setTuningStore(() => Promise.resolve(undefined)));
});

let devices = 0;
/** A network on a device on which all kernels are known to be right. */
async function network(adapterClass: AdapterClass, matrixWish?: boolean): Promise<ModelState> {
  const kernels = kernelChoices[adapterClass];
  const limits = {
    maxComputeWorkgroupStorageSize: 65536,
    maxComputeInvocationsPerWorkgroup: 1024,
    maxComputeWorkgroupSizeX: 1024,
  };
  const units = { shapes: [{ m: 16, n: 16, k: 16 }], subgroup: 32, precisions: ['f16', 'f32'] };
  const gpu = {
    identity: `made up ${devices++}`,
    adapterClass,
    matrixWish,
    limits: { kernels },
    abilities: { limits, matrixUnits: matrixWish === false ? undefined : units },
    storageFormat: () => 'f32',
  } as unknown as Gpu;
  const names = [
    'forward channels f32',
    'forward matrix 16x16x16, 16 f32',
    'forward matrix 16x16x16, 16 f32 with statistics',
    'sums parallel f32, statistics joined',
  ];
  const warn = (message: string): void => expect.fail(message);
  await writeCache(store, gpu, { proofs: Object.fromEntries(names.map((name) => [name, true])) }, warn);
  return { gpu, kernels, precision: 'f32' } as unknown as ModelState;
}

describe('a training', () => {
  async function chosen(state: ModelState, options: Partial<KernelOptions>) {
    const warnings: string[] = [];
    const emit = (event: TrainingEvent): void =>
      void (event.type === 'warning' && warnings.push(event.message));
    const given = { tune: undefined, found: undefined, ...options };
    const kernels = await chooseKernels(state, {} as SessionOptions, given, emit);
    return { kernels, warnings };
  }

  test('of several ranks runs the kernels of the first, whatever JSON makes of a number without end', async () => {
    const done = () => Promise.resolve();
    const ranks: Ranks = { rank: 0, size: 1, sum: done, broadcast: done };
    const state = await network('hardware');
    const { kernels } = await chosen(state, { ranks, tune: false });
    expect(kernels).toEqual(kernelChoices.hardware);
    expect(kernels.workgroups).toBe(Infinity);
  });

  const found = (tuned: Record<string, string>): Checkpoint =>
    ({ kernels: { ...kernelChoices.lavapipe, tuned } }) as unknown as Checkpoint;
  test.each([
    ['on a software adapter', 'lavapipe', true, {}, 'add --tune (tune: true)'],
    ['that is not to measure', 'hardware', true, { tune: false }, 'add --tune (tune: true)'],
    ['that goes on without', 'lavapipe', true, { found: found({}) }, 'keeps the kernels that it began with'],
    ['that goes on with them', 'lavapipe', true, { found: found(onMatrices) }, undefined],
    ['that was not asked to use them', 'lavapipe', undefined, {}, undefined],
    ['that is not to use them', 'lavapipe', false, {}, undefined],
  ] as const)('%s', async (_, adapterClass, wish, options, told) => {
    const { warnings } = await chosen(await network(adapterClass, wish), options);
    expect(warnings).toEqual(
      told === undefined ? [] : [expect.stringMatching(/^matrix units were asked for, but no convolution/)],
    );
    if (told !== undefined) expect(warnings[0]).toContain(told);
  });
});

describe('a prediction', () => {
  async function proved(state: ModelState): Promise<{ kernels: KernelChoices; warnings: string[] }> {
    const warned = vi.spyOn(console, 'warn').mockReturnValue();
    await proveKernels(state);
    const warnings = warned.mock.calls.map(String);
    warned.mockRestore();
    return { kernels: state.kernels, warnings };
  }
  const measured = ({ gpu }: ModelState) =>
    writeCache(store, gpu, { choices: onMatrices }, (message) => expect.fail(message));

  test.each([
    ['hardware', undefined, true],
    ['lavapipe', true, true],
    ['lavapipe', undefined, false],
    ['lavapipe', false, false],
  ] as const)('on %s, matrix units %s: uses what was measured: %s', async (adapterClass, wish, used) => {
    const state = await network(adapterClass, wish);
    await measured(state);
    const { kernels, warnings } = await proved(state);
    expect(kernels.tuned).toEqual(used ? onMatrices : undefined);
    expect(warnings).toEqual([]);
  });

  test('says once where matrix units that were asked for stay idle', async () => {
    const first = await network('lavapipe', true);
    const second = { ...first } as ModelState;
    const { kernels, warnings } = await proved(first);
    expect(kernels.tuned).toEqual({});
    expect(warnings).toEqual([expect.stringContaining('predictions measure nothing')]);
    expect((await proved(second)).warnings).toEqual([]);
  });

  test('of a network that was trained here runs the kernels of the training', async () => {
    const state = await network('hardware');
    await measured(state);
    const trained = { ...kernelChoices.hardware };
    state.kernels = trained;
    expect((await proved(state)).kernels).toBe(trained);
  });

  test('of a network that was trained in another precision has kernels of its own', async () => {
    const { gpu } = await network('hardware');
    const state = new ModelState(gpu, completeConfig({ inChannels: 1, classes: 2, features: [4] }));
    await measured(state);
    const trained = { ...kernelChoices.hardware };
    state.precision = 'f16';
    state.kernels = trained;
    state.precision = 'f32';
    expect((await proved(state)).kernels.tuned).toEqual(onMatrices);
    state.precision = 'f16';
    expect(state.kernels).toBe(trained);
  });
});
