/**
 * Kills a training with SIGKILL again and again, resumes it each time, and compares its last weights, bit for bit,
 * with those of a training that was left alone:
 * `npx tsx scripts/kill-training.ts [kills] [seed]`
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeNifti } from '../src/data/nifti.ts';
import { phantom } from '../src/data/phantom.ts';
import { lavapipeNode, runNode } from '../src/gpu/lavapipe.node.ts';
import { trainThroughKills } from '../test/crash/kill.ts';

const [kills, seed] = [Number(process.argv[2] ?? 20), Number(process.argv[3] ?? 1)];
const node = (await lavapipeNode()) ?? process.execPath;
const folder = await mkdtemp(join(tmpdir(), 'unet3d-kill-'));
const shape = [8, 8, 8] as const;
const data = join(folder, 'data');
for (const kind of ['data/images', 'data/labels', 'killed'])
  await mkdir(join(folder, kind), { recursive: true });
for (let subject = 0; subject < 8; subject++) {
  const { image, labels, affine } = phantom(subject, { shape });
  const name = `Case_${subject}.nii.gz`;
  await writeFile(join(data, 'images', name), await writeNifti({ data: image, shape, affine }));
  await writeFile(join(data, 'labels', name), await writeNifti({ data: labels, shape, affine }));
}
// Two thirds of eight subjects and batches of one: six steps an epoch.
const [epochs, stepsPerEpoch] = [12, 6];
const args = [data, '--features', '8,16', '--epochs', String(epochs), '--batch-size', '1'];
args.push('--ema', '0.99', '--subject-pattern', String.raw`Case_(\d+)`);
// Augmented patches with a margin, so that the random numbers of places and draws must go on as well.
args.push('--preprocessing', 'nnunet', '--augment', 'nnunet', '--patch', '6,6,6');

const whole = join(folder, 'whole');
const main = new URL('../src/cli/main.ts', import.meta.url).pathname;
const started = performance.now();
const code = await runNode(node, ['--import', 'tsx', main, 'train', '--out', whole, ...args]);
if (code !== 0) throw new Error(`the training that is left alone ended with ${code}`);

let killedInWriting = 0;
const out = join(folder, 'killed');
await trainThroughKills({
  ...{
    command: [node, '--import', 'tsx', main] as const,
    args,
    out,
    steps: epochs * stepsPerEpoch,
    stepsPerEpoch,
    kills,
    seed,
  },
  onDeath({ step, writing, delayMs, half }) {
    if (half.some((name) => name.startsWith('checkpoint'))) killedInWriting++;
    const when = `${writing ? 'at a checkpoint after' : 'after'} step ${step}, ${delayMs.toFixed(1)} ms later`;
    console.log(`killed ${when}${half.length > 0 ? `; half written: ${half.join(', ')}` : ''}`);
  },
});
const read = (run: string) => readFile(join(run, 'model.safetensors'));
const same = (await read(out)).equals(await read(whole));
const minutes = ((performance.now() - started) / 60_000).toFixed(1);
console.log(
  `${kills} kills, ${killedInWriting} of them leaving an unfinished checkpoint file; ${minutes} min; the weights are ` +
    (same ? 'the same to the last bit' : 'NOT the same'),
);
await rm(folder, { recursive: true, force: true });
process.exit(same ? 0 : 1);
