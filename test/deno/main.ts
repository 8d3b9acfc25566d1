/**
 * The package on Deno's WebGPU, wgpu with naga, as Firefox has them: every kernel with all constants that plans use is
 * parsed and validated, every op is computed and a network trained as in the self-test. `npm run test:deno` runs it.
 */
import type { StorageFormat } from '../../src/gpu/shader.ts';
import { Gpu } from '../../src/node.ts';
import { opCases, trialsOf, tryKernels } from '../../src/self-test/kernels.ts';
import { tryTraining } from '../../src/self-test/training.ts';
import { kernelCode } from '../support/variants.ts';

const problems: string[] = [];
using gpu = await Gpu.open();
console.log(`${navigator.userAgent}: ${gpu.describe}`);

let parsed = 0;
const formats: StorageFormat[] = gpu.device.features.has('shader-f16')
  ? ['f32', 'packed16', 'f16']
  : ['f32', 'packed16'];
for (const [label, code] of kernelCode(formats)) {
  gpu.device.pushErrorScope('validation');
  gpu.device.createShaderModule({ label, code });
  const error = await gpu.device.popErrorScope();
  if (error) problems.push(`${label}: ${error.message}`);
  parsed++;
}
console.log(`${parsed} variants of kernels parsed`);

let computed = 0;
for (const trial of trialsOf(gpu)) {
  if (trial.kernels !== 'table' || trial.precision !== 'f32') continue;
  const { op, right, problem } = await tryKernels(gpu, trial);
  if (!right) problems.push(`${op}: ${problem}`);
  computed++;
}
console.log(`${computed} ops computed`);

const { losses, expected, right, sameBits } = await tryTraining(gpu);
if (!right) problems.push(`training: losses ${losses.join(', ')}; ${expected.join(', ')} expected`);
if (!sameBits) problems.push('training: a second one ended with other bits');
console.log(`losses ${losses.join(', ')}`);

if (parsed < 100 || computed < opCases.length) problems.push('not all was tried');
for (const problem of problems) console.error(problem);
console.log(problems.length === 0 ? 'all is right' : `${problems.length} problems`);
if (problems.length > 0) throw new Error('see above');
