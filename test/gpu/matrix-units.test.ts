/** Matrix units: what adapters offer, the names of kernels, and their WGSL for sizes that no adapter here has. */
import { describe, expect, test } from 'vitest';
import { kernelsOf, mayServe, runsOn, unavailable } from '../../src/gpu/passes.ts';
import { kernelChoices } from '../../src/gpu/choices.ts';
import {
  matrixFeatures,
  matrixForwardConstants,
  matrixForwardNeeds,
  matrixKernel,
  matrixKernels,
  matrixUnitsOf,
  matrixWeightConstants,
  matrixWeightNeeds,
} from '../../src/gpu/matrix-units.ts';
import { shaderInfo, type Constants, type ShaderName } from '../../src/gpu/shader.ts';
import { specialise } from '../../src/gpu/wgsl.ts';
import { matrixDevice } from '../support/device.ts';

const config = (M: number, N: number, K: number, componentType = 'f16', resultComponentType = 'f32') => ({
  M,
  N,
  K,
  componentType,
  resultComponentType,
});
const infoOf = (subgroupMatrixConfigs: readonly object[], subgroupMinSize = 32, subgroupMaxSize = 32) =>
  ({ subgroupMatrixConfigs, subgroupMinSize, subgroupMaxSize }) as unknown as GPUAdapterInfo;
const features = new Set<string>(matrixFeatures);
const nvidia = infoOf([config(16, 16, 16), config(16, 8, 16), config(16, 16, 16, 'f16', 'f16')]);
const limits = {
  maxComputeWorkgroupStorageSize: 49152,
  maxComputeInvocationsPerWorkgroup: 1024,
  maxComputeWorkgroupSizeX: 1024,
} as GPUSupportedLimits;
const shapes = ['8x8x8', '16x16x16', '16x8x16', '8x16x16'];

describe('an adapter', () => {
  test('offers what multiplies float16 into float32', () => {
    const units = matrixUnitsOf(nvidia, features, ['f16'])!;
    expect(units.subgroup).toBe(32);
    expect(units.shapes).toEqual([
      { m: 16, n: 16, k: 16 },
      { m: 16, n: 8, k: 16 },
    ]);
    const others = [config(8, 8, 8, 'f32', 'f32'), config(8, 8, 8, 'i8', 'i32'), config(4, 4, 4)];
    expect(matrixUnitsOf(infoOf(others), features, ['f16'])).toBeUndefined();
  });

  test.each(matrixFeatures)('offers none without %s', (feature) => {
    const fewer = new Set(features);
    fewer.delete(feature);
    expect(matrixUnitsOf(nvidia, fewer, ['f16'])).toBeUndefined();
  });

  test('has subgroups of one size, or of a size that can be chosen', () => {
    const several = infoOf([config(16, 16, 16)], 32, 64);
    expect(matrixUnitsOf(several, features, ['f16'])).toBeUndefined();
    const controlled = new Set([...features, 'subgroup-size-control']);
    expect(matrixUnitsOf(several, controlled, ['f16'])?.subgroup).toBe(64);
  });
});

