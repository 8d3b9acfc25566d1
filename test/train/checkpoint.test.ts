/** Checkpoints as files: damage is told, and the one before is taken; nothing but named errors comes out. */
import { describe, expect, test } from 'vitest';
import { previousName } from '../../src/files/store.ts';
import { random } from '../../src/data/random.ts';
import { UNet3DError } from '../../src/errors.ts';
import { kernelChoices } from '../../src/gpu/choices.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { initialValues, layoutParameters } from '../../src/model/parameters.ts';
import type { ModelState } from '../../src/model/state.ts';
import { bestModel, lastModel } from '../../src/train/best-model.ts';
import { checkpointName, loadCheckpoint, progressOf, writeCheckpoint } from '../../src/train/checkpoint.ts';
import { headerOf, mutatedSafetensors, withHeader } from '../../scripts/fuzz/mutations.ts';
import { writeHashed } from '../../src/weights/content-hash.ts';
import { namedTensors } from '../../src/weights/named-tensors.ts';
import { readSafetensors } from '../../src/weights/safetensors.ts';
import { memory } from '../support/training.ts';

const config = completeConfig({ inChannels: 1, classes: 2, features: [2, 3], norm: 'batch' });
const layout = layoutParameters(config);
const weights = {
  parameters: initialValues(layout.parameters, layout.parameterWords, 1),
  statistics: initialValues(layout.statistics, layout.statisticsWords, 1),
};
const held: Record<string, Float32Array> = {
  'optimizer.first': weights.parameters,
  'optimizer.second': weights.parameters,
  lossScale: new Float32Array([1, 0]),
};
/** What a checkpoint is made from, without a device. */
const state = {
  layout,
  precision: 'f32',
  kernels: kernelChoices.hardware,
  readWeights: () => Promise.resolve(weights),
  read: (name: string) => Promise.resolve(held[name]),
} as unknown as ModelState;

const identity = JSON.stringify({ config, epochs: 3 });
const row = {
  epoch: 0,
  loss: 0.5,
  validationLoss: 0.6,
  validationDice: [1, NaN],
  smoothedDice: NaN,
  learningRate: 0.01,
  seconds: 1,
};
const write = (step: number) =>
  writeCheckpoint(state, {
    identity,
    run: 'r',
    coarserTruth: 'nearest',
    progress: {
      step,
      history: [row],
      epochLosses: [0.4],
      seconds: 2,
      best: { epoch: 0, dice: NaN },
      applied: step,
      skipped: 0,
    },
    best: { epoch: 0, dice: NaN, weights },
    averaged: true,
    patches: false,
  });

/** The newest file, and the one before it; what is loaded, with the warnings. */
async function load(newest: Uint8Array, before?: Uint8Array) {
  const store = memory();
  store.files.set(checkpointName, newest);
  if (before) store.files.set(previousName(checkpointName), before);
  const warnings: string[] = [];
  const checkpoint = await loadCheckpoint(store, state, identity, (message) => warnings.push(message));
  return { checkpoint: checkpoint!, warnings };
}

const newest = await write(8);
const before = await write(4);

/** Without a hash, as older versions wrote them, and with a change of the metadata. */
function older(change: Record<string, string>): Uint8Array {
  const { header, data } = headerOf(newest);
  const metadata = { ...header.__metadata__, 'unet3d-gpu checkpoint': '3', ...change };
  return withHeader({ ...header, __metadata__: metadata }, data);
}

/** Of this version, with a change of the metadata under a hash that fits. */
function current(change: Record<string, string>): Promise<Uint8Array> {
  const { tensors, metadata } = readSafetensors(newest, 'checkpoint');
  return writeHashed({ tensors, metadata: { ...metadata, ...change } });
}
const unknown = await current({ coarserTruth: '"last"' });

