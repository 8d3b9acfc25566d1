/**
 * Evaluation of one case of 256 x 256 x 128 voxels and six classes, every metric: seconds by the clock and of processor
 * time (all of it on one core; the latter counts where the machine has other work) per round.
 * The truth is a phantom of the demo; the prediction is shifted by two voxels, with specks in 0.1 % of the voxels,
 * which make the box of every class that of the whole volume: the most that surface distances can cost.
 *   npx tsx bench/evaluation.ts [rounds]
 */
import { phantom, phantomLabels } from '../src/data/phantom.ts';
import { random } from '../src/data/random.ts';
import { evaluateCase } from '../src/metrics/evaluate.ts';

const rounds = Number(process.argv[2] ?? 5);
const { labels, shape, affine } = phantom(1, { shape: [256, 256, 128] });
const shifted = labels.map((_, at) => labels[at + 2] ?? 0);
const r = random(1, 'specks');
const specks = shifted.map((label) => (r.uniform() < 0.001 ? Math.floor(6 * r.uniform()) : label));
const spacing = [0.9, 0.9, 1.5];
for (const [name, data] of Object.entries({ shifted, specks }))
  for (let round = 0; round < rounds; round++) {
    const [start, before] = [performance.now(), process.cpuUsage()];
    const { classes } = evaluateCase(
      { data: labels, shape, affine, spacing },
      { data, shape, affine, spacing },
      { classes: phantomLabels },
    );
    const seconds = ((performance.now() - start) / 1000).toFixed(2);
    const { user, system } = process.cpuUsage(before);
    console.log(
      name,
      `${seconds} s, processor ${((user + system) / 1e6).toFixed(2)} s; Dice`,
      classes.map(({ dice }) => dice.toFixed(3)).join(' '),
    );
  }
