/** How far matrix units are off where operands are not numbers of float16: by no more than rounding these explains. */
import { expect, test } from 'vitest';
import { convBackwardInput, convBackwardWeight, convForward } from '../../src/ops/conv.ts';
import type { Dense } from '../support/dense.ts';
import { conv, convGradients } from '../reference/conv.ts';
import { always, kernelsOnMatrices } from '../support/matrices.ts';
import { Bench, normals, randomDense, relativeError, view } from '../support/run.ts';

const [batch, channels, out, size] = [1, 6, 7, [13, 6, 5]] as const;
const [x, y, z] = size;
const voxels = x * y * z;
const source = randomDense([batch, channels, z, y, x]);
const dOutput = randomDense([batch, out, z, y, x]);
const weights = normals(out * channels * 27);
const none = new Float64Array(out);

const magnitudes = (values: Float64Array): Float64Array => values.map(Math.abs);
const sizes = ({ shape, data }: Dense): Dense => ({ shape, data: magnitudes(data) });

/**
 * How far an element may be off, as a share of the sum of |ab| over its products. Two operands that are rounded by at most
 * u = 2⁻¹¹ each change a product by at most (1 + u)² - 1 = 2⁻¹⁰ + 2⁻²². The product of two numbers of 11 digits is exact
 * in float32, and adding `terms` of them loses at most terms · 2⁻²⁴ of that sum more.
 */
const bound = (terms: number): number => 2 ** -10 + 2 ** -22 + terms * 2 ** -24;

/** The predicted error in the norm, 2.9e-4, give or take a third. */
const [least, most] = [2e-4, 4e-4];

const onMatrices = await kernelsOnMatrices();
if (onMatrices.length === 0)
  test('rounding', ({ skip }) => skip('the adapter offers no matrix units; they are tried on lavapipe 26'));

test.each(onMatrices)('$name', async ({ gpu, name }) => {
  using bench = new Bench({ kernels: always(name) }, 'f32', gpu);
  const { recorder } = bench;
  const input = { tensor: bench.volume('source', source) };
  const w = view(bench.flat('weights', weights), weights.length);
  const target = bench.output('target', batch, out, size);
  convForward(recorder, 'forward', { inputs: [input], weights: w, target });
  const upstream = bench.volume('dOutput', dOutput);
  const dInput = bench.output('dInput', batch, channels, size);
  convBackwardInput(recorder, 'dInput', { dOutput: upstream, weights: w, dInput });
  const dWeights = bench.flat('dWeights', new Float64Array(weights.length));
  const toWeights = { input, dOutput: upstream, dWeights: view(dWeights, weights.length) };
  convBackwardWeight(recorder, 'dWeights', toWeights);
  await bench.run();

  const expected = convGradients(source, weights, dOutput);
  const sums = convGradients(sizes(source), magnitudes(weights), sizes(dOutput));
  const all = [
    {
      found: (await bench.read(target)).data,
      expected: conv(source, weights, none, out).data,
      sums: conv(sizes(source), magnitudes(weights), none, out).data,
      terms: 27 * channels,
    },
    {
      found: (await bench.read(dInput)).data,
      expected: expected.dInput.data,
      sums: sums.dInput.data,
      terms: 27 * out,
    },
    {
      found: await bench.readFlat(dWeights, weights.length),
      expected: expected.dWeights,
      sums: sums.dWeights,
      terms: voxels,
    },
  ];
  for (const { found, expected, sums, terms } of all) {
    const off = Float64Array.from(expected, (value, i) => Math.abs(found[i]! - value) / sums[i]!);
    expect(Math.max(...off)).toBeLessThanOrEqual(bound(terms));
    const error = relativeError(found, expected);
    expect(error).toBeGreaterThan(least);
    expect(error).toBeLessThan(most);
  }
});

test.each(onMatrices)(
  '$name: numbers beyond those of float16 count as its largest, of gradients as infinite',
  async ({ gpu, name }) => {
    async function computed(image: Dense, gradient: Dense) {
      using bench = new Bench({ kernels: always(name) }, 'f32', gpu);
      const { recorder } = bench;
      const input = { tensor: bench.volume('source', image) };
      const w = view(bench.flat('weights', weights), weights.length);
      const target = bench.output('target', batch, out, size);
      convForward(recorder, 'forward', { inputs: [input], weights: w, target });
      const dWeights = bench.flat('dWeights', new Float64Array(weights.length));
      const upstream = bench.volume('dOutput', gradient);
      const tensors = { input, dOutput: upstream, dWeights: view(dWeights, weights.length) };
      convBackwardWeight(recorder, 'dWeights', tensors);
      const dInput = bench.output('dInput', batch, channels, size);
      convBackwardInput(recorder, 'dInput', { dOutput: upstream, weights: w, dInput });
      await bench.run();
      return {
        forward: (await bench.read(target)).data,
        dWeights: await bench.readFlat(dWeights, weights.length),
        dInput: (await bench.read(dInput)).data,
      };
    }
    const areFinite = (values: Iterable<number>): boolean => [...values].every(Number.isFinite);
    const changed = ({ shape, data }: Dense, to: Readonly<Record<number, number>>): Dense => ({
      shape,
      data: data.map((value, i) => to[i] ?? value),
    });
    const [image, gradient] = [changed(source, { 5: 65504, 200: -65504 }), changed(dOutput, { 7: -65504 })];
    const found = await computed(changed(source, { 5: 1e6, 200: -3e38 }), gradient);
    expect(relativeError(found.forward, conv(image, weights, none, out).data)).toBeLessThan(bound(0));
    const { dWeights, dInput } = convGradients(image, weights, gradient);
    expect(relativeError(found.dWeights, dWeights)).toBeLessThan(bound(0));
    expect(relativeError(found.dInput, dInput.data)).toBeLessThan(bound(0));
    for (const [broken, large] of [
      [image, -7e4],
      [image, 3e38],
      [changed(source, { 5: Infinity }), NaN],
    ] as const) {
      const infinite = await computed(broken, changed(dOutput, { 7: large }));
      expect(areFinite(infinite.forward)).toBe(broken === image);
      expect([areFinite(infinite.dWeights), areFinite(infinite.dInput)]).toEqual([false, false]);
    }
  },
);
