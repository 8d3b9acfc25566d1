/** Model files and checkpoints: damaged bytes, headers and metadata that say something else. */
import { kernelChoices } from '../../src/gpu/choices.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import type { ModelState } from '../../src/model/state.ts';
import { checkpointName, loadCheckpoint, progressOf, writeCheckpoint } from '../../src/train/checkpoint.ts';
import { readModel, writeModel } from '../../src/weights/model-file.ts';
import type { Kind } from './harness.ts';
import { mutatedSafetensors } from './mutations.ts';

const config = completeConfig({ inChannels: 1, classes: 2, features: [4, 8] });
const layout = layoutParameters(config);
const parameters = new Float32Array(layout.parameterWords).fill(0.1);
const weights = { parameters, statistics: new Float32Array(layout.statisticsWords).fill(1) };

const model = await writeModel(
  { config, labels: ['background', 'bone'], channels: ['T1'], inputSize: [8, 8, 8] },
  weights,
);

export const models: Kind = {
  name: 'models',
  async read(source) {
    const { weights: found } = await readModel(await mutatedSafetensors(model, source));
    return found.parameters.byteLength;
  },
};

/** What a checkpoint is made from, without a device. */
const state = {
  layout,
  precision: 'f32',
  kernels: kernelChoices.hardware,
  readWeights: () => Promise.resolve(weights),
  read: (name: string) => Promise.resolve(name === 'lossScale' ? new Float32Array([1, 0]) : parameters),
} as unknown as ModelState;
const identity = JSON.stringify({ config, epochs: 3 });
const checkpoint = await writeCheckpoint(state, {
  identity,
  run: 'r',
  coarserTruth: 'nearest',
  progress: { step: 4, history: [], epochLosses: [0.4], seconds: 2, applied: 4, skipped: 0 },
  best: undefined,
  averaged: false,
  patches: false,
});

export const checkpoints: Kind = {
  name: 'checkpoints',
  async read(source) {
    const bytes = await mutatedSafetensors(checkpoint, source);
    const store = {
      save: () => Promise.resolve(),
      load: (name: string) => Promise.resolve(name === checkpointName ? bytes : undefined),
    };
    const found = await loadCheckpoint(store, state, identity, () => undefined);
    return (found?.first.byteLength ?? 0) + progressOf(bytes).step;
  },
};
