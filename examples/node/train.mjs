/**
 * Trains on a folder of NIfTI images and labels, and saves the model.
 *   node examples/node/train.mjs DATASET [MODEL]
 * Without a data set it trains on generated phantoms. In a checkout run `npm run build` first.
 */
import { readFile } from 'node:fs/promises';
import {
  UNet3D,
  adam,
  defaultPreprocessing,
  fromArrays,
  labelRules,
  oneCycle,
  openDatasetFolder,
  phantomLabels,
  phantoms,
  prepareCase,
  releaseNodeGpu,
  splitCases,
  weightedDice,
  writeFileAtomically,
} from 'unet3d-gpu';

const [path, target = 'runs/example/model.safetensors'] = process.argv.slice(2);
const { cases, labels, subjects, preprocessing } = path ? await fromFolder(path) : fromPhantoms();
const split = splitCases(subjects, { fractions: [0.8, 0.2, 0] });
const part = (name) => cases.filter(({ id }) => split[name].cases.includes(id));

const model = await UNet3D.create({
  inChannels: cases[0].channels,
  classes: labels.length,
  features: [8, 16, 32],
  norm: 'instance',
  labels,
  preprocessing,
});
console.log(model.adapter);

const sum = (labels.length * (labels.length + 1)) / 2;
const run = model.fit(part('train'), {
  epochs: 12,
  batchSize: 1,
  loss: weightedDice(labels.map((_, label) => (label + 1) / sum)), // the later, the rarer
  optimizer: adam(),
  schedule: oneCycle({ maxLearningRate: 0.01 }),
  validation: part('validation'),
});
for await (const event of run) {
  if (event.type !== 'epoch') continue;
  const dice = event.row.validationDice.map((value, label) => `${labels[label]} ${value.toFixed(3)}`);
  console.log(`epoch ${event.row.epoch + 1}: loss ${event.row.loss.toFixed(3)}, Dice ${dice.join(', ')}`);
}

await writeFileAtomically(target, await model.save());
console.log(`saved ${target}`);
model.dispose();
await releaseNodeGpu();

/** Cases of a Decathlon or nnU-Net data set, or of two folders of images and labels. */
async function fromFolder(folder) {
  const dataset = await openDatasetFolder(folder, { readText: (source) => readFile(source, 'utf8') });
  const preprocessing = defaultPreprocessing(dataset.channels.length || dataset.cases[0].images.length);
  const rules = labelRules(dataset);
  const found = [];
  for (const item of dataset.cases) found.push(await prepareCase(item, preprocessing, rules));
  const labels = dataset.labels.length > 0 ? dataset.labels : namesOf(found);
  return { cases: found, labels, subjects: dataset.cases, preprocessing };
}

/** Names of classes where no dataset.json has them; 255 is what is not known. */
function namesOf(found) {
  let highest = 1;
  for (const { label } of found)
    for (const value of label) if (value < 255 && value > highest) highest = value;
  return Array.from({ length: highest + 1 }, (_, value) => (value === 0 ? 'background' : `class ${value}`));
}

function fromPhantoms() {
  const found = phantoms(20, { shape: [24, 24, 16] }).map(({ image, labels, shape, affine }, subject) =>
    fromArrays(
      `phantom ${subject}`,
      { data: image, dims: shape, affine },
      { data: labels, dims: shape, affine },
    ),
  );
  const subjects = found.map(({ id }) => ({ id, subject: id }));
  return { cases: found, labels: phantomLabels, subjects, preprocessing: defaultPreprocessing() };
}
