/** A device with no more than WebGPU grants to everybody runs a training and a prediction. */
import { expect, test } from 'vitest';
import { shaders } from '../../src/generated/shaders.ts';
import { kernelChoices } from '../../src/gpu/choices.ts';
import { Gpu } from '../../src/gpu/device.ts';
import { requestNodeAdapter } from '../../src/gpu/node.ts';
import { Program } from '../../src/gpu/program.ts';
import { shaderInfo, type ShaderName } from '../../src/gpu/shader.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { lossShape, weightedDice } from '../../src/model/losses.ts';
import { planTraining } from '../../src/model/plan.ts';
import { ModelState } from '../../src/model/state.ts';
import { adam } from '../../src/train/optimizers.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { box } from '../support/training.ts';

/** https://www.w3.org/TR/webgpu/#limits */
const defaults = {
  maxStorageBuffersPerShaderStage: 8,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupStorageSize: 16384,
  maxStorageBufferBindingSize: 128 * 2 ** 20,
  maxBufferSize: 256 * 2 ** 20,
};

test('no kernel binds more buffers than every device does', () => {
  const counts = Object.keys(shaders).map((name) => {
    const { bindings } = shaderInfo(name as ShaderName);
    return [name, bindings.filter(({ type }) => type !== 'uniform').length] as const;
  });
  expect(counts.length).toBeGreaterThan(50);
  expect(counts.filter(([, count]) => count > defaults.maxStorageBuffersPerShaderStage)).toEqual([]);
});

test('a training step with the kernels of GPUs is accepted under them', async () => {
  const { adapter } = await requestNodeAdapter();
  const device = await adapter.requestDevice();
  try {
    const gpu = await Gpu.open({ device, limits: { kernels: kernelChoices.hardware } });
    const config = completeConfig({ inChannels: 1, classes: 2, features: [4, 8] });
    const state = new ModelState(gpu, config, 1);
    for (const precision of ['f32', 'f16'] as const) {
      const loss = lossShape(weightedDice(), 2);
      const shape = { config, size: [8, 8, 8], batch: 1, precision, limits: gpu.limits, loss } as const;
      const { plan } = planTraining({ ...shape, optimizer: adam() });
      const names = plan.tensors.filter(({ storage }) => storage === 'shared').map(({ name }) => name);
      // Pipelines, buffers and bind groups are made and validated; test/model runs them.
      using program = await Program.create(gpu, plan, await state.shared(names));
      expect(program.plan.dispatches.some(({ shader }) => shader === 'conv3/forward')).toBe(true);
    }
  } finally {
    device.destroy();
  }
});

test('WebGPU’s default limits, without any feature, are enough', async () => {
  const { adapter } = await requestNodeAdapter();
  const device = await adapter.requestDevice();
  try {
    for (const [name, value] of Object.entries(defaults))
      expect(device.limits[name as keyof typeof defaults], name).toBe(value);
    const { limits } = await Gpu.open({ device });
    expect(limits.maxBindingBytes).toBe(defaults.maxStorageBufferBindingSize);
    expect(limits.maxBufferBytes).toBe(defaults.maxBufferSize);
    using model = await UNet3D.create({
      inChannels: 1,
      classes: 2,
      features: [4, 8],
      device,
      precision: 'f16',
    });
    const { history } = await model.fit([box(1), box(2)], { epochs: 1, batchSize: 2, seed: 5 });
    expect(history[0]!.loss).toBeGreaterThan(0);
    const [score] = await model.evaluate([box(3)]);
    expect(score!.dice.length).toBe(2);
  } finally {
    device.destroy();
  }
});
