/**
 * Our convolutions of each level by themselves, batch 2: the adapter's kernel and the one that measuring chose, held
 * against the ceiling.
 *   convs.ts --convs 16:256,256,128;32:128,128,64 [--precision f16] [--matrix]
 */
import { parseArgs } from 'node:util';
import { tune } from '../../src/model/tune.ts';
import { ceilings } from '../ceiling.ts';
import { kinds, recordConv } from '../convs.ts';
import { openGpu, timePlan } from '../lib.ts';
import { convCases } from './conv-cases.ts';
import { tell } from './tell.ts';

const { values: options } = parseArgs({
  options: {
    convs: { type: 'string', default: '16:256,256,128' },
    precision: { type: 'string', default: 'f32' },
    matrix: { type: 'boolean', default: false },
  },
});
const precision = options.precision === 'f16' ? 'f16' : 'f32';
const gpu = await openGpu({ matrixUnits: options.matrix });
const ceiling = await ceilings(gpu);
tell({ precision, matrixUnits: gpu.matrixUnits, ceiling });
const beyondCache = gpu.adapterClass === 'hardware' ? 512 * 2 ** 20 : 2 ** 20;
const rows: unknown[] = [];
const shares: string[] = [];

for (const { channels, size } of convCases(options.convs)) {
  const conv = { from: [channels], to: channels, size };
  for (const kind of kinds) {
    const record = (kernels = gpu.limits.kernels) =>
      recordConv(kind, conv, { ...gpu.limits, kernels }, beyondCache, precision);
    const run = async (kernels = gpu.limits.kernels) => {
      const { plan, inputs, sets } = record(kernels);
      const { median, least, most } = await timePlan(gpu, plan, inputs, { runs: 5, precision });
      const share = plan.flops / median / 1e6 / ceiling.gflops;
      return { median: median / sets, least: least / sets, most: most / sets, share };
    };
    const { tuned, measured } = await tune(gpu, record().plan.passes, {
      warn: (message) => console.error(message),
    });
    const choice = measured[0] && { kernel: measured[0].kernel, rejected: measured[0].rejected };
    const [table, best] = [await run(), await run({ ...gpu.limits.kernels, tuned })];
    rows.push({ kind, channels, size, table, tuned: best, ...choice });
    shares.push(`${(100 * best.share).toFixed(0)}`);
    tell({ rows, line: `${precision}, share of the ceiling, tuned: ${shares.join(', ')} %` });
  }
}
process.exit(0);
