/**
 * Annotate, train, correct, by a scripted annotator who knows the truth: every eighth slice of six cases is drawn, a network
 * learns from these slices alone and proposes the rest, of the case that it segments worst, and that is not corrected yet, the proposal is accepted and its
 * wrong slices are drawn anew, and training goes on from the present weights. Beside it, a network that has the full labels
 * of the same cases learns for as many steps. Both are scored on cases of other people. Prints tables and draws
 * bench/results/annotating.png.
 *
 *     node --import tsx scripts/run.ts --import tsx bench/annotating.ts ../shared/data/hippocampus
 *
 * `--rounds 4 --steps 240 --cases 6 --held 12 --seed 0` are the defaults, steps being those of a round;
 * `--rounds 2 --steps 3 --cases 2 --held 2` shows that it runs.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  defaultPreprocessing,
  diceCrossEntropy,
  ignored,
  meanDefined,
  nnunetAugmentation,
  oneCycle,
  openDatasetFolder,
  prepareCase,
  releaseNodeGpu,
  splitCases,
  UNet3D,
  type Case,
  type LabelledCase,
} from '../src/node.ts';
import { lineChart } from '../src/report/curves.ts';
import { encodePng } from '../src/report/png.ts';
import { createPicture } from '../src/report/raster.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '4' },
    steps: { type: 'string', default: '240' },
    cases: { type: 'string', default: '6' },
    held: { type: 'string', default: '12' },
    seed: { type: 'string', default: '0' },
  },
});
const rounds = Number(values.rounds);
const steps = Number(values.steps);
const seed = Number(values.seed);
const batchSize = 2;
const patch = [32, 40, 32] as const;
/** Slices from one that is drawn to the next. */
const every = 8;

const dataset = await openDatasetFolder(positionals[0] ?? '../shared/data/hippocampus');
const preprocessing = defaultPreprocessing(1);
const { train, test } = splitCases(dataset.cases, { seed });
const byId = new Map(dataset.cases.map((item) => [item.id, item]));

/** One case of each of so many people. */
async function some(ids: readonly string[], count: number): Promise<(Case & LabelledCase)[]> {
  const people = new Map(ids.map((id) => [byId.get(id)!.subject, byId.get(id)!]));
  const chosen = [...people.values()].slice(0, count);
  return Promise.all(
    chosen.map(async (item) => ({ ...item, ...((await prepareCase(item, preprocessing)) as LabelledCase) })),
  );
}
const cases = await some(train.cases, Number(values.cases));
const held = await some(test.cases, Number(values.held));

/** What the annotator has drawn of a case, slices across z, and the label that the network learns from. */
interface Drawing {
  readonly slices: Set<number>;
  readonly label: Uint8Array;
}

const drawings = cases.map(({ label, shape }): Drawing => {
  const count = Math.floor((shape[2] - every / 2) / every) + 1;
  const slices = new Set(Array.from({ length: count }, (_, i) => every / 2 + i * every));
  const area = shape[0] * shape[1];
  return {
    slices,
    label: label.map((value, voxel) => (slices.has(Math.floor(voxel / area)) ? value : ignored)),
  };
});

/** Accepts a proposal for a case, and draws anew each slice of it that is wrong. Returns how many slices that are. */
function correct(
  { label, shape }: LabelledCase,
  predicted: Uint8Array,
  { slices, ...drawing }: Drawing,
): number {
  const area = shape[0] * shape[1];
  const before = slices.size;
  label.forEach((value, voxel) => value !== predicted[voxel] && slices.add(Math.floor(voxel / area)));
  drawing.label.set(label);
  return slices.size - before;
}

const create = () =>
  UNet3D.create({
    inChannels: 1,
    classes: dataset.labels.length,
    labels: dataset.labels,
    features: [8, 16, 32],
    norm: 'instance',
    preprocessing,
    seed,
  });

/** Goes on from the present weights; what later rounds may change is less. */
const learn = (model: UNet3D, given: readonly LabelledCase[], round: number) =>
  model.fit(given, {
    epochs: Math.ceil((steps * batchSize) / given.length),
    batchSize,
    patch,
    seed: seed + round,
    loss: diceCrossEntropy(),
    schedule: oneCycle({ maxLearningRate: round === 0 ? 0.01 : 0.005 }),
    augmentation: nnunetAugmentation({ mirror: [0.5, 0, 0] }),
    tune: false,
  });

