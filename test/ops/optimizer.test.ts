/** Adam, AdamW and SGD against float64 loops over several steps: decay, clipping, broken gradients, stretches. */
import { describe, expect, test } from 'vitest';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import {
  averageStep,
  optimizerStep,
  readUpdate,
  stepArray,
  stepWords,
  updateArray,
  updateWords,
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

/**
 * Several steps in one plan, each with its own learning rate and gradients. As far as their host knows, `known` of them
 * were applied before each.
 */
async function run(
  choice: Case,
  given = gradients,
  limits: Partial<PlanLimits> = {},
  known = given.map((_, index) => index),
) {
  const { kind, weightDecay = 0, nesterov = true, maxNorm = Infinity, lossScale: scale = 1 } = choice;
  using bench = new Bench(limits);
  const { recorder } = bench;
  const parameters = bench.flat('parameters', initial);
  const first = bench.flat('first', new Float64Array(length));
  const second = bench.flat('second', new Float64Array(length));
  const update = bench.flat('update', updateArray());
  const results = bench.flat('results', [0]);
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
    const words = stepArray({ ...options(t), applied: known[index]!, mostSkipped: steps });
    expect(words).toHaveLength(stepWords);
    const step = bench.flat(`step ${t}`, words);
    const tensors = {
      parameters,
      gradients: bench.flat(`gradients ${t}`, values),
      first,
      second,
      step,
      update,
      results,
      lossScale,
    };
    optimizerStep(recorder, `optimizer ${t}`, tensors, { kind, length, nesterov });
  });
  await bench.run();
  return {
    parameters: await bench.readFlat(parameters, length),
    first: await bench.readFlat(first, length),
    second: await bench.readFlat(second, length),
    update: readUpdate(await bench.readFlat(update, updateWords)),
    options,
    dispatches: recorder.dispatches.length,
  };
}

describe.each(cases)('optimizer: $name', (choice) => {
  test(`${steps} steps`, async () => {
    const result = await run(choice);
    const { lossScale = 1, kind } = choice;
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
    expectClose([result.update.gradientNorm], [globalNorm(gradients.at(-1)!) * gradientScale], 'norm');
    expect(result.update).toMatchObject({ outcome: 'applied', applied: steps, skipped: 0, lossScale });
  });

  test.each([NaN, Infinity, -Infinity])('a gradient of %s leaves everything as it was', async (bad) => {
    const broken = gradients[1]!.slice();
    broken[417] = bad;
    const before = await run(choice, gradients.slice(0, 1));
    const after = await run(choice, [gradients[0]!, broken]);
    expectSameBits(after.parameters, before.parameters, 'parameters');
    expectSameBits(after.first, before.first, 'first moment');
    expectSameBits(after.second, before.second, 'second moment');
    const outcome = (choice.lossScale ?? 1) > 1 ? 'overflowed' : 'skipped';
    expect(after.update).toMatchObject({ outcome, applied: 1, skipped: outcome === 'skipped' ? 1 : 0 });
  });
});

