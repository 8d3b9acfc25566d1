import { UNet3D, fromArrays, phantoms } from 'unet3d-gpu';

const shape = [8, 8, 8];
const cases = phantoms(3, { shape }).map(({ image, labels, affine }, subject) => {
  const grid = { dims: shape, affine };
  return fromArrays(`phantom ${subject}`, { data: image, ...grid }, { data: labels, ...grid });
});
const model = await UNet3D.create({ inChannels: 1, classes: 6, features: [4, 8], norm: 'instance', seed: 1 });
await model.fit(cases, {
  epochs: 3,
  onEvent(event) {
    if (event.type === 'epoch') postMessage(`epoch ${event.row.epoch}: loss ${event.row.loss.toFixed(4)}`);
  },
});
const segmentation = await model.predict({ data: cases[0].image, dims: shape, affine: cases[0].affine });
postMessage(`segmented ${segmentation.labels.shape.join(' x ')} voxels`);
model.dispose();
postMessage('trained');
