/** Group norm, and norms whose gradient goes to a volume of its own, against float64 loops and PyTorch. */
import { describe, expect, test } from 'vitest';
import { InvalidOption } from '../../src/errors.ts';
import { kernelChoices } from '../../src/gpu/choices.ts';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import type { Size3 } from '../../src/size.ts';
import { normBackward, normForward, type NormKind } from '../../src/ops/norm.ts';
import { copy, sumForward } from '../../src/ops/sum.ts';
import fixture from '../fixtures/torch/group-norm.json';
import { normGradients } from '../reference/norm.ts';
import { sum } from '../reference/sum.ts';
import { groupNorm } from '../reference/group-norm.ts';
import {
  Bench,
  dense,
  expectClose,
  expectSameBits,
  normals,
  randomDense,
  view,
  type Dense,
} from '../support/run.ts';
import { floats, volume } from '../support/torch.ts';

interface Given {
  kind: NormKind;
  groups: number;
  slope: number;
  source: Dense;
  gamma: Float64Array;
  beta: Float64Array;
  dOutput: Dense;
  before: Dense;
}

/** Forward; then the gradient in the place of the source, in a volume of its own, and on top of another. */
async function run(given: Given, limits: Partial<PlanLimits> = {}, precision?: Precision) {
  using bench = new Bench(limits, precision);
  const { recorder } = bench;
  const { kind, groups, slope } = given;
  const [batch, channels, z, y, x] = given.source.shape;
  const second = 64;
  const words = new Float64Array(second + channels);
  words.set(given.gamma);
  words.set(given.beta, second);
  const source = bench.volume('source', given.source);
  const state = {
    kind,
    groups,
    weightBias: view(bench.flat('weightBias', words), words.length),
    biasOffset: second,
    running: view(bench.flat('running', words), words.length),
    varianceOffset: second,
    epsilon: 1e-5,
    momentum: 0.1,
  };
  const result = normForward(recorder, 'norm', source, state);
  const target = bench.output('target', batch, channels, [x, y, z]);
  const zero = bench.volume('zero', dense(given.source.shape));
  sumForward(
    recorder,
    'read',
    [{ tensor: source, scaleShifts: result.scaleShifts, slope }, { tensor: zero }],
    target,
  );
  const dActivated = bench.volume('dOutput', given.dOutput);
  const apart = bench.output('apart', batch, channels, [x, y, z]);
  const added = bench.volume('added', given.before);
  const dWeightBias = bench.flat('dWeightBias', new Float64Array(words.length));
  const tensors = { source, dActivated, result, dWeightBias: view(dWeightBias, words.length) };
  const options = { ...state, slope };
  normBackward(recorder, 'apart', { ...tensors, dSource: apart }, options);
  normBackward(recorder, 'added', { ...tensors, dSource: added }, { ...options, add: true });
  normBackward(recorder, 'in place', tensors, options);
  const inPlace = bench.output('in place', batch, channels, [x, y, z]);
  copy(recorder, 'copy', { tensor: source }, inPlace);
  await bench.run();
  const gradients = await bench.readFlat(dWeightBias, words.length);
  return {
    output: (await bench.read(target)).data,
    apart: (await bench.read(apart)).data,
    added: (await bench.read(added)).data,
    inPlace: (await bench.read(inPlace)).data,
    dGamma: gradients.slice(0, channels),
    dBeta: gradients.slice(second),
    dispatches: recorder.dispatches.length,
  };
}

const givenOf = (
  kind: NormKind,
  groups: number,
  channels: number,
  [x, y, z]: Size3,
  slope: number,
): Given => {
  const source = randomDense([2, channels, z, y, x]);
  const [gamma, beta] = [normals(channels), normals(channels)];
  const [dOutput, before] = [randomDense(source.shape), randomDense(source.shape)];
  return { kind, groups, slope, source, gamma, beta, dOutput, before };
};

describe.each<[string, number, number, Size3, Partial<PlanLimits>?, Precision?]>([
  ['odd sizes', 2, 6, [7, 5, 3]],
  ['one group, one thread per sum', 1, 3, [5, 4, 2], { kernels: kernelChoices.lavapipe }],
  ['float16', 4, 8, [6, 5, 3], {}, 'f16'],
  ['z-slabs', 2, 4, [9, 7, 6], { maxBindingBytes: 4096 }],
])('group norm: %s', (_, groups, channels, size, limits, precision) => {
  const given = givenOf('group', groups, channels, size, 0);

  test('forward and gradients', async () => {
    const found = await run(given, limits, precision);
    const expected = groupNorm(given.source, given, given.dOutput);
    const tolerance = precision === 'f16' ? 1e-3 : undefined;
    expectClose(found.output, expected.output.data, 'output', tolerance);
    expectClose(found.inPlace, expected.dInput.data, 'gradient in place', tolerance);
    expectClose(found.apart, expected.dInput.data, 'gradient apart', tolerance);
    expectClose(found.added, sum(expected.dInput, given.before).data, 'on top of another', tolerance);
    expectClose(found.dGamma, expected.dGamma, 'gradient of the weight', tolerance);
    expectClose(found.dBeta, expected.dBeta, 'gradient of the bias', tolerance);
  });

  if (!limits?.maxBindingBytes) return;
  test('the same bits however it is cut', async () => {
    const { dispatches, ...cut } = await run(given, limits);
    const { dispatches: fewer, ...whole } = await run(given);
    expect(dispatches).toBeGreaterThan(fewer);
    for (const [name, values] of Object.entries(cut))
      expectSameBits(values, whole[name as keyof typeof whole], name);
  });
});

test('instance norm whose gradient goes to a volume of its own', async () => {
  const given = givenOf('instance', 1, 3, [7, 5, 3], 0.1);
  const found = await run(given);
  const { kind, slope } = { kind: 'instance', slope: 0.1 } as const;
  const options = { kind, epsilon: 1e-5, slope };
  const { dInput } = normGradients(given.source, given.gamma, given.beta, given.dOutput, options);
  expectClose(found.apart, dInput.data, 'gradient');
  expectClose(found.added, sum(dInput, given.before).data, 'on top of another');
});

test('group norm as PyTorch computes it', async () => {
  const source = volume(fixture.input);
  const found = await run({
    kind: 'group',
    groups: fixture.groups,
    slope: 0,
    source,
    gamma: floats(fixture.weight),
    beta: floats(fixture.bias),
    dOutput: volume(fixture.dOutput),
    before: source,
  });
  expectClose(found.output, floats(fixture.output), 'output');
  expectClose(found.inPlace, floats(fixture.dInput), 'gradient');
  expectClose(found.dGamma, floats(fixture.dWeight), 'gradient of the weight');
  expectClose(found.dBeta, floats(fixture.dBias), 'gradient of the bias');
});

test('group norm refuses channels that its groups do not divide', () => {
  const recorder = new Recorder();
  const flat = recorder.flat('running', 64);
  const state = {
    kind: 'group',
    groups: 4,
    biasOffset: 0,
    running: view(flat, 64),
    varianceOffset: 0,
  } as const;
  const source = recorder.volume('source', 1, 6, [4, 4, 4]);
  const forward = () => normForward(recorder, 'op', source, { ...state, epsilon: 1e-5, momentum: 0.1 });
  expect(forward).toThrow(InvalidOption);
  expect(forward).toThrow('op: 6 channels cannot be divided into 4 groups');
});