describe('checkpoints', () => {
  test('come back as they were written, also without a hash', async () => {
    for (const file of [newest, older({})]) {
      const { checkpoint, warnings } = await load(file, before);
      expect(warnings).toEqual([]);
      expect(checkpoint).toMatchObject({ identity, run: 'r', kernels: kernelChoices.hardware, weights });
      expect(checkpoint.coarserTruth).toBe(file === newest ? 'nearest' : 'first');
      expect(checkpoint.progress).toMatchObject({ step: 8, history: [row], best: { dice: NaN } });
      expect(progressOf(file)).toEqual(checkpoint.progress);
    }
  });

  const flipped = newest.slice();
  flipped[flipped.length - 9]! ^= 4;
  const progress = (change: object) =>
    older({ progress: JSON.stringify({ ...progressOf(newest), ...change }) });
  const broken: [string, Uint8Array, RegExp][] = [
    ['a flipped bit', flipped, /checkpoint\.safetensors is damaged: its content is not that of its hash/],
    ['half a file', newest.slice(0, newest.length >> 1), /checkpoint\.safetensors is not a readable/],
    ['broken progress', older({ progress: '{"step": 1' }), /in its progress, it is not valid JSON/],
    ['progress of another kind', progress({ step: -1 }), /step is -1; expected a whole number from 0 on/],
    [
      'a best epoch that is none',
      progress({ best: { epoch: 7, dice: 1 } }),
      /best\.epoch is 7; expected one/,
    ],
    [
      'epochs out of order',
      progress({ history: [{ ...row, epoch: 1 }] }),
      /history\[0\]\.epoch is 1; expected 0/,
    ],
    ['an unknown truth', unknown, /in its coarserTruth, it is "last"; expected/],
    ['broken kernels', older({ kernels: '{}' }), /in its kernels, conv3 is missing/],
  ];
  test.each(broken)('%s: told, and the one before is taken', async (_, file, message) => {
    const { checkpoint, warnings } = await load(file, before);
    expect(checkpoint.progress.step).toBe(4);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(message);
    expect(warnings[0]).toMatch(/; the one before it is used, of step 4$/);
    await expect(load(file)).rejects.toThrow(/there is none before it: start anew/);
    await expect(load(file, file)).rejects.toThrow(
      /and of the one before it: checkpoint\.safetensors\.previous/,
    );
  });

  test('of a network give models of that network alone', async () => {
    const fileOf = ({ parameters, statistics }: typeof layout, size: number): Promise<Uint8Array> => {
      const named = [parameters, statistics].flatMap((entries) => [
        ...namedTensors(entries, new Float32Array(size)),
      ]);
      return writeHashed({ tensors: new Map(named), metadata: {} });
    };
    const own = await fileOf(layout, layout.parameterWords);
    for (const made of [await lastModel(newest, own), await bestModel(newest, own)])
      expect(readSafetensors(made!).tensors).toEqual(
        new Map([
          ...namedTensors(layout.parameters, weights.parameters),
          ...namedTensors(layout.statistics, weights.statistics),
        ]),
      );
    for (const other of [{ features: [2, 4] }, { features: [2, 3, 4] }, { classes: 3 }]) {
      const their = layoutParameters(completeConfig({ ...config, ...other }));
      const model = await fileOf(their, their.parameterWords);
      expect(await lastModel(newest, model)).toBeUndefined();
      expect(await bestModel(newest, model)).toBeUndefined();
    }
  });

  test('of another training or a newer version: refused, whatever lies before it', async () => {
    const other = older({ identity: identity.replace('3', '4') });
    await expect(load(other, before)).rejects.toThrow(/of another training: epochs was|of another training/);
    const newer = older({ 'unet3d-gpu checkpoint': '9' });
    await expect(load(newer, before)).rejects.toThrow(/has version 9; this package reads/);
  });

  test('damaged in any way: a value or a named refusal', async () => {
    for (let seed = 0; seed < 400; seed++) {
      const error = await load(
        await mutatedSafetensors(newest, random(seed, 'checkpoint')),
        seed % 3 ? undefined : before,
      ).then(
        () => undefined,
        (problem: unknown) => problem,
      );
      if (error !== undefined) expect(error, `seed ${seed}`).toBeInstanceOf(UNet3DError);
    }
  });
});
