/**
 * Predictions that are asked for all at once, against the same awaited one by one, by turns in one run:
 *   node --import tsx scripts/run.ts --import tsx bench/queue.ts [ROUNDS]
 */
import { phantom } from '../src/data/phantom.ts';
import { writeNifti } from '../src/data/nifti.ts';
import { releaseNodeGpu, UNet3D } from '../src/node.ts';
import { spread } from './lib.ts';

const rounds = Number(process.argv[2] ?? 5);
const count = 8;
const model = await UNet3D.create({ inChannels: 1, classes: 6, features: [8, 16, 32] });
const files = await Promise.all(
  Array.from({ length: count }, (_, subject) => {
    const { image, shape, affine } = phantom(subject, { shape: [96, 96, 48] });
    return writeNifti({ data: image, shape, affine });
  }),
);
const oneByOne = async () => {
  for (const file of files) await model.predict(file);
};
const atOnce = () => Promise.all(files.map((file) => model.predict(file)));
const timed = async (run: () => Promise<unknown>): Promise<number> => {
  const started = performance.now();
  await run();
  return performance.now() - started;
};

await atOnce(); // compiles
const times = { oneByOne: [] as number[], atOnce: [] as number[] };
for (let round = 0; round < rounds; round++) {
  times.oneByOne.push(await timed(oneByOne));
  times.atOnce.push(await timed(atOnce));
}
const ratio = spread(times.oneByOne.map((ms, round) => ms / times.atOnce[round]!));
console.log(
  `${count} predictions on ${model.adapter.split('\n')[0]}: asked for at once they come ` +
    `${ratio.median.toFixed(2)} times as fast (${ratio.least.toFixed(2)}–${ratio.most.toFixed(2)}, ${rounds} rounds)`,
);
model.dispose();
await releaseNodeGpu();
