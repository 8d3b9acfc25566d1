/** float16: conversion on the host for every value, and volumes stored in it on the device, natively or packed. */
import { describe, expect, test } from 'vitest';
import { fromHalf, toHalf } from '../../src/gpu/half.ts';
import { toDense, toStored } from '../../src/gpu/layout.ts';
import { Recorder } from '../../src/gpu/plan.ts';
import { Program } from '../../src/gpu/program.ts';
import { poolForward } from '../../src/ops/pool.ts';
import { featurelessDevice, testDevice } from '../support/device.ts';
import { normals } from '../support/run.ts';

/** The value of float16 bits by definition. */
function value(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

const all = Uint16Array.from({ length: 65536 }, (_, i) => i);

test('every float16 is read by its definition and written back unchanged', () => {
  const values = fromHalf(all);
  expect([...values]).toEqual([...all].map(value));
  const numbers = all.filter((bits) => !Number.isNaN(value(bits)));
  expect(toHalf(fromHalf(numbers))).toEqual(numbers);
  expect(fromHalf(toHalf(new Float32Array([NaN])))[0]).toBeNaN();
});

test('rounds to the nearest, ties to even; beyond 65504 it is infinite', () => {
  const positive = all.subarray(0, 0x7bff);
  const middles = Float32Array.from(positive, (bits) => (value(bits) + value(bits + 1)) / 2);
  expect([...toHalf(middles)]).toEqual([...positive].map((bits) => bits + (bits % 2)));
  const above = middles.map((middle) => middle * (1 + 2 ** -22));
  expect([...toHalf(above)]).toEqual([...positive].map((bits) => bits + 1));
  const large = fromHalf(toHalf(new Float32Array([65504, 65519, 65520, -1e9])));
  expect([...large]).toEqual([65504, 65504, Infinity, -Infinity]);
});

describe.each([
  ['as this device keeps them', testDevice],
  ['packed in pairs', featurelessDevice],
])('stored volumes %s', (_, open) => {
  const size = [6, 4, 4] as const;

  /** The maximum of each 2×2×2, through a kernel that reads and writes float16. */
  async function pooled(values: Float32Array) {
    const gpu = await open();
    const recorder = new Recorder(gpu.limits, 'f16');
    const source = recorder.volume('source', 1, 1, size, 'resident');
    const target = recorder.volume('target', 1, 1, [3, 2, 2], 'resident');
    poolForward(recorder, 'pool', { source: { tensor: source }, target });
    using program = await Program.create(gpu, recorder.finish());
    program.write(source, toStored(source, values));
    await program.run();
    return toDense(target, await program.read(target));
  }

  test('hold what float16 holds', async () => {
    const values = fromHalf(toHalf(Float32Array.from(normals(96), (v) => v * 100)));
    const maximum = (x: number, y: number, z: number) => {
      const at = (i: number) => (2 * z + (i >> 2)) * 24 + (2 * y + ((i >> 1) & 1)) * 6 + 2 * x + (i & 1);
      return Math.max(...Array.from({ length: 8 }, (_, i) => values[at(i)]!));
    };
    const expected = Array.from({ length: 12 }, (_, i) =>
      maximum(i % 3, Math.floor(i / 3) % 2, Math.floor(i / 6)),
    );
    expect([...(await pooled(values))]).toEqual(expected);
  });

  test('half the bytes', () => {
    const bytes = (precision: 'f32' | 'f16') =>
      new Recorder(undefined, precision).volume('v', 1, 16, [64, 64, 64]).bytes;
    expect(bytes('f16')).toBe(bytes('f32') / 2);
  });
});
