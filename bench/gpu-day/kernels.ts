/**
 * The self-test row by row, without its limit of time: every kernel against float64, and five steps of training. A lost
 * device is noted with the kernel that lost it, and the rest goes on with a new one.
 *   kernels.ts [--matrix] [--most N]
 * With --matrix those on matrix units, and nothing else. Of each it is told before that it is tried.
 */
import { parseArgs } from 'node:util';
import { DeviceLost } from '../../src/errors.ts';
import { isMatrixKernel } from '../../src/gpu/matrix-units.ts';
import { trialsOf, tryKernels, type KernelRow, type Trial } from '../../src/self-test/kernels.ts';
import { tryTraining } from '../../src/self-test/training.ts';
import { openGpu } from '../lib.ts';
import { tell } from './tell.ts';

const { values: options } = parseArgs({
  options: { matrix: { type: 'boolean', default: false }, most: { type: 'string', default: 'Infinity' } },
});
/** What is right does not fill the file: only the largest error of each storage is told. */
const worst: Record<string, number> = {};
const wrong: KernelRow[] = [];
const lost: string[] = [];
let gpu = await openGpu({ matrixUnits: options.matrix });
const isOnMatrices = ({ kernels }: Trial): boolean => isMatrixKernel(kernels.replace('weights ', ''));
const trials = trialsOf(gpu)
  .filter((trial) => !options.matrix || isOnMatrices(trial))
  .slice(0, Number(options.most));
const started = performance.now();

for (const [index, trial] of trials.entries()) {
  const name = `${trial.op.name}, ${trial.kernels}, ${trial.precision}`;
  // The last one, should all end here.
  console.error(`${((performance.now() - started) / 1000).toFixed(1)} s: ${name}`);
  if (options.matrix) tell({ trying: name, line: `ended over ${name}` });
  try {
    const row = await tryKernels(gpu, trial);
    worst[row.storage] = Math.max(worst[row.storage] ?? 0, row.error ?? Infinity);
    if (!row.right) wrong.push(row);
  } catch (error) {
    if (!(error instanceof DeviceLost)) throw error;
    lost.push(`${name}: ${error.message}`);
    gpu = await openGpu({ matrixUnits: options.matrix });
  }
  const done = index + 1;
  const words = `${done} of ${trials.length} ways of computing tried, ${wrong.length} wrong, ${lost.length} devices lost`;
  if (options.matrix || done % 20 === 0 || done === trials.length || wrong.length + lost.length > 0)
    tell({ tried: done, of: trials.length, worst, wrong, lost, line: words });
}
if (!options.matrix) {
  const training = await tryTraining(gpu);
  tell({ training, seconds: (performance.now() - started) / 1000 });
  if (!training.right || !training.sameBits) tell({ line: `TRAINING WRONG; ${wrong.length} kernels wrong` });
}
process.exit(0);
