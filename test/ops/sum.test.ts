/** Sums of two volumes, and activations without a norm, against float64 loops: odd sizes, norms in front, tiny bindings. */
import { describe, expect, test } from 'vitest';
import { InvalidOption } from '../../src/errors.ts';
import { Gpu } from '../../src/gpu/device.ts';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import type { Size3 } from '../../src/size.ts';
import { activationBackward, activationForward, assertSlope } from '../../src/ops/activation.ts';
import { sumBackward, sumForward } from '../../src/ops/sum.ts';
import { alteredDevice, towardZero } from '../support/altered-device.ts';
import { dense } from '../support/dense.ts';
import { testDevice } from '../support/device.ts';
import { activate } from '../reference/activate.ts';
import { activationGradient, sum } from '../reference/sum.ts';
import { activatedInput, Bench, expectClose, expectSameBits, normals, randomDense } from '../support/run.ts';

interface Case {
  name: string;
  batch: number;
  size: Size3;
  channels: number;
  /** Of the norms in front of either input; without, there is none. */
  slopes: readonly (number | undefined)[];
  precision?: Precision;
  limits?: Partial<PlanLimits>;
}

const cases: Case[] = [
  { name: 'odd sizes', batch: 2, size: [7, 6, 5], channels: 3, slopes: [] },
  { name: 'whole quads', batch: 1, size: [16, 8, 4], channels: 8, slopes: [] },
  { name: 'the first behind a norm', batch: 2, size: [5, 3, 2], channels: 4, slopes: [1] },
  { name: 'the second behind an activation', batch: 2, size: [5, 3, 2], channels: 4, slopes: [undefined, 0] },
  { name: 'both, in float16', batch: 2, size: [9, 5, 3], channels: 2, slopes: [1, 0.01], precision: 'f16' },
  {
    name: 'z-slabs',
    batch: 2,
    size: [9, 7, 6],
    channels: 3,
    slopes: [1, 0.3],
    limits: { maxBindingBytes: 4096 },
  },
];

describe.each(cases)('sum: $name', ({ batch, size, channels, slopes, precision, limits }) => {
  const [x, y, z] = size;
  const [a, b, before] = [1, 2, 3].map(() => randomDense([batch, channels, z, y, x]));
  const scaleShifts = slopes.map(() => normals(batch * channels * 2));
  const dOutput = randomDense(a!.shape);

  async function run(limits: Partial<PlanLimits> = {}) {
    using bench = new Bench(limits, precision);
    const { recorder } = bench;
    const inputs = [a!, b!].map((values, i) => {
      const tensor = bench.volume(`input ${i}`, values);
      return slopes[i] === undefined ? { tensor } : activatedInput(bench, tensor, scaleShifts[i]!, slopes[i]);
    });
    const target = bench.output('target', batch, channels, size);
    sumForward(recorder, 'forward', [inputs[0]!, inputs[1]!], target);
    const upstream = bench.volume('dOutput', dOutput);
    const [assigned, added] = [
      bench.output('assigned', batch, channels, size),
      bench.volume('added', before!),
    ];
    sumBackward(recorder, 'assigned', upstream, assigned, false);
    sumBackward(recorder, 'added', upstream, added, true);
    await bench.run();
    const values = async (tensor: typeof target) => (await bench.read(tensor)).data;
    const [output, copy, total] = [await values(target), await values(assigned), await values(added)];
    return { output, copy, total, dispatches: recorder.dispatches.length };
  }

  test('forward and gradients', async () => {
    const { output, copy, total } = await run(limits);
    const [first, second] = [a!, b!].map((values, i) =>
      slopes[i] === undefined ? values : activate(values, scaleShifts[i]!, slopes[i]),
    );
    const tolerance = precision === 'f16' ? 1e-3 : undefined;
    expectClose(output, sum(first!, second!).data, 'output', tolerance);
    expectClose(copy, dOutput.data, 'gradient', tolerance);
    expectClose(total, sum(dOutput, before!).data, 'gradient on top of another', tolerance);
  });

  if (!limits) return;
  test('the same bits however it is cut', async () => {
    const [cut, whole] = [await run(limits), await run()];
    expect(cut.dispatches).toBeGreaterThan(whole.dispatches);
    for (const what of ['output', 'copy', 'total'] as const) expectSameBits(cut[what], whole[what], what);
  });
});