describe('kernels', () => {
  const units = matrixUnitsOf(nvidia, features, ['f16']);
  const device = { limits, matrixUnits: units };

  test('are named by the sizes of their matrices and their outputs', () => {
    expect(matrixKernels(units, 'f16')).toEqual([
      'matrix 16x16x16, 16',
      'matrix 16x16x16, 32',
      'matrix 16x8x16, 16',
      'matrix 16x8x16, 32',
    ]);
    expect(matrixKernel('matrix 16x8x16, 32')).toEqual({ m: 16, n: 8, k: 16, outputs: 32 });
  });

  test.each([
    'matrix 16x16x16',
    'matrix 4x8x8, 16',
    'matrix 16x16x16, 24',
    'matrix 8x8x8, 0',
    'matrix 8x8x128, 8',
  ])('%s is none', (name) => expect(matrixKernel(name)).toBeUndefined());

  test('are tried in the precisions that the user allows, and nowhere else', () => {
    const pass = { kind: 'forward', precision: 'f32' } as const;
    expect(kernelsOf(pass, units)).toEqual(kernelsOf(pass));
    expect(kernelsOf({ ...pass, precision: 'f16' }, units)).toEqual([
      ...matrixKernels(units, 'f16'),
      ...kernelsOf(pass),
    ]);
    expect(mayServe('forward 8>8 16x16x16 f16', 'matrix 16x16x16, 16', device)).toBe(true);
    expect(mayServe('forward 8>8 16x16x16 f32', 'matrix 16x16x16, 16', device)).toBe(false);
    expect(mayServe('forward 8>8 16x16x16 f16', 'matrix 16x16x16, 16', { limits })).toBe(false);
  });

  test('run on devices that have their sizes and the memory', () => {
    expect(runsOn('matrix 16x16x16, 16', device)).toBe(true);
    expect(runsOn('matrix 8x8x8, 16', device)).toBe(false);
    expect(runsOn('matrix 16x16x16, 16', { limits })).toBe(false);
    const small = { ...limits, maxComputeWorkgroupStorageSize: 16384 };
    expect(runsOn('matrix 16x16x16, 16', { ...device, limits: small })).toBe(false);
    const stored = (tuned: Record<string, string>) => ({ ...kernelChoices.hardware, tuned });
    const name = 'matrix 16x16x16, 16';
    expect(unavailable(stored({ 'forward 8>8 16x16x16 f16': name }), device)).toEqual([]);
    expect(unavailable(stored({ 'forward 8>8 16x16x16 f32': name }), device)).toEqual([name]);
  });

  test.each(shapes)(
    '%s: every subgroup has as many runs and taps, and its matrices begin at 16 bytes',
    (shape) => {
      for (const outputs of [16, 32]) {
        const kernel = matrixKernel(`matrix ${shape}, ${outputs}`)!;
        const walk = { kernel: [3, 3, 3], stride: [1, 1, 1] } as const;
        const forward = matrixForwardConstants(kernel, walk);
        expect((forward.RUNS * forward.LINES * forward.PLANES) % forward.SUBGROUPS).toBe(0);
        expect(forward.PITCH).toBeGreaterThanOrEqual(kernel.k);
        const weights = matrixWeightConstants(kernel, walk);
        expect(27 % weights.SUBGROUPS).toBe(0);
        expect(weights.PITCH).toBeGreaterThanOrEqual(kernel.n);
        for (const { PITCH, OUTS } of [forward, weights]) {
          expect(PITCH % 8).toBe(0);
          expect(Number.isInteger(OUTS)).toBe(true);
        }
        for (const { bytes } of [matrixForwardNeeds(kernel, 32), matrixWeightNeeds(kernel, 32)])
          expect(bytes).toBeLessThanOrEqual(limits.maxComputeWorkgroupStorageSize);
      }
    },
  );
});

// Pipelines are only made for sizes that the adapter has; the code is checked for all.
const gpu = await matrixDevice();

describe('WGSL', () => {
  test.for(shapes)('%s is valid', async (shape, { skip }) => {
    if (!gpu) return skip('the adapter offers no matrix units, so that its WGSL knows none');
    const kernel = matrixKernel(`matrix ${shape}, 32`)!;
    const walk = { kernel: [3, 3, 3], stride: [1, 1, 1] } as const;
    const codes: [ShaderName, Constants][] = [
      ['conv_matrix/pack', { N: kernel.n, K: kernel.k, TRANSPOSE: true }],
      ['conv_matrix/forward', { ...matrixForwardConstants(kernel, walk), INPUTS: 2, NORM_A: true }],
      ['conv_matrix/weight_gradient', { ...matrixWeightConstants(kernel, walk), NORM: true }],
    ];
    for (const [name, constants] of codes)
      for (const format of ['f32', 'f16'] as const) {
        const subgroup = shaderInfo(name).usesMatrices ? { size: 32, controlled: false } : undefined;
        const code = specialise(shaderInfo(name), constants, format, subgroup);
        const { messages } = await gpu.checked(name, () =>
          gpu.device.createShaderModule({ code }).getCompilationInfo(),
        );
        expect(messages.map(({ message }) => message)).toEqual([]);
      }
  });
});
