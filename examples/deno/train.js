import { UNet3D, fromArrays, phantoms, writeNifti } from 'unet3d-gpu';

const shape = [8, 8, 8];
const [unseen, ...seen] = phantoms(4, { shape });
const cases = seen.map(({ image, labels, affine }, subject) => {
  const grid = { dims: shape, affine };
  return fromArrays(`phantom ${subject}`, { data: image, ...grid }, { data: labels, ...grid });
});
const model = await UNet3D.create({ inChannels: 1, classes: 6, features: [4, 8], norm: 'instance', seed: 1 });
console.log(model.adapter);
for await (const event of model.fit(cases, { epochs: 3 }))
  if (event.type === 'epoch') console.log(`epoch ${event.row.epoch}: loss ${event.row.loss.toFixed(4)}`);

const scan = await writeNifti({ data: unseen.image, shape, affine: unseen.affine }); // or a file's name
const segmentation = await model.predict(scan);
const [target = 'labels.nii.gz'] = Deno.args;
await Deno.writeFile(target, await segmentation.toNifti());
console.log(`saved ${target}`);
model.dispose();
