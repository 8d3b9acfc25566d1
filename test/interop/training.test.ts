/** A step of nnU-Net's trainer from one of its checkpoints, momentum included: loss, clipped gradients, weights after it. */
import { expect, test } from 'vitest';
import { nnunetFixture, interopFolder } from '../support/interop.ts';
import { testDevice } from '../support/device.ts';
import { toOurs } from '../../src/interop/mapping.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { nnunetMapping } from '../../src/interop/nnunet/weights.ts';
import { nnunetLoss, nnunetRegionLoss } from '../../src/model/losses.ts';
import { ModelState } from '../../src/model/state.ts';
import { poly, scheduleAt } from '../../src/train/schedules.ts';
import { sgd } from '../../src/train/optimizers.ts';
import { TrainingSession } from '../../src/train/session.ts';
import { flatFrom, namedTensors, type ReadableTensor } from '../../src/weights/named-tensors.ts';
import { readPytorch } from '../../src/weights/pytorch/read.ts';
import { readSafetensors, type NamedTensor } from '../../src/weights/safetensors.ts';

interface Training {
  readonly loss: number;
  readonly gradientNormBeforeClip: number;
  readonly clip: number;
  readonly batchDice: boolean;
  readonly optimizer: {
    readonly learningRate: number;
    readonly momentum: number;
    readonly weightDecay: number;
  };
  readonly input: { readonly shape: readonly number[] };
}

/** The largest difference. */
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);

const entry = (from: unknown, ...keys: (string | number)[]): unknown =>
  keys.reduce<unknown>((value, key) => (value as Map<unknown, unknown>).get(key), from);

for (const name of ['plain-iso', 'plain-regions'])
  test(`nnunet-${name}`, async ({ skip }) => {
    const found = await nnunetFixture(name);
    if (!found) return skip(`${interopFolder} is not there`);
    const { training } = found.fixture as unknown as { training: Training };
    const { config, labels, folds } = await openNnunet(found.files);
    const state = new ModelState(await testDevice(), config, 0);
    const { parameters, parameterWords } = state.layout;
    const mapping = nnunetMapping(config);
    const file = { name: 'the fixture', describedBy: 'fixture.json' };

    /** Tensors under nnU-Net's names as ours, flat. */
    const flat = async (theirs: ReadonlyMap<string, ReadableTensor>) => {
      const ours = new Map<string, NamedTensor>();
      for (const [key, tensor] of toOurs(mapping, theirs, parameters, file))
        ours.set(key, { shape: tensor.shape, data: Float32Array.from(await tensor.read()) });
      return flatFrom(parameters, parameterWords, ours);
    };
    const inFile = async (path: string) =>
      new Map(
        [...readSafetensors(await found.bytesAt(path), path).tensors].map(
          ([key, { shape, data }]): [string, ReadableTensor] => [
            key,
            { shape, read: () => Promise.resolve(Float32Array.from(data)) },
          ],
        ),
      );

    const weights = new Map<string, NamedTensor>();
    for (const [key, tensor] of folds[0]!.weights)
      weights.set(key, { shape: tensor.shape, data: Float32Array.from(await tensor.read()) });
    state.write('parameters', flatFrom(parameters, parameterWords, weights));

    // Moments are numbered in the order of the file, aliases left out; a head without gradient has none.
    const checkpoint = await readPytorch(
      found.files.find(({ path }) => path.includes('/fold_0/'))!.source,
      'the checkpoint',
    );
    const moments = new Map<string, ReadableTensor>();
    for (const [index, key] of found.fixture.canonicalNames.entries()) {
      const kept = (entry(checkpoint, 'optimizer_state', 'state') as Map<number, unknown>).get(index);
      const shape = found.fixture.stateDict[key]!;
      const zeros = new Float32Array(shape.reduce((product, n) => product * n, 1));
      const moment = kept ? (entry(kept, 'momentum_buffer') as ReadableTensor | null) : null;
      moments.set(key, moment ?? { shape, read: () => Promise.resolve(zeros) });
    }

    const { clip, optimizer } = training;
    const [batchSize, , d0, d1, d2] = training.input.shape as [number, number, number, number, number];
    const batch = training.batchDice;
    const loss = labels.regions
      ? nnunetRegionLoss(labels.heads, { batch, ignore: labels.ignore !== undefined })
      : nnunetLoss(labels.heads.length, { batch });
    const { beta1, beta2, epsilon, weightDecay } = sgd();
    expect([beta1, weightDecay]).toEqual([optimizer.momentum, optimizer.weightDecay]);
    const { learningRate } = scheduleAt(poly({ learningRate: 0.01, stages: 1000 }), 250, 250_000);
    expect(learningRate).toBeCloseTo(optimizer.learningRate, 12);
    const session = await TrainingSession.create(state, {
      size: [d2, d1, d0],
      batchSize,
      loss,
      optimizer: sgd(),
    });
    state.write('optimizer.first', await flat(moments));
    const cases = {
      image: await found.floatsAt('training/input.f32'),
      label: Uint8Array.from(await found.floatsAt('training/labels.f32'), (value) =>
        value === labels.ignore ? 255 : value,
      ),
    };
    const { result } = await session.step([cases], {
      ...{ learningRate, beta1, beta2, epsilon, weightDecay, maxNorm: clip, applied: 1 },
    });
    const told = await result;
    expect(Math.abs(told.loss - training.loss)).toBeLessThanOrEqual(1e-5);
    expect(Math.abs(told.gradientNorm / training.gradientNormBeforeClip - 1)).toBeLessThanOrEqual(1e-4);

    const gradients = await inFile('training/gradients.safetensors');
    const after = await inFile('training/after.safetensors');
    // Heads without gradient are not listed.
    for (const key of found.fixture.canonicalNames) {
      const shape = found.fixture.stateDict[key]!;
      const zeros = new Float32Array(shape.reduce((product, n) => product * n, 1));
      if (!gradients.has(key)) gradients.set(key, { shape, read: () => Promise.resolve(zeros) });
    }
    const expected = namedTensors(parameters, await flat(gradients));
    for (const [key, { data }] of namedTensors(parameters, await state.read('gradients'))) {
      const told = expected.get(key)!.data;
      const largest = Math.max(...told.map(Math.abs));
      expect(distance(data, told), key).toBeLessThanOrEqual(1e-3 * largest + 1e-6);
    }
    const moved = namedTensors(parameters, await state.read('parameters'));
    for (const [key, { data }] of namedTensors(parameters, await flat(after)))
      expect(distance(moved.get(key)!.data, data), key).toBeLessThanOrEqual(1e-5);
    session.dispose();
    state.dispose();
  });
