/** PReLU against float64 loops and PyTorch: odd sizes, behind a norm, float16, tiny bindings. */
import { describe, expect, test } from 'vitest';
import { InvalidOption } from '../../src/errors.ts';
import { kernelChoices } from '../../src/gpu/choices.ts';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import type { Size3 } from '../../src/size.ts';
import { preluBackwardInput, preluBackwardSlope, preluForward } from '../../src/ops/prelu.ts';
import fixture from '../fixtures/torch/prelu.json';
import { activate } from '../reference/activate.ts';
import { prelu, preluGradients } from '../reference/prelu.ts';
import { sum } from '../reference/sum.ts';
import {
  activatedInput,
  Bench,
  expectClose,
  expectSameBits,
  normals,
  randomDense,
  view,
  type Dense,
} from '../support/run.ts';
import { floats, volume } from '../support/torch.ts';

interface Case {
  name: string;
  size: Size3;
  slope: number;
  norm?: boolean;
  precision?: Precision;
  limits?: Partial<PlanLimits>;
}

const batch = 2;
const channels = 3;
const cases: Case[] = [
  { name: 'odd sizes', size: [7, 6, 5], slope: 0.25 },
  { name: 'above 1, behind a norm', size: [5, 3, 2], slope: 1.5, norm: true },
  { name: 'below 0, in float16', size: [9, 5, 3], slope: -0.5, precision: 'f16' },
  { name: 'z-slabs', size: [9, 7, 6], slope: 0.1, norm: true, limits: { maxBindingBytes: 4096 } },
  {
    name: 'one thread per sum',
    size: [9, 7, 6],
    slope: 0.1,
    limits: { kernels: kernelChoices.lavapipe, maxBindingBytes: 4096 },
  },
];

interface Given {
  source: Dense;
  slope: number;
  dOutput: Dense;
  before: Dense;
  scaleShifts?: Float64Array | undefined;
}

async function run(given: Given, limits: Partial<PlanLimits> = {}, precision?: Precision) {
  using bench = new Bench(limits, precision);
  const { recorder } = bench;
  const [batch, channels, z, y, x] = given.source.shape;
  const tensor = bench.volume('source', given.source);
  const input = given.scaleShifts ? activatedInput(bench, tensor, given.scaleShifts, 1) : { tensor };
  const slope = view(bench.flat('slope', [given.slope]), 1);
  const target = bench.output('target', batch, channels, [x, y, z]);
  preluForward(recorder, 'forward', { input, slope, target });
  const dOutput = bench.volume('dOutput', given.dOutput);
  const dInput = bench.output('dInput', batch, channels, [x, y, z]);
  const added = bench.volume('added', given.before);
  preluBackwardInput(recorder, 'assigned', { input, slope, dOutput, dInput });
  preluBackwardInput(recorder, 'added', { input, slope, dOutput, dInput: added }, true);
  const dSlope = bench.flat('dSlope', [0]);
  preluBackwardSlope(recorder, 'dSlope', { input, dOutput, dSlope: view(dSlope, 1) });
  await bench.run();
  return {
    output: (await bench.read(target)).data,
    dInput: (await bench.read(dInput)).data,
    added: (await bench.read(added)).data,
    dSlope: await bench.readFlat(dSlope, 1),
    dispatches: recorder.dispatches.length,
  };
}

describe.each(cases)('prelu: $name', ({ size: [x, y, z], slope, norm, precision, limits }) => {
  const source = randomDense([batch, channels, z, y, x]);
  const [dOutput, before] = [randomDense(source.shape), randomDense(source.shape)];
  const scaleShifts = norm ? normals(batch * channels * 2) : undefined;
  const given = { source, slope, dOutput, before, scaleShifts };

  test('forward and gradients', async () => {
    const found = await run(given, limits, precision);
    const seen = scaleShifts ? activate(source, scaleShifts, 1) : source;
    const expected = preluGradients(seen, Math.fround(slope), dOutput);
    const tolerance = precision === 'f16' ? 1e-3 : undefined;
    expectClose(found.output, prelu(seen, Math.fround(slope)).data, 'output', tolerance);
    expectClose(found.dInput, expected.dInput.data, 'gradient', tolerance);
    expectClose(found.added, sum(expected.dInput, before).data, 'gradient on top of another', tolerance);
    const apart = Math.abs(found.dSlope[0]! - expected.dSlope);
    expect(apart, 'gradient of the slope').toBeLessThanOrEqual((tolerance ?? 1e-5) * expected.slopeTerms);
  });

  if (!limits) return;
  test('the same bits however it is cut', async () => {
    const { dispatches, ...cut } = await run(given, limits);
    const { dispatches: fewer, ...whole } = await run(given, { ...limits, maxBindingBytes: 2 ** 20 });
    expect(dispatches).toBeGreaterThan(fewer);
    for (const what of ['output', 'dInput', 'added', 'dSlope'] as const)
      expectSameBits(cut[what], whole[what], what);
  });
});

test('prelu: as PyTorch computes it', async () => {
  const [source, dOutput] = [volume(fixture.input), volume(fixture.dOutput)];
  const [slope] = floats(fixture.weight);
  const found = await run({ source, slope: slope!, dOutput, before: dOutput });
  expectClose(found.output, floats(fixture.output), 'output');
  expectClose(found.dInput, floats(fixture.dInput), 'gradient');
  expectClose(found.dSlope, floats(fixture.dWeight), 'gradient of the slope');
});

test('prelu refuses a volume that has an activation already', () => {
  const recorder = new Recorder();
  const [tensor, target] = [0, 1].map((i) => recorder.volume(`volume ${i}`, 1, 2, [4, 4, 4]));
  const scaleShifts = recorder.flat('scaleShifts', 4);
  const slope = view(recorder.flat('slope', 1), 1);
  const twice = () =>
    preluForward(recorder, 'op', {
      input: { tensor: tensor!, scaleShifts, slope: 0 },
      slope,
      target: target!,
    });
  expect(twice).toThrow(InvalidOption);
  expect(twice).toThrow('op is applied to a volume with an activation of slope 0: leave one of the two out');
});
