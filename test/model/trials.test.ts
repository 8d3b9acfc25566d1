/** Kernels that lose the device or end the process while they are tried: the next time they are left out. */
import { expect, test } from 'vitest';
import { DeviceLost } from '../../src/errors.ts';
import { kernelChoices } from '../../src/gpu/choices.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import { passKey, type ConvPass, type CountedPass } from '../../src/gpu/passes.ts';
import { defaultLimits } from '../../src/gpu/plan.ts';
import { proved } from '../../src/model/ladder.ts';
import type { PassBench } from '../../src/model/pass-bench.ts';
import { tune } from '../../src/model/tune.ts';
import { cacheName, type TuningStore } from '../../src/model/tuning-cache.ts';
import { memory } from '../support/training.ts';

const table = { ...kernelChoices.hardware, conv3: 'voxels', reduction: 'serial' } as const;
const kernels = ['matrix 16x16x16, 32', 'matrix 16x16x16, 16', 'tiled 8x8x8, 8', 'tiled 16x8x4, 8'];
const [matrix, , , tiled] = kernels as [string, string, string, string];

function passOf(channelsOut: number): CountedPass {
  const pass: ConvPass = {
    kind: 'forward',
    inputs: [{ channels: 4, norm: false }],
    channelsOut,
    grid: [8, 8, 8],
    precision: 'f16',
  };
  return { ...pass, key: passKey(pass), flops: 1 };
}

/** A device that one kernel loses, or that is destroyed as this is tried; each is faster than those after it. */
function fragileDevice(fatal?: string, isDestroyed = false) {
  let lost = false;
  const opened: string[] = [];
  const compiled: (readonly string[])[] = [];
  const gpu = {
    device: {},
    limits: { ...defaultLimits, kernels: table },
    abilities: {
      limits: {
        maxComputeWorkgroupStorageSize: 65536,
        maxComputeInvocationsPerWorkgroup: 1024,
        maxComputeWorkgroupSizeX: 1024,
      },
      matrixUnits: { shapes: [{ m: 16, n: 16, k: 16 }], subgroup: 32, precisions: ['f16'] },
    },
    identity: 'made up',
    storageFormat: () => 'packed16',
    isLost: () => Promise.resolve(lost),
    isDestroyed,
    lossError: () => new DeviceLost('the device is lost'),
  } as unknown as Gpu;
  const bench = (): PassBench => ({
    compile: (names) => Promise.resolve(void compiled.push(names)),
    open(kernel) {
      opened.push(kernel);
      if (kernel === fatal) lost = true;
      if (lost) return Promise.reject(new Error('gone'));
      const ms = 1 + kernels.indexOf(kernel);
      return Promise.resolve({
        output: () => Promise.resolve([Float32Array.of(1, 2, 3)]),
        time: () => Promise.resolve(ms === 0 ? 100 : ms),
        dispose: () => undefined,
      });
    },
    dispose: () => undefined,
  });
  const reductions = () => Promise.resolve([Float32Array.of(1)]);
  return { gpu, bench, reductions, opened, compiled };
}

async function tuned(store: TuningStore, device: ReturnType<typeof fragileDevice>, passes = [passOf(4)]) {
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const { gpu, bench } = device;
  const found = await tune(gpu, passes, { store, warn, bench, candidates: () => kernels });
  return { tuned: found.tuned, warnings };
}

/** What is noted in the cache of kernels that are tried. */
async function notes(store: TuningStore): Promise<Record<string, string>> {
  const text = new TextDecoder().decode(await store.load(cacheName));
  const { trying = {} } = JSON.parse(text) as { trying?: Record<string, Record<string, string>> };
  return Object.assign({}, ...Object.values(trying)) as Record<string, string>;
}

