/** Ranks that share the batches of a step, here within one process: what they come to is what accumulation comes to. */
import { describe, expect, test } from 'vitest';
import { Aborted, NotFinite } from '../../src/errors.ts';
import type { TrainingEvent, TrainingResult } from '../../src/train/events.ts';
import type { BatchSource } from '../../src/train/fit.ts';
import { sgd } from '../../src/train/optimizers.ts';
import { UNet3D, type TrainingOptions } from '../../src/unet3d.ts';
import { readSafetensors } from '../../src/weights/safetensors.ts';
import { testDevice } from '../support/device.ts';
import { ranksInMemory } from '../support/ranks.ts';
import { box, memory } from '../support/training.ts';

const cases = [1, 2, 3, 4].map(box);
/** Four batches to an epoch: a step of three, and one of one, in which all ranks but the first have nothing to do. */
const options: TrainingOptions = {
  epochs: 2,
  batchSize: 1,
  accumulate: 3,
  seed: 5,
  validation: [box(8), box(9), box(10)],
};

async function create(): Promise<UNet3D> {
  const { device } = await testDevice();
  // Enough parameters for several pieces.
  return UNet3D.create({ inChannels: 1, classes: 2, features: [4, 32], norm: 'batch', seed: 3, device });
}

interface Trained {
  readonly result: TrainingResult;
  readonly events: readonly TrainingEvent[];
  readonly weights: Map<string, number[]>;
  readonly bytes: Uint8Array;
}

async function train(
  changes: TrainingOptions,
  source: Parameters<UNet3D['fit']>[0] = cases,
): Promise<Trained> {
  using model = await create();
  const events: TrainingEvent[] = [];
  const result = await model.fit(source, {
    ...options,
    ...changes,
    onEvent(event) {
      events.push(event);
      changes.onEvent?.(event);
    },
  });
  const bytes = await model.save();
  const { tensors } = readSafetensors(bytes, 'the model');
  return {
    result,
    events,
    bytes,
    weights: new Map([...tensors].map(([name, { data }]) => [name, [...data]])),
  };
}

const trainTogether = (
  size: number,
  changes: (rank: number) => TrainingOptions = () => ({}),
): Promise<Trained[]> =>
  Promise.all(ranksInMemory(size).map((ranks, rank) => train({ ...changes(rank), ranks })));

const losses = ({ events }: Trained): number[] =>
  events.flatMap((event) => (event.type === 'step' ? [event.loss] : []));

function expectClose(found: readonly number[], expected: readonly number[]): void {
  expect(found).toHaveLength(expected.length);
  found.forEach((value, i) => expect(Math.abs(value / expected[i]! - 1)).toBeLessThan(1e-6));
}

/** One process by itself, which keeps an average of the weights, too. */
let byItself: Promise<Trained> | undefined;
const trainAlone = (): Promise<Trained> => (byItself ??= train({ ema: { decay: 0.9 } }));

describe.each([2, 3])('%i ranks', (size) => {
  test('come to the losses of accumulation, all with the same weights; again with the same bits', async () => {
    const ema = { decay: 0.9 };
    const alone = await trainAlone();
    const [first, ...others] = await trainTogether(size, () => ({ ema }));
    expectClose(losses(first!), losses(alone));
    expectClose(
      first!.result.history.map(({ validationLoss }) => validationLoss),
      alone.result.history.map(({ validationLoss }) => validationLoss),
    );
    expect(first!.result.history.map(({ validationDice }) => validationDice)).toEqual(
      alone.result.history.map(({ validationDice }) => validationDice),
    );
    const means = alone.weights.get('encoder.0.norm1.running_mean')!;
    first!.weights
      .get('encoder.0.norm1.running_mean')!
      .forEach((mean, i) => expect(mean).toBeCloseTo(means[i]!, 5));
    for (const other of others) expect(other.bytes).toEqual(first!.bytes);
    if (size === 3) return;
    const [again] = await trainTogether(size, () => ({ ema }));
    expect(again!.bytes).toEqual(first!.bytes);
  });
});

test('a frozen encoder keeps its bits, running statistics too', async () => {
  const frozen: TrainingOptions = {
    epochs: 1,
    freeze: 'encoder',
    optimizer: sgd({ weightDecay: 0.1 }),
    validation: [],
  };
  using model = await create();
  const { tensors } = readSafetensors(await model.save(), 'the model');
  const [trained] = await trainTogether(2, () => frozen);
  for (const [name, { data }] of tensors)
    if (name.startsWith('encoder.')) expect(trained!.weights.get(name), name).toEqual([...data]);
    else if (name.endsWith('running_mean')) expect(trained!.weights.get(name), name).not.toEqual([...data]);
});

test('one of them that is asked to stop stops all after the same step; one process goes on to the same losses', async () => {
  const alone = await trainAlone(); // averaging changes no loss of a step
  const stores = [memory(), memory()];
  const abort = new AbortController();
  const stopped = await Promise.allSettled(
    ranksInMemory(2).map((ranks, rank) =>
      train({
        ranks,
        checkpoint: stores[rank]!,
        signal: rank === 1 ? abort.signal : new AbortController().signal,
        onEvent: (event) => rank === 1 && event.type === 'step' && event.step === 1 && abort.abort(),
      }),
    ),
  );
  const reasons = stopped.map((one) => (one.status === 'rejected' ? (one.reason as Error) : undefined));
  for (const reason of reasons) expect(reason).toBeInstanceOf(Aborted);
  expect(reasons[0]!.message).toBe(reasons[1]!.message);
  expect(stores[1]!.files.size).toBe(0);

  const resumed = await train({ checkpoint: stores[0]!, resume: true });
  const told = resumed.events.flatMap((event) => (event.type === 'warning' ? [event.message] : []));
  expect(told).toEqual([expect.stringMatching(/^2 ranks computed the checkpoint, and 1 process of now/)]);
  expectClose(
    resumed.result.history.map(({ loss }) => loss),
    alone.result.history.map(({ loss }) => loss),
  );
  // Of two ranks, the second reads what the first has.
  const together = await Promise.all(
    ranksInMemory(2).map((ranks, rank) => train({ ranks, checkpoint: stores[rank]!, resume: true })),
  );
  expect(together[1]!.result.steps).toBe(together[0]!.result.steps);
});

test('a batch that breaks on one rank stops all, which name the same parameter', async () => {
  const broken: BatchSource = {
    size: [12, 10, 8],
    batchSize: 1,
    batchesPerEpoch: 2,
    identity: 'broken',
    batch(_, index) {
      const image = new Float32Array(12 * 10 * 8).map((_, i) => (index === 1 ? NaN : Math.sin(i)));
      return { image, label: new Uint8Array(image.length).map((_, i) => i % 2) };
    },
  };
  const short = { epochs: 1, accumulate: 2, validation: [] };
  const one = await train(short, broken).catch((error: unknown) => error);
  const all = await Promise.allSettled(ranksInMemory(2).map((ranks) => train({ ...short, ranks }, broken)));
  expect(one).toBeInstanceOf(NotFinite);
  for (const each of all)
    expect(each).toMatchObject({ status: 'rejected', reason: { message: (one as Error).message } });
});

test('ranks that would train differently are refused, with what differs', async () => {
  const all = await Promise.allSettled(
    ranksInMemory(3).map((ranks, rank) => train({ ranks, seed: rank === 2 ? 6 : 5 })),
  );
  for (const each of all)
    expect(each).toMatchObject({
      status: 'rejected',
      reason: { message: expect.stringMatching(/data\.seed on rank 0 is 5 and on rank 2 6/) as string },
    });
});
