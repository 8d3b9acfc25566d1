import { UNet3D, fromArrays, phantoms, writeNifti } from 'unet3d-gpu';

addEventListener('unhandledrejection', ({ reason }) => postMessage(`${reason}`));

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
const [{ image, affine }] = phantoms(1, { first: 3, shape }); // or a File that was chosen or dropped
const segmentation = await model.predict(await writeNifti({ data: image, shape, affine }));
postMessage(`segmented ${segmentation.labels.shape.join(' x ')} voxels`);
model.dispose();
postMessage('trained');
