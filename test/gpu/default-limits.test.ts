/** A device with no more than WebGPU grants to everybody runs a training and a prediction, with the kernels of GPUs too. */
import { expect, test } from 'vitest';
import { kernelChoices } from '../../src/gpu/choices.ts';
import { Gpu } from '../../src/gpu/device.ts';
import { requestNodeAdapter } from '../../src/gpu/node.ts';
import { shaderInfo, type ShaderName } from '../../src/gpu/shader.ts';
import { shaders } from '../../src/generated/shaders.ts';
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

test.each([
  ['the adapter', undefined],
  ['GPUs', kernelChoices.hardware],
])('WebGPU’s default limits, without any feature, are enough for the kernels of %s', async (_, kernels) => {
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
      ...(kernels && { limits: { kernels } }),
    });
    const { history } = await model.fit([box(1), box(2)], { epochs: 1, batchSize: 2, seed: 5 });
    expect(history[0]!.loss).toBeGreaterThan(0);
    const [score] = await model.evaluate([box(3)]);
    expect(score!.dice.length).toBe(2);
  } finally {
    device.destroy();
  }
});
