/**
 * The package on Deno's WebGPU, wgpu with naga, as Firefox has them: every kernel with all constants that plans use is
 * parsed and validated; every op is computed and a network trained as in the self-test; then other ways of computing,
 * float16 natively and packed, tiles and the other reduction, for as many seconds as it is told, but some of each.
 * `npm run test:deno` runs it.
 */
import process from 'node:process';
import type { StorageFormat } from '../../src/gpu/shader.ts';
import { Gpu } from '../../src/node.ts';
import { opCases, trialsOf, tryKernels, type Trial } from '../../src/self-test/kernels.ts';
import { tryTraining } from '../../src/self-test/training.ts';
import { kernelCode } from '../support/variants.ts';

const seconds = Number(process.argv[2]);
const problems: string[] = [];
using gpu = await Gpu.open();
/** Without native float16: volumes are packed. */
using packing = await Gpu.open({ device: gpu.device });
packing.packHalves();
console.log(`${navigator.userAgent}: ${gpu.describe}`);

let parsed = 0;
const native = gpu.device.features.has('shader-f16');
const formats: StorageFormat[] = native ? ['f32', 'packed16', 'f16'] : ['f32', 'packed16'];
for (const [label, code] of kernelCode(formats)) {
  gpu.device.pushErrorScope('validation');
  gpu.device.createShaderModule({ label, code });
  const error = await gpu.device.popErrorScope();
  if (error) problems.push(`${label}: ${error.message}`);
  parsed++;
}
console.log(`${parsed} variants of kernels parsed`);

async function computes(trial: Trial, on = gpu): Promise<void> {
  const { op, kernels, storage, right, problem } = await tryKernels(on, trial);
  if (!right) problems.push(`${op}, ${kernels}, ${storage}: ${problem}`);
}

const trials = trialsOf(gpu);
const isFirst = ({ kernels, precision }: Trial): boolean => kernels === 'table' && precision === 'f32';
const first = trials.filter(isFirst);
for (const trial of first) await computes(trial);
console.log(`${first.length} ops computed`);

const { losses, expected, right, sameBits } = await tryTraining(gpu);
if (!right) problems.push(`training: losses ${losses.join(', ')}; ${expected.join(', ')} expected`);
if (!sameBits) problems.push('training: a second one ended with other bits');
console.log(`losses ${losses.join(', ')}`);

if (parsed < 100 || first.length < opCases.length) problems.push('not all was tried');

const others = trials.filter((trial) => !isFirst(trial));
const halves = others.filter(({ precision }) => precision === 'f16');
type Ways = readonly [name: string, of: readonly Trial[], on: Gpu];
const natively: Ways = ['in float16, natively', halves, gpu];
const sets: readonly Ways[] = [
  ['in float16, packed', halves, packing],
  ...(native ? [natively] : []),
  ['with the other reduction', others.filter(({ kernels }) => kernels.endsWith('reduction')), gpu],
  [
    'with other convolutions',
    others.filter(({ kernels, precision }) => precision === 'f32' && !kernels.endsWith('reduction')),
    gpu,
  ],
];
if (!native) console.log('this adapter offers no float16 of its own on wgpu');
const computed = sets.map(() => 0);
const started = performance.now();
// In turns, so that there are some of each.
for (let turn = 0; sets.some(([, of]) => turn < of.length); turn++)
  for (const [i, [, of, on]] of sets.entries()) {
    const trial = of[turn];
    if (!trial || (turn > 0 && performance.now() - started > 1000 * seconds)) continue;
    await computes(trial, on);
    computed[i]!++;
  }
for (const [i, [name, of]] of sets.entries()) {
  console.log(`${computed[i]} of ${of.length} ${name} computed`);
  if (computed[i] === 0) problems.push(`none ${name}`);
}

for (const problem of problems) console.error(problem);
console.log(problems.length === 0 ? 'all is right' : `${problems.length} problems`);
if (problems.length > 0) throw new Error('see above');
