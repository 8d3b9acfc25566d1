/** Adam, AdamW and SGD against float64 loops over several steps: decay, clipping, broken gradients, stretches. */
import { describe, expect, test } from 'vitest';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import {
  averageStep,
  clipWords,
  optimizerStep,
  stepArray,
  stepWords,
  type OptimizerKind,
} from '../../src/ops/optimizer.ts';
import { globalNorm, optimizerStep as reference } from '../reference/optimizer.ts';
import { Bench, expectClose, expectSameBits, limitsOf, normals } from '../support/run.ts';

interface Case {
  name: string;
  kind: OptimizerKind;
  weightDecay?: number;
  nesterov?: boolean;
  maxNorm?: number;
  /** That the gradients come multiplied by. */
  lossScale?: number;
}

const cases: Case[] = [
  { name: 'Adam', kind: 'adam' },
  { name: 'Adam with weight decay', kind: 'adam', weightDecay: 0.1 },
  { name: 'Adam with clipping', kind: 'adam', maxNorm: 2 },
  { name: 'AdamW', kind: 'adamw', weightDecay: 0.1 },
  { name: 'SGD', kind: 'sgd', nesterov: false },
  { name: 'SGD with Nesterov momentum and weight decay', kind: 'sgd', weightDecay: 0.01 },
  { name: 'SGD with clipping and scaled gradients', kind: 'sgd', maxNorm: 3, lossScale: 8 },
  { name: 'SGD with a bound that is never reached', kind: 'sgd', maxNorm: 1e6 },
];

const length = 520;
const steps = 5;
const initial = normals(length);
const gradients = Array.from({ length: steps }, () => normals(length));

/** Several steps in one plan, each with its own learning rate and gradients. */
async function run(choice: Case, given = gradients, limits: Partial<PlanLimits> = {}) {
  const { kind, weightDecay = 0, nesterov = true, maxNorm = Infinity, lossScale: scale = 1 } = choice;
  using bench = new Bench(limits);
  const { recorder } = bench;
  const parameters = bench.flat('parameters', initial);
  const first = bench.flat('first', new Float64Array(length));
  const second = bench.flat('second', new Float64Array(length));
  const clip = bench.flat('clip', new Float64Array(clipWords));
  const lossScale = bench.flat('lossScale', [scale, 0]);
  const options = (t: number) => ({
    kind,
    learningRate: Math.fround(0.1 / t),
    beta1: Math.fround(0.9),
    beta2: Math.fround(0.999),
    epsilon: 1e-8,
    weightDecay: Math.fround(weightDecay),
    nesterov,
    maxNorm,
  });
  given.forEach((values, index) => {
    const t = index + 1;
    const { beta1, beta2, ...others } = options(t);
    const step = bench.flat(
      `step ${t}`,
      stepArray({
        ...others,
        beta1,
        beta2,
        correction1: 1 - beta1 ** t,
        correction2: Math.sqrt(1 - beta2 ** t),
      }),
    );
    expect(step.bytes).toBeGreaterThanOrEqual(stepWords * 4);
    const tensors = {
      parameters,
      gradients: bench.flat(`gradients ${t}`, values),
      first,
      second,
      step,
      clip,
      lossScale,
    };
    optimizerStep(recorder, `optimizer ${t}`, kind, length, tensors, { nesterov });
  });
  await bench.run();
  return {
    parameters: await bench.readFlat(parameters, length),
    first: await bench.readFlat(first, length),
    second: await bench.readFlat(second, length),
    clip: await bench.readFlat(clip, clipWords),
    options,
    dispatches: recorder.dispatches.length,
  };
}

