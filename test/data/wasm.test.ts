// The WASM memory over a long data set: as large as the largest volume needs, however many there are.
import { expect, test } from 'vitest';
import { crop, nonZeroBox } from '../../src/data/boxes.ts';
import { percentiles, zScore } from '../../src/data/statistics.ts';
import { resampleTo } from '../../src/data/resample.ts';
import type { Size3 } from '../../src/size.ts';
import { random } from '../../src/data/random.ts';
import { OutOfMemory } from '../../src/errors.ts';
import { fromCanonical, toCanonical } from '../../src/data/volume.ts';
import { allocate, wasm } from '../../src/data/wasm.ts';

const bytes = (): number => wasm().memory.buffer.byteLength;

function volume(size: Size3): Float32Array {
  const data = new Float32Array(size[0] * size[1] * size[2]);
  data.forEach((_, i) => (data[i] = ((i * 2654435761) % 1000) - 300));
  return data;
}

function process(size: Size3): void {
  const data = volume(size);
  zScore(data);
  percentiles(data, [0.5, 99.5]);
  resampleTo(data, size, [size[2], size[0], size[1]], 'linear');
  resampleTo(Uint8Array.from(data), size, [size[1], size[2], size[0]], 'nearest');
}

test('200 volumes need no more memory than the largest of them', () => {
  const before = bytes();
  process([61, 67, 59]);
  const largest = bytes();
  expect(largest).toBeGreaterThan(before);
  const r = random(3);
  for (let i = 0; i < 200; i++) {
    process([1 + r.int(48), 1 + r.int(48), 1 + r.int(48)]);
    if (i % 50 === 0) process([61, 67, 59]);
    expect(bytes()).toBe(largest);
  }
  // Input and output of the largest call, the columns' table, and what the module starts with.
  expect(largest).toBeLessThan(before + 2 * 4 * 61 * 67 * 59 + 2 ** 17);
});

test('of several channels one after the other is there', () => {
  const [size, to, channels]: [Size3, Size3, number] = [[64, 64, 40], [70, 70, 20], 4];
  const one = volume(size);
  const work = (data: Float32Array) => ({
    resampled: resampleTo(data, size, to, 'linear'),
    nearest: resampleTo(data, size, to, 'nearest'),
  });
  const expected = work(one);
  const before = bytes();
  const all = new Float32Array(channels * one.length);
  for (let channel = 0; channel < channels; channel++) all.set(one, channel * one.length);
  const found = work(all);
  expect(bytes()).toBe(before);
  for (const [name, values] of Object.entries(found)) {
    const own = expected[name as keyof typeof found];
    expect(values.length).toBe(channels * own.length);
    for (const channel of [0, channels - 1])
      expect(values.subarray(channel * own.length, (channel + 1) * own.length)).toEqual(own);
  }
});

test('boxes and turns take none of it: volumes that are read may be larger', () => {
  const size: Size3 = [128, 128, 4 + Math.ceil(bytes() / (4 * 128 * 128))];
  const data = volume(size);
  const before = bytes();
  expect(nonZeroBox([data], size)).toEqual({ start: [0, 0, 0], size });
  expect(crop(data, size, { start: [0, 0, 1], size: [128, 128, 2] })).toEqual(
    data.subarray(128 * 128, 3 * 128 * 128),
  );
  const affine = [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const turned = toCanonical({ data, shape: [...size], affine, spacing: [1, 1, 1] });
  expect(turned.data.subarray(0, 128)).toEqual(data.slice(0, 128).reverse());
  expect(fromCanonical(turned.data, { shape: size, affine })[5]).toBe(data[5]);
  expect(bytes()).toBe(before);
});

test('a block that cannot be had is a named error, and later calls work', () => {
  expect(() => allocate(2 ** 33)).toThrow(OutOfMemory);
  expect(() => resampleTo(new Float32Array(8), [2, 2, 2], [2000, 2000, 2000], 'linear')).toThrow(OutOfMemory);
  expect(zScore(Float32Array.of(1, 3)).data).toEqual(Float32Array.of(-1, 1));
});

test('blocks are aligned, apart from each other, and given back by reset', () => {
  wasm().reset();
  const [a, b] = [allocate(5), allocate(17)];
  expect(a % 16).toBe(0);
  expect(b % 16).toBe(0);
  expect(b).toBeGreaterThanOrEqual(a + 5);
  wasm().reset();
  expect(allocate(1)).toBe(a);
});
