/** Initial weights: the distributions of PyTorch's layers, and those of nnU-Net. */
import { expect, onTestFinished, test } from 'vitest';
import { completeConfig } from '../../src/model/complete-config.ts';
import { initialValues, layoutParameters } from '../../src/model/parameters.ts';
import { ModelState } from '../../src/model/state.ts';
import { testDevice } from '../support/device.ts';

const config = completeConfig({
  ...{ inChannels: 2, classes: 3, features: [16, 24, 32], norm: 'instance', activation: 'leakyRelu' },
  ...{ block: 'residual', down: 'conv', encoderBlocks: [1, 2, 2] },
});
const { parameters, parameterWords } = layoutParameters(config);
const drawn = (kind: 'pytorch' | 'he') => {
  const flat = initialValues(parameters, parameterWords, 4, kind);
  return [...parameters.values()].map(({ name, shape, offset, length }) => ({
    name,
    shape,
    values: flat.subarray(offset, offset + length),
  }));
};
const isNorm = (name: string) => /norm\d*\.(weight|bias)$/.test(name);

/** PyTorch's fan-in: the second length, which of a transposed convolution is that of its outputs, times its taps. */
const fanIn = ([, second, ...taps]: readonly number[]) => taps.reduce((a, b) => a * b, second!);

/** Share of the values within one standard deviation: 0.683 of a normal, 0.577 of a uniform distribution. */
function expectDrawn(values: Float32Array, deviation: number, share: number): void {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const found = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  const error = 5 / Math.sqrt(values.length); // five standard errors
  expect(Math.abs(mean / deviation)).toBeLessThan(error);
  expect(Math.abs(found / deviation - 1)).toBeLessThan(error);
  const within = values.filter((value) => Math.abs(value) < deviation).length / values.length;
  expect(Math.abs(within - share)).toBeLessThan(error / 2);
}

test("nnU-Net's: kaiming_normal_(weight, a=1e-2), biases 0, last norms of residual blocks 0", () => {
  let zeroed = 0;
  for (const { name, shape, values } of drawn('he')) {
    if (/\.block\d+\.norm2\./.test(name)) {
      zeroed += 1;
      expect(
        values.every((value) => value === 0),
        name,
      ).toBe(true);
    } else if (isNorm(name))
      expect(values.every((value) => value === Number(name.endsWith('weight')))).toBe(true);
    else if (name.endsWith('.bias'))
      expect(
        values.every((value) => value === 0),
        name,
      ).toBe(true);
    else expectDrawn(values, Math.sqrt(2 / ((1 + 1e-2 ** 2) * fanIn(shape))), 0.683);
  }
  expect(zeroed).toBe(2 * 5);
});

test('of a SegResNet, whose blocks end in convolutions, no norm begins at 0', async () => {
  const segResNet = completeConfig({
    ...{ architecture: 'segResNet', inChannels: 1, classes: 2, features: [8, 16], norm: 'group' },
  });
  const state = new ModelState(await testDevice(), segResNet, 1, 'he');
  onTestFinished(() => state.dispose());
  const flat = await state.read('parameters');
  const norms = [...state.layout.parameters.values()].filter(({ name }) => /norm2\.weight$/.test(name));
  expect(norms.length).toBeGreaterThan(0);
  for (const { name, offset } of norms) expect(flat[offset], name).toBe(1);
});

test("PyTorch's: uniform within 1/√fan-in, norms 1 and 0", () => {
  for (const { name, shape, values } of drawn('pytorch')) {
    if (isNorm(name)) expect(values.every((value) => value === Number(name.endsWith('weight')))).toBe(true);
    else if (shape.length > 1) expectDrawn(values, 1 / Math.sqrt(3 * fanIn(shape)), 0.577);
  }
});