describe.each(cases)('optimizer: $name', (choice) => {
  test(`${steps} steps`, async () => {
    const result = await run(choice);
    const { lossScale = 1, kind, maxNorm = Infinity } = choice;
    const gradientScale = 1 / lossScale;
    const state = {
      parameters: initial.slice(),
      first: new Float64Array(length),
      second: new Float64Array(length),
    };
    gradients.forEach((values, index) => {
      const scaled = values.map((g) => g * gradientScale);
      reference(state, scaled, index + 1, result.options(index + 1));
    });
    const moved = (parameters: ArrayLike<number>) => initial.map((value, i) => parameters[i]! - value);
    expectClose(moved(result.parameters), moved(state.parameters), 'change of the parameters', 3e-6);
    expectClose(result.first, state.first, 'first moment');
    if (kind !== 'sgd') expectClose(result.second, state.second, 'second moment');
    const norm = globalNorm(gradients.at(-1)) * gradientScale;
    const factor = Math.min(1, maxNorm / (norm + 1e-6)) * gradientScale;
    expectClose(result.clip.slice(0, 2), [factor, norm], 'factor and norm');
    expect([...result.clip.slice(2)]).toEqual([0, 0, lossScale]);
  });

  test.each([NaN, Infinity, -Infinity])('a gradient of %s leaves everything as it was', async (bad) => {
    const broken = gradients[1]!.slice();
    broken[417] = bad;
    const before = await run(choice, gradients.slice(0, 1));
    const after = await run(choice, [gradients[0]!, broken]);
    expectSameBits(after.parameters, before.parameters, 'parameters');
    expectSameBits(after.first, before.first, 'first moment');
    expectSameBits(after.second, before.second, 'second moment');
    expect([...after.clip.slice(2, 4)]).toEqual([1, 1]);
  });
});

test.each(cases)('optimizer: $name in stretches', async (choice) => {
  const limits = { maxBindingBytes: 1024 };
  const cut = await run(choice, gradients, limits);
  const whole = await run(choice, gradients);
  expect(cut.dispatches).toBeGreaterThan(whole.dispatches);
  for (const name of ['parameters', 'first', 'clip'] as const)
    expectClose(cut[name], whole[name], name, 1e-6);
  const broken = gradients[1]!.slice();
  broken[length - 1] = NaN;
  const stopped = await run(choice, [gradients[0]!, broken], limits);
  const before = await run(choice, gradients.slice(0, 1), limits);
  expectSameBits(stopped.parameters, before.parameters, 'parameters behind a broken gradient');
});

const plain = {
  learningRate: 0.1,
  beta1: 0,
  beta2: 0,
  epsilon: 0,
  weightDecay: 0,
  correction1: 1,
  correction2: 1,
  maxNorm: Infinity,
};

test('optimizer: gradients of several batches are averaged for one update', async () => {
  using bench = new Bench();
  const parameters = bench.flat('parameters', initial);
  const zeros = new Float64Array(length);
  const [first, second] = [bench.flat('first', zeros), bench.flat('second', zeros)];
  const accumulated = bench.flat('accumulated', normals(length)); // of the step before
  const clip = bench.flat('clip', new Float64Array(clipWords));
  const lossScale = bench.flat('lossScale', [1, 0]);
  gradients.forEach((values, index) => {
    const tensors = {
      parameters,
      gradients: bench.flat(`gradients ${index}`, values),
      accumulated,
      first,
      second,
      step: bench.flat(`step ${index}`, stepArray(plain, [index, gradients.length])),
      clip,
      lossScale,
    };
    optimizerStep(bench.recorder, `batch ${index}`, 'sgd', length, tensors, { nesterov: false });
  });
  await bench.run();
  const mean = (i: number) => gradients.reduce((sum, values) => sum + values[i]! / gradients.length, 0);
  const moved = (await bench.readFlat(parameters, length)).map((value, i) => value - initial[i]!);
  expectClose(
    moved,
    initial.map((_, i) => -0.1 * mean(i)),
    'change of the parameters',
    3e-6,
  );
});

