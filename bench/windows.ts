/**
 * A volume segmented whole and through windows, by the same network, side by side: agreement, Dice against the
 * truth, memory and time. The network is trained for a short while on patches of another phantom.
 *   npx tsx bench/windows.ts [steps]
 */
import { phantom, phantomLabels } from '../src/data/phantom.ts';
import { fromArrays } from '../src/data/prepare.ts';
import type { Size3 } from '../src/size.ts';
import { setAdapterProvider } from '../src/gpu/device.ts';
import { releaseNodeGpu, requestNodeAdapter } from '../src/gpu/node.ts';
import { dice } from '../src/metrics/dice.ts';
import { planInference } from '../src/model/plan.ts';
import { formatBytes } from '../src/format.ts';
import { diceCrossEntropy } from '../src/model/losses.ts';
import { UNet3D, type LabelledCase } from '../src/unet3d.ts';

const steps = Number(process.argv[2] ?? 100);
const shape: Size3 = [256, 256, 64];
const window: Size3 = [128, 128, 64];
const classes = phantomLabels.length;

function prepared(subject: number): LabelledCase {
  const { image, labels } = phantom(subject, { shape: [...shape] });
  const made = fromArrays(`${subject}`, { data: image, dims: shape }, { data: labels, dims: shape });
  return { ...made, label: made.label! };
}

/** The class of each voxel from logits [class][z][y][x]. */
function argmax(logits: Float32Array): Uint8Array {
  const count = logits.length / classes;
  return Uint8Array.from({ length: count }, (_, i) => {
    let best = 0;
    for (let c = 1; c < classes; c++) if (logits[c * count + i]! > logits[best * count + i]!) best = c;
    return best;
  });
}

setAdapterProvider(requestNodeAdapter);
const model = await UNet3D.create({ inChannels: 1, classes, features: [8, 16, 32], norm: 'batch', seed: 1 });
console.log(`GPU: ${model.adapter}`);
const [training, test] = [prepared(1), prepared(2)];
const epochs = Math.ceil(steps / 20);
const cases = Array.from({ length: 20 }, (_, i) => ({ ...training, id: `${i}` }));
await model.fit(cases, { epochs, batchSize: 1, patch: [64, 64, 32], loss: diceCrossEntropy(), seed: 1 });

async function segment(label: string, size: Size3, options: { window?: Size3 }) {
  const started = performance.now();
  const predicted = argmax(await model.logits(test, options));
  const seconds = (performance.now() - started) / 1000;
  const { config, gpu } = model;
  const { plan } = planInference({ config, size, batch: 1, limits: gpu.limits });
  const scores = dice(predicted, test.label, classes).map((value) => value.toFixed(3));
  console.log(`${label}: ${formatBytes(plan.peakBytes)}, ${seconds.toFixed(1)} s, Dice ${scores.join(' ')}`);
  return predicted;
}

model.describe({ inputSize: shape });
const whole = await segment(`whole, ${shape.join(' × ')}`, shape, {});
const parts = await segment(`windows of ${window.join(' × ')}`, window, { window });
const same = whole.reduce((sum, label, i) => sum + (label === parts[i] ? 1 : 0), 0) / whole.length;
console.log(`the same label: ${(100 * same).toFixed(3)} % of ${whole.length} voxels`);
model.dispose();
await releaseNodeGpu();
process.exit(0);