test('sum refuses volumes that do not match', () => {
  const recorder = new Recorder();
  const [a, narrow, flat] = [
    recorder.volume('a', 1, 2, [8, 4, 4]),
    recorder.volume('narrow', 1, 1, [8, 4, 4]),
    recorder.volume('flat', 1, 2, [8, 4, 3]),
  ];
  const add = (b: typeof a) => () => sumForward(recorder, 'op', [{ tensor: a }, { tensor: b }], a);
  expect(add(narrow)).toThrow('op: volumes of 2 and 1 channels have no sum');
  expect(add(flat)).toThrow('op: grids differ');
});

describe.each([
  { slope: 0, size: [7, 6, 5] },
  { slope: 0.2, size: [8, 4, 4] },
  { slope: -0.5, size: [3, 2, 1] },
  { slope: 1, size: [9, 7, 6], limits: { maxBindingBytes: 4096 } },
] as { slope: number; size: Size3; limits?: Partial<PlanLimits> }[])(
  'activation of slope $slope at $size',
  ({ slope, size, limits }) => {
    const [batch, channels] = [2, 3];
    const [x, y, z] = size;
    const values = randomDense([batch, channels, z, y, x]);
    const dOutput = randomDense(values.shape);

    test('read by a sum, and its gradient in the place of the volume', async () => {
      using bench = new Bench(limits);
      const { recorder } = bench;
      const tensor = bench.volume('source', values);
      const scaleShifts = activationForward(recorder, 'activation', tensor);
      const target = bench.output('target', batch, channels, size);
      sumForward(recorder, 'read', [{ tensor, scaleShifts, slope }, { tensor }], target);
      activationBackward(recorder, 'backward', tensor, bench.volume('dOutput', dOutput), slope);
      await bench.run();
      const identity = Float64Array.from({ length: 2 * batch * channels }, (_, i) => (i + 1) % 2);
      const seen = activate(values, identity, slope);
      expectClose((await bench.read(target)).data, sum(seen, values).data, 'output');
      const expected = activationGradient(values, dOutput, slope).data;
      expectClose((await bench.read(tensor)).data, expected, 'gradient');
    });
  },
);

test.each([1.5, NaN, -Infinity])('an activation of slope %j is refused', (slope) => {
  expect(() => assertSlope(slope)).toThrow(InvalidOption);
  expect(() => assertSlope(slope)).toThrow(`the activation's slope is ${slope}; give a number up to 1`);
});

test.each([
  ['natively', false, false],
  ['packed', true, false],
  ['natively, by a driver that converts toward zero', false, true],
  ['packed, by a driver that converts toward zero', true, true],
] as const)(
  'sums too large for float16 are infinite, by which trainings see gradients overflow: %s',
  async (_, packed, isCut) => {
    const { device } = await testDevice();
    using gpu = await Gpu.open({ device: isCut ? alteredDevice(device, towardZero(device)) : device });
    if (packed) gpu.packHalves();
    // 65504 is the largest number of float16; what is nearer to it than to 65536 becomes it.
    const [a, b, sums] = [
      [32752, 65504, -65504, 65504, 65504, -65504, Infinity, -Infinity, NaN, NaN, 1],
      [32752, 15, -15, 16, 65504, -65504, 1, 1, 1, 1, 2],
      [65504, 65504, -65504, Infinity, Infinity, -Infinity, Infinity, -Infinity, NaN, NaN, 3],
    ] as const;
    const volume = (values: readonly number[]) => ({
      ...dense([1, 1, 1, 1, values.length]),
      data: Float64Array.from(values),
    });
    using bench = new Bench({}, 'f16', gpu);
    const inputs = [bench.volume('a', volume(a)), bench.volume('b', volume(b))] as const;
    const target = bench.output('sum', 1, 1, [a.length, 1, 1]);
    sumForward(bench.recorder, 'sum', [{ tensor: inputs[0] }, { tensor: inputs[1] }], target);
    await bench.run();
    expect([...(await bench.read(target)).data]).toEqual([...sums]);
  },
);
