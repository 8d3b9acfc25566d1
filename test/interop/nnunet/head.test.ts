/** The last layer over features on the CPU, against the network's own logits on the GPU. */
import { expect, test } from 'vitest';
import { random } from '../../../src/data/random.ts';
import { OpenNetwork } from '../../../src/infer/opened.ts';
import { networkOn, windowResult } from '../../../src/interop/nnunet/pipeline/network.ts';
import { completeConfig } from '../../../src/model/complete-config.ts';
import { initialValues } from '../../../src/model/parameters.ts';
import type { Size3 } from '../../../src/size.ts';
import { testDevice } from '../../support/device.ts';

const size: Size3 = [10, 6, 4];
const voxels = 240;
const config = completeConfig({
  inChannels: 1,
  classes: 9,
  features: [3, 4],
  norm: 'instance',
  activation: 'leakyRelu',
});

test('features where there are fewer than classes, of all networks together', () => {
  expect(windowResult(config, 1)).toEqual({ kind: 'features', channels: 3 });
  expect(windowResult(config, 2)).toEqual({ kind: 'features', channels: 3 });
  expect(windowResult(config, 3)).toEqual({ kind: 'logits', channels: 9 });
});

test('they give the same logits, with less of them in memory', async () => {
  const { device } = await testDevice();
  const network = await OpenNetwork.open(config, { device });
  try {
    const { state, inference } = network;
    const { parameters, parameterWords } = state.layout;
    state.write('parameters', initialValues(parameters, parameterWords, 3));
    const source = random(5, 'image');
    const image = Float32Array.from({ length: voxels }, () => source.normal());
    const wanted = await (await inference.at(size))(image);
    const whole = inference.plan(size, 'logits').plan.peakBytes;
    const late = networkOn(network, size, windowResult(config, 1));
    const pieces: Float32Array[] = [];
    await late.run(image, (planes) => pieces.push(planes));
    expect(pieces.map(({ length }) => length)).toEqual([3 * voxels]);
    const found = late.head!(pieces[0]!);
    const scale = Math.max(...wanted.map(Math.abs));
    expect(found.length).toBe(9 * voxels);
    found.forEach((value, at) => expect(Math.abs(value - wanted[at]!)).toBeLessThan(1e-5 * scale));
    expect(inference.plan(size, 'features').plan.peakBytes).toBeLessThan(whole);
  } finally {
    network.dispose();
  }
});
