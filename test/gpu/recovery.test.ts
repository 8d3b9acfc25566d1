/** A training that goes on with a new device cuts its work finer, as drivers lose devices over work that takes too long. */
import { expect, test } from 'vitest';
import { UNet3D } from '../../src/unet3d.ts';
import { box, memory } from '../support/training.ts';
import { testDevice } from '../support/device.ts';

test('after each loss', async () => {
  await testDevice(); // so that adapters are found
  using model = await UNet3D.create({ inChannels: 1, classes: 2, features: [4] });
  const speeds = [model.gpu.speed];
  await model.fit([1, 2, 3, 4].map(box), {
    epochs: 1,
    batchSize: 2,
    checkpoint: memory(),
    onEvent(event) {
      if (event.type === 'recovered') speeds.push(model.gpu.speed);
      if (event.type === 'start' && speeds.length < 3) model.gpu.device.destroy();
    },
  });
  const [first, second, third] = speeds as [number, number, number];
  expect(second).toBeLessThan(first / 4);
  expect(third).toBeLessThan(second / 4);
});