test.each(cases)('optimizer: $name in stretches', async (choice) => {
  const limits = { maxBindingBytes: 1024 };
  const cut = await run(choice, gradients, limits);
  const whole = await run(choice, gradients);
  expect(cut.dispatches).toBeGreaterThan(whole.dispatches);
  for (const name of ['parameters', 'first'] as const) expectClose(cut[name], whole[name], name, 1e-6);
  expectClose([cut.update.gradientNorm], [whole.update.gradientNorm], 'norm', 1e-6);
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
  maxNorm: Infinity,
  applied: 0,
};

test.each(cases)('optimizer: $name counts the steps that were applied', async (choice) => {
  const nothing = new Float64Array(length).fill(NaN);
  // What the host knows lags up to three steps behind.
  const mixed = [gradients[0]!, nothing, gradients[1]!, nothing, nothing, gradients[2]!, gradients[3]!];
  const known = [0, 0, 0, 1, 1, 2, 2];
  const result = await run(choice, mixed, {}, known);
  const { lossScale = 1 } = choice;
  const state = {
    parameters: initial.slice(),
    first: new Float64Array(length),
    second: new Float64Array(length),
  };
  let t = 0;
  for (const [index, values] of mixed.entries()) {
    if (values === nothing) continue;
    const scaled = values.map((g) => g / lossScale);
    reference(state, scaled, ++t, result.options(index + 1));
  }
  expect(result.update).toMatchObject({ outcome: 'applied', applied: t, skipped: 0 });
  const moved = (parameters: ArrayLike<number>) => initial.map((value, i) => parameters[i]! - value);
  expectClose(moved(result.parameters), moved(state.parameters), 'change of the parameters', 3e-6);
});

test('optimizer: gradients of several batches are averaged for one update', async () => {
  using bench = new Bench();
  const parameters = bench.flat('parameters', initial);
  const zeros = new Float64Array(length);
  const [first, second] = [bench.flat('first', zeros), bench.flat('second', zeros)];
  const accumulated = bench.flat('accumulated', normals(length)); // of the step before
  const update = bench.flat('update', updateArray());
  const results = bench.flat('results', [0]);
  const lossScale = bench.flat('lossScale', [1, 0]);
  gradients.forEach((values, index) => {
    const tensors = {
      parameters,
      gradients: bench.flat(`gradients ${index}`, values),
      accumulated,
      first,
      second,
      step: bench.flat(`step ${index}`, stepArray(plain, [index, gradients.length])),
      update,
      results,
      lossScale,
    };
    optimizerStep(bench.recorder, `batch ${index}`, tensors, { kind: 'sgd', length, nesterov: false });
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
    const average = bench.flat('average', before);
    const zeros = new Float64Array(length);
    const update = bench.flat('update', updateArray({ applied: 7, skipped: 0 }));
    const tensors = {
      parameters: bench.flat('weights', initial),
      gradients: bench.flat('gradients', broken ? zeros.map(() => NaN) : zeros),
      first: bench.flat('first', zeros),
      second: bench.flat('second', zeros),
      step: bench.flat('step', stepArray({ ...plain, decay: 0.999, applied: 5 })),
      update,
      results: bench.flat('results', [0]),
      lossScale: bench.flat('lossScale', [1, 0]),
    };
    optimizerStep(bench.recorder, 'step', tensors, { kind: 'sgd', length });
    averageStep(bench.recorder, 'average', length, { weights: tensors.parameters, average, update });
    await bench.run();
    return { before, after: await bench.readFlat(average, length) };
  };
  const { before, after } = await run(false);
  const decay = (1 + 7) / (10 + 7);
  expectClose(
    after,
    before.map((value, i) => decay * value + (1 - decay) * initial[i]!),
    'average',
    1e-6,
  );
  const left = await run(true);
  expectSameBits(left.after, Float32Array.from(left.before), 'average behind a broken step');
});

/** Steps of SGD one after another: what is left after each. */
async function outcomes(
  sent: readonly { gradients?: Float64Array; loss?: number; part?: [index: number, of: number] }[],
  {
    scale = [1, 0],
    mostSkipped = 0,
    accumulate = false,
  }: { scale?: [number, number]; mostSkipped?: number; accumulate?: boolean } = {},
) {
  const after = [];
  for (const count of sent.keys()) {
    using bench = new Bench({}, scale[0] > 1 ? 'f16' : 'f32');
    const zeros = new Float64Array(length);
    const kept = {
      parameters: bench.flat('parameters', initial),
      first: bench.flat('first', zeros),
      second: bench.flat('second', zeros),
      update: bench.flat('update', updateArray()),
      lossScale: bench.flat('lossScale', scale),
      ...(accumulate && { accumulated: bench.flat('accumulated', zeros) }),
    };
    for (const [index, { gradients: values = gradients[0]!, loss = 1, part }] of sent
      .slice(0, count + 1)
      .entries()) {
      const tensors = {
        ...kept,
        gradients: bench.flat(`gradients ${index}`, values),
        results: bench.flat(`results ${index}`, [loss]),
        step: bench.flat(`step ${index}`, stepArray({ ...plain, mostSkipped }, part)),
      };
      optimizerStep(bench.recorder, `step ${index}`, tensors, { kind: 'sgd', length });
    }
    await bench.run();
    after.push({
      ...readUpdate(await bench.readFlat(kept.update, updateWords)),
      parameters: [...(await bench.readFlat(kept.parameters, length))],
      scale: [...(await bench.readFlat(kept.lossScale, 2))],
    });
  }
  return after;
}

const broken = gradients[0]!.slice();
broken[3] = NaN;
const untouched = [...Float32Array.from(initial)];

test('optimizer: where a broken step halts, the good ones after it change nothing', async () => {
  for (const halting of [{ gradients: broken }, { loss: NaN }, { loss: Infinity }]) {
    const after = await outcomes([halting, {}]);
    expect(after.map(({ outcome }) => outcome)).toEqual(['halted', 'halted']);
    for (const { parameters, applied } of after) {
      expect(parameters).toEqual(untouched);
      expect(applied).toBe(0);
    }
  }
});

test('optimizer: broken steps are skipped up to a number in a row, then halt', async () => {
  const after = await outcomes(
    [{ loss: NaN }, { gradients: broken }, {}, { loss: NaN }, { loss: NaN }, { loss: NaN }, {}],
    { mostSkipped: 2 },
  );
  expect(after.map(({ outcome, applied, skipped }) => [outcome, applied, skipped])).toEqual([
    ['skipped', 0, 1],
    ['skipped', 0, 2],
    ['applied', 1, 0],
    ['skipped', 1, 1],
    ['skipped', 1, 2],
    ['halted', 1, 2],
    ['halted', 1, 2],
  ]);
  expect(after[1]!.parameters).toEqual(untouched);
  expect(after[2]!.parameters).not.toEqual(untouched);
  expect(after[6]!.parameters).toEqual(after[2]!.parameters);
});

test('optimizer: a loss that is not finite breaks the step, whichever of its batches it is of', async () => {
  const [, after] = await outcomes(
    [
      { loss: NaN, part: [0, 2] },
      { loss: 1, part: [1, 2] },
    ],
    { accumulate: true },
  );
  expect(after).toMatchObject({ outcome: 'halted', parameters: untouched });
  const [, , , next] = await outcomes(
    [
      { loss: NaN, part: [0, 2] },
      { loss: 1, part: [1, 2] },
      { loss: 1, part: [0, 2] },
      { loss: 1, part: [1, 2] },
    ],
    { accumulate: true, mostSkipped: 1 },
  );
  expect(next).toMatchObject({ outcome: 'applied', applied: 1 });
});

test('optimizer: in float16 the loss scale is halved by an overflow and doubled after 2000 good steps', async () => {
  const once = async (values: Float64Array, scale: [scale: number, streak: number], loss = 1) => {
    const [after] = await outcomes([{ gradients: values, loss }], { scale, mostSkipped: 1 });
    return [after!.outcome, ...after!.scale];
  };
  const overflowing = gradients[0]!.map((value, i) => (i === 3 ? Infinity : value));
  expect(await once(overflowing, [65536, 1234])).toEqual(['overflowed', 32768, 0]);
  expect(await once(gradients[0]!, [32768, 1234])).toEqual(['applied', 32768, 1235]);
  expect(await once(gradients[0]!, [32768, 1999])).toEqual(['applied', 65536, 0]);
  // It is not to blame for a loss that is not finite, nor where it is 1 already.
  expect(await once(overflowing, [65536, 1234], NaN)).toEqual(['skipped', 65536, 1234]);
  expect(await once(overflowing, [1, 5])).toEqual(['skipped', 1, 5]);
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
    update: small,
    results: small,
    lossScale: small,
  };
  optimizerStep(recorder, 'op', tensors, { kind: 'adam', length: words });
  const updated = recorder.dispatches
    .filter(({ shader }) => shader === 'optimizer/adam')
    .map(({ params }) => params['length']!);
  expect(updated.length).toBeGreaterThan(1);
  expect(updated.reduce((sum, count) => sum + count, 0)).toBe(words);
});