test('optimizer: an average follows the weights, but not after a step that was left out', async () => {
  const run = async (broken: boolean) => {
    using bench = new Bench({ maxBindingBytes: 1024 });
    const before = normals(length);
    const weights = bench.flat('weights', initial);
    const average = bench.flat('average', before);
    const step = bench.flat('step', stepArray({ ...plain, averaging: 0.25 }));
    const clip = bench.flat('clip', [1, 1, broken ? 1 : 0, broken ? 1 : 0, 1]);
    averageStep(bench.recorder, 'average', length, { weights, average, step, clip });
    await bench.run();
    return { before, after: await bench.readFlat(average, length) };
  };
  const { before, after } = await run(false);
  expectClose(
    after,
    before.map((value, i) => 0.75 * value + 0.25 * initial[i]!),
    'average',
    1e-6,
  );
  const left = await run(true);
  expectSameBits(left.after, Float32Array.from(left.before), 'average behind a broken step');
});

test('optimizer: where a broken step halts, the good ones after it change nothing', async () => {
  const run = async (halts: boolean) => {
    using bench = new Bench();
    const parameters = bench.flat('parameters', initial);
    const zeros = new Float64Array(length);
    const [first, second] = [bench.flat('first', zeros), bench.flat('second', zeros)];
    const clip = bench.flat('clip', new Float64Array(clipWords));
    const lossScale = bench.flat('lossScale', [1, 0]);
    const step = bench.flat('step', stepArray({ ...plain, halts }));
    const broken = gradients[0]!.slice();
    broken[3] = NaN;
    for (const [index, values] of [broken, gradients[1]!].entries()) {
      const given = bench.flat(`gradients ${index}`, values);
      const tensors = { parameters, gradients: given, first, second, step, clip, lossScale };
      optimizerStep(bench.recorder, `step ${index}`, 'sgd', length, tensors);
    }
    await bench.run();
    return bench.readFlat(parameters, length);
  };
  expectSameBits(await run(true), Float32Array.from(initial), 'parameters');
  expect([...(await run(false))]).not.toEqual([...Float32Array.from(initial)]);
});

test('optimizer: in float16 the loss scale is halved by a broken gradient and doubled after 2000 good ones', async () => {
  const run = async (values: ArrayLike<number>, before: [scale: number, streak: number]) => {
    using bench = new Bench({}, 'f16');
    const lossScale = bench.flat('lossScale', before);
    const zeros = new Float64Array(length);
    const tensors = {
      parameters: bench.flat('parameters', initial),
      gradients: bench.flat('gradients', values),
      first: bench.flat('first', zeros),
      second: bench.flat('second', zeros),
      step: bench.flat('step', stepArray(plain)),
      clip: bench.flat('clip', new Float64Array(clipWords)),
      lossScale,
    };
    optimizerStep(bench.recorder, 'step', 'sgd', length, tensors);
    await bench.run();
    return [...(await bench.readFlat(lossScale, 2))];
  };
  const broken = gradients[0]!.slice();
  broken[3] = Infinity;
  expect(await run(broken, [65536, 1234])).toEqual([32768, 0]);
  expect(await run(broken, [1, 5])).toEqual([1, 0]);
  expect(await run(gradients[0]!, [32768, 1234])).toEqual([32768, 1235]);
  expect(await run(gradients[0]!, [32768, 1999])).toEqual([65536, 0]);
});

test('optimizer: more parameters than one binding or one axis of the grid holds', () => {
  const recorder = new Recorder(limitsOf());
  const words = 40_000_000; // 153 MiB, 128 MiB of which could be bound
  const flat = recorder.flat('flat', words);
  const small = recorder.flat('small', stepWords);
  const tensors = {
    parameters: flat,
    gradients: flat,
    first: flat,
    second: flat,
    step: small,
    clip: small,
    lossScale: small,
  };
  optimizerStep(recorder, 'op', 'adam', words, tensors);
  const updated = recorder.dispatches
    .filter(({ shader }) => shader === 'optimizer/adam')
    .map(({ params }) => params['length']!);
  expect(updated.length).toBeGreaterThan(1);
  expect(updated.reduce((sum, count) => sum + count, 0)).toBe(words);
});
