/**
 * The first part: what WebGPU finds, with matrix units where they are offered; limits, features, memory, ceilings. Fails
 * where there is no adapter, or with --hardware where that is a program on the CPU.
 */
import { parseArgs } from 'node:util';
import { defaultBudget } from '../../src/model/budget.ts';
import { UnsupportedDevice } from '../../src/errors.ts';
import { requestNodeAdapter } from '../../src/gpu/node.ts';
import { ceilings } from '../ceiling.ts';
import { openGpu, surroundings } from '../lib.ts';
import { takenBytes, tell } from './tell.ts';

const { values: options } = parseArgs({ options: { hardware: { type: 'boolean', default: false } } });

/** WebGPU's objects have accessors, of their prototypes, which JSON does not see. */
function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Symbol.iterator in value) return [...(value as Iterable<unknown>)].map(plain);
  const found: Record<string, unknown> = {};
  for (const name in value) found[name] = plain(value[name as keyof typeof value]);
  return found;
}

for (const matrixUnits of [false, true]) {
  const { adapter } = await requestNodeAdapter({ matrixUnits });
  tell({
    [matrixUnits ? 'unsafe' : 'plain']: {
      info: plain(adapter.info),
      features: [...adapter.features].sort(),
      limits: plain(adapter.limits),
    },
  });
}
const started = performance.now();
const gpu = await openGpu();
const openMs = performance.now() - started;
const { adapterClass, memoryBytes, speed, limits } = gpu;
tell({ ...surroundings(gpu), adapterClass, openMs, memoryBytes, speed, budgetBytes: defaultBudget(gpu) });
if (options.hardware && adapterClass !== 'hardware') throw new UnsupportedDevice(`${gpu.describe} is no GPU`);
const ceiling = await ceilings(gpu);
tell({
  ceiling,
  takenBytes: takenBytes(),
  line:
    `${gpu.describe}: ${ceiling.gflops.toFixed(0)} GFLOP/s, ${ceiling.gigabytes.toFixed(0)} GB/s, ` +
    `${ceiling.dispatchMicroseconds.toFixed(1)} µs a dispatch; bindings of ${limits.maxBindingBytes} bytes`,
});
process.exit(0);
