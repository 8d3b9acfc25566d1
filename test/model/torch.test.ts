/**
 * The whole network against PyTorch in float64 (test/fixtures/pytorch.py): loss, every parameter's gradient, running
 * statistics, logits in evaluation, and ten steps of training with Adam and OneCycleLR.
 */
import { expect, test } from 'vitest';
import { toDense, toStored } from '../../src/gpu/layout.ts';
import { Program } from '../../src/gpu/program.ts';
import { copyGrid } from '../../src/data/copy-grid.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { paddedSize } from '../../src/model/sizes.ts';
import { ModelState } from '../../src/model/state.ts';
import { flatFrom, namedTensors } from '../../src/weights/named-tensors.ts';
import { planInference } from '../../src/model/plan.ts';
import type { TrainingEvent } from '../../src/train/events.ts';
import { train } from '../../src/train/train.ts';
import { weightedDice } from '../../src/model/losses.ts';
import { adam } from '../../src/train/optimizers.ts';
import { oneCycle } from '../../src/train/schedules.ts';
import { TrainingSession } from '../../src/train/session.ts';
import fixture from '../fixtures/torch/network.json';
import gradientFixture from '../fixtures/torch/network-gradients.json';
import weightFixture from '../fixtures/torch/network-weights.json';
import { testDevice } from '../support/device.ts';
import { expectClose, relativeError } from '../support/run.ts';
import { bytes, floats, type PackedFloats } from '../support/torch.ts';

const { classes, features } = fixture;
const [x, y, z] = fixture.size as [number, number, number];
const batchSize = 2;
const config = completeConfig({ inChannels: 1, classes, features });
const size = paddedSize(config, [x, y, z]);
const voxels = batchSize * size[0] * size[1] * size[2];
const loss = weightedDice(fixture.diceWeights);

const batch = {
  image: copyGrid(
    new Float32Array(voxels),
    Float32Array.from(floats(fixture.image)),
    batchSize,
    [x, y, z],
    size,
  ),
  label: copyGrid(new Uint8Array(voxels).fill(255), bytes(fixture.labels), batchSize, [x, y, z], size),
};

/** A model with PyTorch's initial weights, under the names of its state_dict. */
async function model(statistics: Record<string, PackedFloats> = {}): Promise<ModelState> {
  const state = new ModelState(await testDevice(), config, 0);
  const packed: Record<string, PackedFloats> = { ...weightFixture, ...statistics };
  const tensors = new Map(
    Object.entries(packed).map(([name, one]) => [
      name,
      { shape: one.shape, data: Float32Array.from(floats(one)) },
    ]),
  );
  const { layout } = state;
  expect([...layout.parameters.keys(), ...layout.statistics.keys()].sort()).toEqual(
    [...tensors.keys()].sort(),
  );
  state.writeWeights({
    parameters: flatFrom(layout.parameters, layout.parameterWords, tensors),
    statistics: flatFrom(layout.statistics, layout.statisticsWords, tensors),
  });
  return state;
}

test('loss, gradients of all parameters, running statistics', async () => {
  const state = await model();
  const before = await state.readWeights();
  const session = await TrainingSession.create(state, { size, batchSize, loss, optimizer: adam() });
  // With a learning rate of zero nothing but the statistics moves.
  const { result } = await session.step([batch], {
    learningRate: 0,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    maxNorm: Infinity,
    applied: 0,
  });
  const { loss: value, outcome } = await result;
  expect(outcome).toBe('applied');
  expectClose([value], [fixture.loss], 'loss', 1e-5);

  const found = namedTensors(state.layout.parameters, await state.read('gradients'));
  const expected: Record<string, PackedFloats> = gradientFixture;
  expect([...found.keys()].sort()).toEqual(Object.keys(expected).sort());
  const norm = (values: ArrayLike<number>) => Math.hypot(...Array.from(values));
  for (const [name, { data }] of found) {
    const reference = floats(expected[name]!);
    if (/conv[12]\.bias$/.test(name)) {
      // A norm follows: the true gradient is zero.
      const weight = floats(expected[name.replace('bias', 'weight')]!);
      const difference = norm(reference.map((d, i) => data[i]! - d));
      expect(difference, name).toBeLessThanOrEqual(1e-5 * norm(weight));
    } else expect(relativeError(data, reference), name).toBeLessThanOrEqual(1e-3);
  }

  const after = await state.readWeights();
  expect(after.parameters).toEqual(before.parameters);
  const statistics: Record<string, PackedFloats> = fixture.statistics;
  for (const [name, { data }] of namedTensors(state.layout.statistics, after.statistics))
    expectClose(data, floats(statistics[name]!), name, 1e-4);
  session.dispose();
  state.dispose();
});

test('logits in evaluation', async () => {
  const state = await model(fixture.statistics);
  const planned = planInference({ config, size, batch: batchSize, limits: state.gpu.limits });
  const program = await Program.create(
    state.gpu,
    planned.plan,
    await state.shared(['parameters', 'statistics']),
  );
  program.write(planned.image, toStored(planned.image, batch.image));
  await program.run();
  const padded = toDense(planned.logits, await program.read(planned.logits));
  const { shape } = fixture.logits;
  const logits = new Float32Array(shape.reduce((product, length) => product * length, 1));
  copyGrid(logits, padded, batchSize * classes, size, [x, y, z]);
  expectClose(logits, floats(fixture.logits), 'logits', 1e-4);
  program.dispose();
  state.dispose();
});

test.each(Object.entries(fixture.traces))(
  'ten steps with Adam and OneCycleLR, %s',
  async (name, expected) => {
    const state = await model();
    const losses: number[] = [];
    const source = {
      size,
      batchSize,
      batchesPerEpoch: expected.length,
      batch: () => batch,
      identity: 'fixture',
    };
    const schedule = oneCycle({
      maxLearningRate: fixture.maxLearningRate,
      cycleMomentum: name === 'momentum cycled',
    });
    const emit = (event: TrainingEvent): void => {
      if (event.type === 'step') losses.push(event.loss);
    };
    await train(state, source, { epochs: 1, loss, optimizer: adam(), schedule }, { emit });
    expect(losses).toHaveLength(10);
    losses.forEach((value, step) => expectClose([value], [expected[step]!], `loss of step ${step}`, 1e-4));
    state.dispose();
  },
);