const foreground = ({ dice }: { readonly dice: readonly number[] }): number => meanDefined(dice.slice(1));
const scored = async (model: UNet3D): Promise<number[]> => {
  const scores = await model.evaluate(held);
  return dataset.labels.slice(1).map((_, c) => meanDefined(scores.map(({ dice }) => dice[c + 1]!)));
};

const digits = (value: number): string => value.toFixed(3);
const row = (cells: readonly (string | number)[]): void => {
  console.log(`| ${cells.join(' | ')} |`);
};
using sparse = await create();
using full = await create();
console.log(
  `${cases.length} cases of ${cases.length} people to annotate, ${held.length} of others to score; ${steps} steps of ` +
    `${batchSize} patches of ${patch.join(' x ')} a round, on ${sparse.adapter}\n`,
);
const allSlices = cases.reduce((sum, { shape }) => sum + shape[2], 0);
const table: { slices: number; sparse: number[]; full: number[] }[] = [];
const notes: string[] = [];
const corrected = new Set<number>();
const names = dataset.labels.slice(1);
row([
  'round',
  'slices drawn',
  'share',
  ...names,
  'mean',
  ...names.map((name) => `${name}, full`),
  'mean, full',
]);
row(new Array<string>(3 + 2 * (names.length + 1)).fill('---:'));
for (let round = 0; round < rounds; round++) {
  const slices = drawings.reduce((sum, { slices }) => sum + slices.size, 0);
  const labels = cases.map((item, index) => ({ ...item, label: drawings[index]!.label }));
  await learn(sparse, labels, round);
  await learn(full, cases, round);
  const found = { slices, sparse: await scored(sparse), full: await scored(full) };
  table.push(found);
  row([
    round + 1,
    slices,
    `${((100 * slices) / allSlices).toFixed(0)} %`,
    ...[found.sparse, found.full].flatMap((dice) => [...dice, meanDefined(dice)].map(digits)),
  ]);
  if (round + 1 === rounds) break;

  const proposals = await sparse.evaluate(cases);
  const unsure: number[] = [];
  for (const { images } of cases)
    unsure.push((await sparse.predict(images, { uncertainty: true })).uncertainty!.mean);
  const dice = proposals.map(foreground);
  const open = [...dice.keys()].filter((index) => !corrected.has(index));
  const worst = open.reduce((least, index) => (dice[index]! < dice[least]! ? index : least));
  corrected.add(worst);
  const rank = open.filter((index) => unsure[index]! >= unsure[worst]!).length;
  const added = correct(cases[worst]!, proposals[worst]!.predicted, drawings[worst]!);
  notes.push(
    `After round ${round + 1} the worst proposal was ${cases[worst]!.id}, Dice ${digits(dice[worst]!)}, number ${rank} of ` +
      `${open.length} by uncertainty; ${added} of its ${cases[worst]!.shape[2]} slices were drawn anew.`,
  );
}
console.log(`\n${notes.join('\n')}`);
const last = table.at(-1)!;
const difference = meanDefined(last.full) - meanDefined(last.sparse);
console.log(`\nFull labels are better by ${digits(difference)} Dice; the aim is 0.03 at most.`);

const picture = createPicture(800, 260);
lineChart(
  picture,
  { left: 20, top: 20, width: 760, height: 220 },
  'Dice on cases of other people, mean of both parts',
  [
    { name: 'all slices', color: [213, 94, 0], of: (at: (typeof table)[number]) => at.full },
    { name: 'drawn', color: [0, 114, 178], of: (at: (typeof table)[number]) => at.sparse },
  ].map(({ name, color, of }) => ({
    name,
    color: color as [number, number, number],
    x: table.map(({ slices }) => slices),
    y: table.map((at) => meanDefined(of(at))),
  })),
  { xLabel: `slices drawn, of ${allSlices}` },
);
writeFileSync(new URL('./results/annotating.png', import.meta.url), await encodePng(picture));
await releaseNodeGpu();
