/**
 * The package on Deno's WebGPU, wgpu with naga, as Firefox has them: every kernel with all constants that plans use is
 * parsed and validated, every op is computed and a network trained as in the self-test. `npm run test:deno` runs it.
 */
import { kernelChoices, type KernelChoices } from '../../src/gpu/choices.ts';
import { kernelsOf } from '../../src/gpu/passes.ts';
import { defaultLimits } from '../../src/gpu/plan.ts';
import {
  shaderInfo,
  variantLabel,
  type Constants,
  type ShaderName,
  type StorageFormat,
} from '../../src/gpu/shader.ts';
import { specialise } from '../../src/gpu/wgsl.ts';
import { Gpu, planTraining, weightedDice, lossShape, adam, completeConfig } from '../../src/node.ts';
import { OpBench } from '../../src/self-test/bench.ts';
import { opCases, trialsOf, tryKernels } from '../../src/self-test/kernels.ts';
import { tryTraining } from '../../src/self-test/training.ts';

const problems: string[] = [];
using gpu = await Gpu.open();
console.log(`${navigator.userAgent}: ${gpu.describe}`);

/** All kernels of these plans, each with its constants. */
function variants(): Map<string, readonly [ShaderName, Constants]> {
  const found = new Map<string, readonly [ShaderName, Constants]>();
  const add = (dispatches: readonly { shader: ShaderName; constants: Constants }[]): void => {
    for (const { shader, constants } of dispatches)
      found.set(variantLabel(shaderInfo(shader), constants), [shader, constants]);
  };
  const tables = [
    ...Object.values(kernelChoices),
    ...kernelsOf({ kind: 'forward', precision: 'f32' }).map(
      (conv3) => ({ ...kernelChoices.hardware, conv3 }) as KernelChoices,
    ),
    ...kernelsOf({ kind: 'weights', precision: 'f32' }).map(
      (conv3Weights) => ({ ...kernelChoices.hardware, conv3Weights }) as KernelChoices,
    ),
  ];
  const networks = [
    { inChannels: 1, classes: 2, features: [8, 16, 32] },
    {
      inChannels: 2,
      classes: 6,
      features: [16, 32],
      norm: 'instance',
      activation: 'leakyRelu',
      down: 'conv',
    },
    { inChannels: 1, classes: 3, features: [4, 8, 16, 32], block: 'residual', deepSupervision: true },
  ] as const;
  for (const kernels of tables) {
    const limits = { ...defaultLimits, kernels };
    for (const op of opCases) add(new OpBench(op, limits).recorder.dispatches);
    for (const network of networks) {
      const config = completeConfig(network);
      const loss = lossShape(weightedDice(), config.classes);
      const wish = {
        config,
        size: [16, 16, 16],
        batch: 2,
        limits,
        precision: 'f32',
        loss,
        optimizer: adam(),
      } as const;
      add(planTraining(wish).plan.dispatches);
    }
  }
  return found;
}

let parsed = 0;
const formats: StorageFormat[] = gpu.device.features.has('shader-f16')
  ? ['f32', 'packed16', 'f16']
  : ['f32', 'packed16'];
for (const [name, [shader, constants]] of variants())
  for (const format of shaderInfo(shader).readsVolumes ? formats : (['f32'] as const)) {
    const code = specialise(shaderInfo(shader), constants, format);
    gpu.device.pushErrorScope('validation');
    gpu.device.createShaderModule({ label: name, code });
    const error = await gpu.device.popErrorScope();
    if (error) problems.push(`${name} in ${format}: ${error.message}`);
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