test('one that loses the device while kernels are measured is left out from then on, and so is what was chosen before', async () => {
  const store = memory();
  await expect(tuned(store, fragileDevice(tiled))).rejects.toThrow(DeviceLost);
  expect(await notes(store)).toEqual({ [`forward ${tiled} packed16`]: 'nobody' });
  const next = fragileDevice(tiled);
  const found = await tuned(store, next);
  expect(next.opened).not.toContain(tiled);
  expect(found.tuned).toEqual({ [passOf(4).key]: matrix });
  expect(found.warnings).toEqual([
    expect.stringContaining(
      `the kernel 'forward ${tiled} packed16' lost the device, or ended the program twice,`,
    ),
  ]);

  const proving = fragileDevice(tiled);
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const { gpu, bench, reductions } = proving;
  const choices = { ...table, tuned: { [passOf(4).key]: tiled } };
  const serving = await proved(gpu, choices, 'f16', { store, warn, bench, reductions });
  expect(serving.tuned).toEqual({ [passOf(4).key]: kernels[1] }); // the next fastest
  expect(proving.opened).not.toContain(tiled);
  expect(warnings).toEqual(found.warnings);
});

test('one that loses the device while it is compared with the plain one, too', async () => {
  const store = memory();
  const choices = { ...table, tuned: { [passOf(4).key]: tiled } };
  for (const loses of [true, false]) {
    const { gpu, bench, reductions } = fragileDevice(tiled);
    const proving = proved(gpu, choices, 'f16', { store, warn: () => undefined, bench, reductions });
    if (loses) await expect(proving).rejects.toThrow(DeviceLost);
    else expect((await proving).tuned).toEqual({});
  }
});

test('of those on matrix units, one is enough', async () => {
  const store = memory();
  await expect(tuned(store, fragileDevice(matrix))).rejects.toThrow(DeviceLost);
  const next = fragileDevice(matrix);
  const { tuned: found, warnings } = await tuned(store, next);
  expect(next.opened.filter((name) => name.startsWith('matrix'))).toEqual([]);
  expect(found).toEqual({ [passOf(4).key]: 'tiled 8x8x8, 8' });
  expect(warnings).toEqual([expect.stringContaining('others on matrix units are not tried')]);
});

test('a device that is destroyed is no fault of the kernel that was tried then', async () => {
  const store = memory();
  await expect(tuned(store, fragileDevice(tiled, true))).rejects.toThrow(DeviceLost);
  expect(await notes(store)).toEqual({});
});

test.each([
  ['has ended', true, '', true],
  ['has ended, as the one before', true, 'again ', false],
  ['still runs', false, '', true],
  ['still runs, after one that ended', false, 'again ', true],
])('what a process tries that %s', async (_, hasEnded, before, isTried) => {
  const store = memory();
  const users = { own: 'own', hasEnded: (name: string) => name === 'other' && hasEnded };
  const { gpu } = fragileDevice();
  let during: Record<string, string> | undefined;
  const first = { ...store, users: { ...users, own: 'other' } };
  const { bench } = fragileDevice();
  const ending = (): PassBench => ({
    ...bench(),
    async open(kernel) {
      if (kernel !== tiled) return bench().open(kernel);
      during = await notes(store);
      throw new Error('the process ends here');
    },
  });
  await tune(gpu, [passOf(4)], { store: first, bench: ending, candidates: () => [tiled] });
  expect(during).toEqual({ [`forward ${tiled} packed16`]: 'other' });
  expect(await notes(store)).toEqual({});
  const text = new TextDecoder().decode(await store.load(cacheName));
  const left = { ...(JSON.parse(text) as object), devices: {}, trying: {} as Record<string, unknown> };
  for (const device of Object.keys((JSON.parse(text) as { trying: object }).trying))
    left.trying[device] = Object.fromEntries(
      Object.entries(during!).map(([name, user]) => [name, `${before}${user}`]),
    );
  await store.save(cacheName, new TextEncoder().encode(JSON.stringify(left)));
  const next = fragileDevice();
  const { warnings } = await tuned({ ...store, users }, next);
  expect(next.opened.includes(tiled)).toBe(isTried);
  expect(warnings).toHaveLength(isTried ? 0 : 1);
});

test('those on matrix units are compiled one after the other, until they have run', async () => {
  const device = fragileDevice();
  await tuned(memory(), device, [passOf(4), passOf(8)]);
  expect(device.compiled).toEqual([kernels.slice(2), kernels]);
});
