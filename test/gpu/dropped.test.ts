/** Work that a driver drops without a word is an error: neither zeros nor what was there before. */
import { expect, test } from 'vitest';
import { GpuError } from '../../src/errors.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { alteredDevice } from '../support/altered-device.ts';
import { testDevice } from '../support/device.ts';
import { box } from '../support/training.ts';

const told = 'the GPU has not done what was sent to it, and reported no error';

/** A device that drops, where it is asked to, what computes. */
async function droppingDevice() {
  const { device } = await testDevice();
  const computing = new WeakSet<GPUCommandBuffer>();
  const now = { drops: false };
  const createCommandEncoder = (): GPUCommandEncoder => {
    const encoder = device.createCommandEncoder();
    const [begin, finish] = [encoder.beginComputePass.bind(encoder), encoder.finish.bind(encoder)];
    let computes = false;
    encoder.beginComputePass = (descriptor) => {
      computes = true;
      return begin(descriptor);
    };
    encoder.finish = () => {
      const commands = finish();
      if (computes) computing.add(commands);
      return commands;
    };
    return encoder;
  };
  const queue = new Proxy(device.queue, {
    get(real, property) {
      if (property === 'submit')
        return (all: GPUCommandBuffer[]) =>
          real.submit(all.filter((commands) => !now.drops || !computing.has(commands)));
      const value: unknown = Reflect.get(real, property, real);
      return typeof value === 'function' ? (value.bind(real) as unknown) : value;
    },
  });
  return { device: alteredDevice(device, { createCommandEncoder, queue }), now };
}

const network = { inChannels: 1, classes: 2, features: [4] };
const cases = [1, 2, 3, 4].map(box);
const { shape, image } = cases[0]!;

test.each(['f32', 'f16'] as const)('planes of a prediction in %s', async (precision) => {
  const { device, now } = await droppingDevice();
  using model = await UNet3D.create({ ...network, precision, device });
  for (const drops of [false, true, false]) {
    now.drops = drops;
    const logits = model.logits({ shape, image });
    if (drops) await expect(logits).rejects.toThrow(`logits: ${told}`);
    else expect((await logits).some((value) => value !== 0)).toBe(true);
  }
});

test('an evaluation', async () => {
  const { device, now } = await droppingDevice();
  using model = await UNet3D.create({ ...network, device });
  for (const drops of [false, true, false]) {
    now.drops = drops;
    const scores = model.evaluate(cases.slice(0, 1));
    if (drops) await expect(scores).rejects.toThrow(`evaluation: ${told}`);
    else expect((await scores)[0]!.loss).toBeGreaterThan(0);
  }
});

test.each([1, 2])('the steps of a training from the third on, of %i batches each', async (accumulate) => {
  const { device, now } = await droppingDevice();
  using model = await UNet3D.create({ ...network, device });
  const done: number[] = [];
  const training = model.fit(cases, {
    epochs: 9,
    batchSize: 1,
    accumulate,
    onEvent(event) {
      if (event.type !== 'step') return;
      done.push(event.step);
      if (event.step === 2) now.drops = true;
    },
  });
  await expect(training).rejects.toThrow(GpuError);
  await expect(training).rejects.toThrow(`training step: ${told}`);
  expect(done.length).toBeLessThan(9);
});
