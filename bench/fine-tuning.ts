/**
 * Fine-tuning against training from scratch: a network trained on half of a data set goes on for a few steps on eight other
 * cases, and a new one is trained on these for five times as many; both are tested on others again. Prints a table.
 *
 *     npx tsx scripts/run.ts --import tsx bench/fine-tuning.ts ../shared/data/hippocampus
 *
 * `--base 600 --steps 60 --scratch 300 --seeds 3` are the defaults, tested on all that is left; `--tested 32` tests on so
 * many. Steps are whole epochs. `--base 2 --steps 1 --scratch 2 --seeds 1 --tested 2` shows that it runs.
 */
import { parseArgs } from 'node:util';
import {
  diceCrossEntropy,
  meanDefined,
  oneCycle,
  openDatasetFolder,
  prepareCase,
  defaultPreprocessing,
  releaseNodeGpu,
  splitCases,
  UNet3D,
  type PreparedCase,
} from '../src/node.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    base: { type: 'string', default: '600' },
    steps: { type: 'string', default: '60' },
    scratch: { type: 'string', default: '300' },
    seeds: { type: 'string', default: '3' },
    tested: { type: 'string', default: 'Infinity' },
  },
});
const [base, steps, scratch, seeds, tested] = (['base', 'steps', 'scratch', 'seeds', 'tested'] as const).map(
  (name) => Number(values[name]),
) as [number, number, number, number, number];

const dataset = await openDatasetFolder(positionals[0] ?? '../shared/data/hippocampus');
const preprocessing = defaultPreprocessing(1, [1, 1, 1]);
const prepared = await Promise.all(
  dataset.cases.map(async (item) => {
    const { subject } = item;
    return { subject, ...(await prepareCase(item, preprocessing)) };
  }),
);
const byId = new Map(prepared.map((item) => [item.id, item]));
const casesOf = (ids: readonly string[]): PreparedCase[] => ids.map((id) => byId.get(id)!);

const network = {
  inChannels: 1,
  classes: dataset.labels.length,
  labels: dataset.labels,
  features: [8, 16, 32],
  norm: 'instance',
  preprocessing,
} as const;
const batchSize = 2;

/** Trains for so many steps, each of which sees two cases. */
async function train(
  model: UNet3D,
  cases: readonly PreparedCase[],
  { count, rate, seed }: { count: number; rate: number; seed: number },
): Promise<void> {
  const perEpoch = Math.ceil(cases.length / batchSize);
  await model.fit(cases, {
    epochs: Math.max(1, Math.round(count / perEpoch)),
    batchSize,
    loss: diceCrossEntropy(),
    schedule: oneCycle({ maxLearningRate: rate }),
    seed,
    tune: false,
  });
}

const diceOf = async (model: UNet3D, cases: readonly PreparedCase[]): Promise<number[]> => {
  const scores = await model.evaluate(cases);
  return dataset.labels.map((_, label) => meanDefined(scores.map(({ dice }) => dice[label]!)));
};

const row = (cells: readonly (string | number)[]): string =>
  cells.map((cell) => (typeof cell === 'number' ? cell.toFixed(3) : cell).padStart(14)).join('');
console.log(row(['seed', 'network', ...dataset.labels.slice(1), 'mean']));
for (let seed = 0; seed < seeds; seed++) {
  const { train: half, validation: others } = splitCases(prepared, { fractions: [0.5, 0.5, 0], seed });
  const [few, rest] = [casesOf(others.cases).slice(0, 8), casesOf(others.cases).slice(8, 8 + tested)];
  using first = await UNet3D.create({ ...network, seed });
  await train(first, casesOf(half.cases), { count: base, rate: 0.01, seed });
  using tuned = await UNet3D.load(await first.save());
  await train(tuned, few, { count: steps, rate: 0.003, seed });
  using anew = await UNet3D.create({ ...network, seed });
  await train(anew, few, { count: scratch, rate: 0.01, seed });
  for (const [name, model] of [
    ['before', first],
    [`+ ${steps} steps`, tuned],
    [`new, ${scratch}`, anew],
  ] as const) {
    const dice = (await diceOf(model, rest)).slice(1);
    console.log(row([`${seed}`, name, ...dice, meanDefined(dice)]));
  }
}
await releaseNodeGpu();
