/**
 * Segments a NIfTI file with a saved model; the labels lie on the file's own grid.
 *   node examples/node/predict.mjs [MODEL] [IMAGE] [OUTPUT]
 * Without arguments it takes the model of train.mjs and a new phantom. In a checkout run `npm run build` first.
 */
import { UNet3D, phantom, releaseNodeGpu, writeFileAtomically, writeNifti } from 'unet3d-gpu';

const [path = 'runs/example/model.safetensors', image, target = 'runs/example/labels.nii.gz'] =
  process.argv.slice(2);
const model = await UNet3D.load(path);

const segmentation = await model.predict(image ?? (await newPhantom()), {
  overlap: 0.5,
  onProgress: ({ loaded, total }) => console.log(`window ${loaded} of ${total}`),
});
for (const warning of segmentation.warnings) console.warn(warning);

const { data, shape, spacing } = segmentation.labels;
const millilitres = spacing.reduce((a, b) => a * b, 1) / 1000;
model.description.labels.forEach((name, label) => {
  const voxels = data.reduce((count, value) => count + (value === label ? 1 : 0), 0);
  console.log(`${name.padEnd(12)} ${(voxels * millilitres).toFixed(1).padStart(10)} ml`);
});
await writeFileAtomically(target, await segmentation.toNifti());
console.log(`saved ${target}, ${shape.join(' x ')} voxels`);
model.dispose();
await releaseNodeGpu();

/** The bytes of a NIfTI file of a subject that training has not seen. */
async function newPhantom() {
  const { image: voxels, shape: dims, affine } = phantom(1000, { shape: [24, 24, 16] });
  return writeNifti({ data: voxels, shape: dims, affine });
}
