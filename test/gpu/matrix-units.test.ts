/** Matrix units: what adapters offer, the names of kernels, and their WGSL for sizes that no adapter here has. */
import { describe, expect, test } from 'vitest';
import {
  hasChoice,
  kernelsOf,
  kindOf,
  mayServe,
  passKey,
  runsOn,
  unavailable,
  type ConvPass,
} from '../../src/gpu/passes.ts';
import { UnsupportedDevice } from '../../src/errors.ts';
import { kernelChoices } from '../../src/gpu/choices.ts';
import { Gpu } from '../../src/gpu/device.ts';
import {
  matrixFeatures,
  matrixForwardConstants,
  matrixKernel,
  matrixKernels,
  matrixNeeds,
  matrixUnitsOf,
  matrixWeightConstants,
} from '../../src/gpu/matrix-units.ts';
import { defaultLimits, Recorder } from '../../src/gpu/plan.ts';
import { shaderInfo, type Constants, type ShaderName } from '../../src/gpu/shader.ts';
import { ones, reach, usualWalk, walkName, walkOf, type Walk } from '../../src/gpu/walk.ts';
import { specialise } from '../../src/gpu/wgsl.ts';
import { words } from '../../src/ops/common.ts';
import { convBackwardWeight, convForward } from '../../src/ops/conv.ts';
import { featurelessDevice, matrixDevice } from '../support/device.ts';
import { sizesLeftOut } from '../support/matrices.ts';

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
const twos = [2, 2, 2] as const;
const point: Walk = { kernel: ones, stride: ones, dilation: ones };
const strided: Walk = { ...usualWalk, stride: twos };
const dilated: Walk = { ...usualWalk, dilation: twos };
const upconv: Walk = { kernel: twos, stride: ones, dilation: twos };
const upconvBackward: Walk = { kernel: twos, stride: twos, dilation: ones };
const walks = [usualWalk, point, strided, dilated, upconv, upconvBackward];

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

  test('may have sizes that no test tries, which are told', () => {
    const leftOut = (...sizes: [number, number, number][]) => {
      const info = infoOf(sizes.map((size) => config(...size)));
      return sizesLeftOut(info, matrixUnitsOf(info, features, ['f16']));
    };
    expect(leftOut([16, 16, 16], [8, 16, 16], [32, 32, 16])).toEqual([]);
    expect(leftOut([16, 16, 4], [16, 16, 16], [64, 16, 16], [24, 8, 8])).toEqual([
      '16x16x4',
      '64x16x16',
      '24x8x8',
    ]);
    expect(leftOut([4, 4, 4])).toEqual(['4x4x4']);
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

test('a device without them is refused where they are asked for', async () => {
  const { device } = await featurelessDevice();
  const open = Gpu.open({ device, matrixUnits: true });
  await expect(open).rejects.toThrow(UnsupportedDevice);
  await expect(open).rejects.toThrow('offers no matrix units for products of float16 into float32');
  await expect(open).rejects.toThrow('or leave the device out');
  device.destroy();
});

describe('kernels', () => {
  const units = matrixUnitsOf(nvidia, features, ['f16']);
  const device = { limits, matrixUnits: units };

  test('are named by the sizes of their matrices and their outputs', () => {
    const deep = ['matrix 16x16x16, 16', 'matrix 16x16x16, 32', 'matrix 16x8x16, 16', 'matrix 16x8x16, 32'];
    const flat = deep.map((name) => `${name} flat`);
    const of = (kind: 'forward' | 'weights', walk?: Walk) =>
      matrixKernels(units, { kind, walk, precision: 'f16' });
    expect(of('forward')).toEqual([...deep, ...flat]);
    expect(of('forward', upconv)).toEqual(deep);
    expect(of('weights', point)).toEqual(deep);
    const sizes = { m: 16, n: 8, k: 16, outputs: 32 };
    expect(matrixKernel('matrix 16x8x16, 32')).toEqual({ ...sizes, flat: false });
    expect(matrixKernel('matrix 16x8x16, 32 flat')).toEqual({ ...sizes, flat: true });
  });

  test.each([
    'matrix 16x16x16',
    'matrix 4x8x8, 16',
    'matrix 16x16x16, 24',
    'matrix 8x8x8, 0',
    'matrix 8x8x8, 8 deep',
    'matrix 8x8x128, 8',
  ])('%s is none', (name) => expect(matrixKernel(name)).toBeUndefined());

  test('are tried in the precisions that the user allows, and nowhere else', () => {
    const pass = { kind: 'forward', precision: 'f32' } as const;
    expect(kernelsOf(pass, units)).toEqual(kernelsOf(pass));
    expect(kernelsOf({ ...pass, precision: 'f16' }, units)).toEqual([
      ...matrixKernels(units, { ...pass, precision: 'f16' }),
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

  test('of the table serve where the name for a pass is unknown', () => {
    const [conv3, tuned] = ['matrix 8x8x8, 8', new Proxy({}, { get: () => 'spheres' })] as const;
    const kernels = { ...kernelChoices.hardware, conv3, conv3Weights: conv3, tuned };
    const recorder = new Recorder({ ...defaultLimits, kernels });
    const numbers = (name: string) => words(recorder.flat(name, 27 * 15), 27 * 15);
    const input = { tensor: recorder.volume('input', 1, 3, [5, 4, 3]) };
    const target = recorder.volume('target', 1, 5, [5, 4, 3]);
    convForward(recorder, 'forward', { inputs: [input], weights: numbers('weights'), target });
    convBackwardWeight(recorder, 'weights', { input, dOutput: target, dWeights: numbers('dWeights') });
    expect(recorder.dispatches.map(({ shader }) => shader)).toEqual([
      'conv_matrix/pack',
      'conv_matrix/forward',
      'conv_matrix/weight_gradient',
      'reduce/partials',
    ]);
  });

  test('are chosen for other walks where there is more than the plain one', () => {
    const pass: ConvPass = {
      kind: 'forward',
      walk: strided,
      inputs: [{ channels: 8, norm: true }],
      channelsOut: 16,
      grid: [16, 16, 16],
      precision: 'f16',
    };
    expect(passKey(pass)).toBe('forward 3x3x3/2x2x2 8n>16 16x16x16 f16');
    expect(kindOf(passKey(pass))).toEqual({ kind: 'forward', walk: strided });
    expect(kernelsOf(pass)).toEqual(['plain']);
    expect(hasChoice(pass, { limits })).toBe(false);
    expect(kernelsOf(pass, units)).toEqual([...matrixKernels(units, pass), 'plain']);
    expect(hasChoice(pass, device)).toBe(true);
    expect(mayServe(passKey(pass), 'matrix 16x16x16, 16', device)).toBe(true);
    // What a walk takes of workgroup memory decides for that walk alone.
    const small = { ...device, limits: { ...limits, maxComputeWorkgroupStorageSize: 32768 } };
    const name = 'matrix 16x16x16, 16';
    expect(mayServe(passKey(pass), `${name} flat`, small)).toBe(true);
    expect(mayServe('forward 2x2x2*2x2x2 8>16 16x16x16 f16', name, small)).toBe(true);
    expect(mayServe(passKey(pass), name, small)).toBe(false);
  });

  test.each(shapes)(
    '%s: every subgroup has as many runs and taps, and its matrices begin at 16 bytes',
    (shape) => {
      for (const rest of ['16', '32', '16 flat', '32 flat']) {
        const kernel = matrixKernel(`matrix ${shape}, ${rest}`)!;
        for (const walk of walks) {
          const forward = matrixForwardConstants(kernel, walk);
          expect((forward.RUNS * forward.LINES * forward.PLANES) % forward.SUBGROUPS).toBe(0);
          expect(forward.PITCH).toBeGreaterThanOrEqual(kernel.k);
          const weights = matrixWeightConstants(kernel, walk);
          expect(walk.kernel.reduce((taps, n) => taps * n) % weights.SHARES).toBe(0);
          expect((weights.RUNS * weights.LINES * weights.PLANES) % weights.LANES).toBe(0);
          expect(weights.PITCH).toBeGreaterThanOrEqual(kernel.n);
          for (const { PITCH, OUTS } of [forward, weights]) {
            expect(PITCH % 8).toBe(0);
            expect(Number.isInteger(OUTS)).toBe(true);
          }
          for (const kind of ['forward', 'weights'] as const)
            if (kind === 'forward' || walk.dilation === ones) {
              const { bytes, threads } = matrixNeeds({ kind, walk }, kernel, 32);
              const most = kernel.flat ? 32768 : limits.maxComputeWorkgroupStorageSize;
              expect(bytes).toBeLessThanOrEqual(most);
              expect(threads).toBeLessThanOrEqual(limits.maxComputeInvocationsPerWorkgroup);
            }
        }
      }
    },
  );
});

describe('walks', () => {
  test('are named and found by their names', () => {
    expect(walks.map(walkName)).toEqual([
      undefined,
      '1x1x1',
      '3x3x3/2x2x2',
      '3x3x3*2x2x2',
      '2x2x2*2x2x2',
      '2x2x2/2x2x2',
    ]);
    for (const walk of walks.slice(1)) expect(walkOf(walkName(walk)!)).toEqual(walk);
    for (const name of ['', '8n>16', '3x3', '4x3x3', '3x3x3/3x1x1']) expect(walkOf(name)).toBeUndefined();
  });

  test('reach as far as their taps', () => {
    expect(reach(usualWalk, 0)).toEqual({ before: 1, after: 1 });
    expect(reach(point, 1)).toEqual({ before: 0, after: 0 });
    expect(reach(upconvBackward, 2)).toEqual({ before: 0, after: 1 });
    expect(reach(upconv, 2)).toEqual({ before: 1, after: 0 });
  });
});

// Pipelines are only made for sizes that the adapter has; the code is checked for all.
const gpu = await matrixDevice();

describe('WGSL', () => {
  test.for(shapes)('%s is valid', async (shape, { skip }) => {
    if (!gpu) return skip('the adapter offers no matrix units, so that its WGSL knows none');
    const kernel = matrixKernel(`matrix ${shape}, 32`)!;
    const codes: [ShaderName, Constants][] = [
      ['conv_matrix/pack', { N: kernel.n, K: kernel.k, TRANSPOSE: true }],
      ...walks.flatMap((walk): [ShaderName, Constants][] => [
        ['conv_matrix/forward', { ...matrixForwardConstants(kernel, walk), INPUTS: 2, NORM_A: true }],
        ['conv_matrix/weight_gradient', { ...matrixWeightConstants(kernel, walk), NORM: true }],
      ]),
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
