/** All kernels with all constants that plans use, of every table and every network in one place. */
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
import { adam, completeConfig, lossShape, planTraining, weightedDice } from '../../src/node.ts';
import { OpBench } from '../../src/self-test/bench.ts';
import { opCases } from '../../src/self-test/kernels.ts';

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

/** Kernels of all plans, each with its constants. */
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

/** The WGSL of each in each of these formats, by a name that says what it is. */
export function* kernelCode(formats: readonly StorageFormat[]): Generator<[name: string, code: string]> {
  for (const [name, [shader, constants]] of variants()) {
    const info = shaderInfo(shader);
    for (const format of info.readsVolumes ? formats : (['f32'] as const))
      yield [`${name} in ${format}`, specialise(info, constants, format)];
  }
}
