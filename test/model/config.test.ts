/** Configurations: what they are completed to, and what sizes they take. */
import { describe, expect, test } from 'vitest';
import { completeConfig } from '../../src/model/complete-config.ts';
import { paddedSize, sizeMultiple } from '../../src/model/sizes.ts';
import type { UNet3DConfig } from '../../src/model/config.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { planTraining } from '../../src/model/plan.ts';
import { unet } from '../../src/model/unet.ts';

const net = { inChannels: 1, classes: 2, features: [4, 8, 16] };

describe('strides', () => {
  test('of 2 along every axis are what a configuration without any has', () => {
    const usual = { ...net, strides: [2, 2].map(() => [2, 2, 2] as const) };
    expect(completeConfig(usual)).toEqual(completeConfig(net));
    expect(sizeMultiple(completeConfig(net))).toEqual([4, 4, 4]);
  });

  const config = completeConfig({
    ...net,
    strides: [
      [2, 2, 1],
      [2, 1, 2],
    ],
  });

  test('decide by how much each axis shrinks, and to what volumes are padded', () => {
    expect(sizeMultiple(config)).toEqual([4, 2, 2]);
    expect(paddedSize(config, [9, 9, 9])).toEqual([12, 10, 10]);
    const { graph } = unet(config, { batch: 1, size: [12, 10, 6] });
    const sizeOf = (name: string) => graph.nodes.find((node) => node.name === name)!.shape.size;
    expect(sizeOf('encoder.1.pool')).toEqual([6, 5, 6]);
    expect(sizeOf('encoder.2.conv2')).toEqual([3, 5, 3]);
    expect(sizeOf('decoder.1.up')).toEqual([6, 5, 6]);
    expect(sizeOf('head')).toEqual([12, 10, 6]);
  });

  test('other sizes are refused with the multiples of each axis', () => {
    const loss = { classes: 2, dice: 1, crossEntropy: 0, smooth: 1e-5, batchDice: false };
    const shape = { config, batch: 1, loss, optimizer: { kind: 'adam' } } as const;
    expect(() => planTraining({ ...shape, size: [12, 10, 5] })).toThrow(
      'takes sizes in multiples of 4, 2, 2 (x, y, z); got [12, 10, 5] (x, y, z)',
    );
  });

  test.each<[unknown]>([
    [[[2, 2, 2]]],
    [
      [
        [2, 2, 3],
        [2, 2, 2],
      ],
    ],
    [
      [
        [2, 2],
        [2, 2, 2],
      ],
    ],
    ['2'],
    [[2, 2]],
  ])('%j are refused', (strides) => {
    const given = { ...net, strides } as unknown as UNet3DConfig;
    expect(() => completeConfig(given)).toThrow(
      /strides.* is .*; give x, y, z of 1 or 2 for each level but the first, such as \[2, 2, 1\]/,
    );
  });
});

const cube = (n: number) => [n, n, n] as const;
/** nnU-Net's `arch_kwargs` of a ResidualEncoderUNet, as a configuration. */
const residual = {
  ...net,
  norm: 'instance',
  activation: 'leakyRelu',
  slope: 0.02,
  strides: [[2, 2, 1], cube(2)],
  kernels: [[3, 3, 1], cube(3), cube(3)],
  block: 'residual',
  encoderBlocks: [1, 3, 4],
  decoderBlocks: [1, 1],
  down: 'conv',
  bias: false,
  heads: 2,
} as const satisfies UNet3DConfig;

describe('entries per level', () => {
  test('that say no more than their absence are left out', () => {
    const usual = {
      strides: [cube(2), cube(2)],
      kernels: [cube(3), cube(3), cube(3)],
      block: 'plain',
      encoderBlocks: [2, 2, 2],
      decoderBlocks: [2, 2],
      down: 'pool',
      bias: true,
      scaleAndShift: true,
      deepSupervision: false,
      heads: 1,
    } as const;
    expect(completeConfig({ ...net, ...usual })).toEqual(completeConfig(net));
    const leaky = { ...net, activation: 'leakyRelu' } as const;
    expect(completeConfig({ ...leaky, slope: 0.01 })).toEqual(completeConfig(leaky));
    const single = { ...net, block: 'residual' } as const;
    expect(completeConfig({ ...single, encoderBlocks: [1, 1, 1] })).toEqual(completeConfig(single));
  });

  test('that say more are kept, and completed again stay the same', () => {
    expect(completeConfig(residual)).toEqual(residual);
    expect(completeConfig(completeConfig(residual))).toEqual(residual);
  });

  test('decide the nodes, their shapes and their sizes', () => {
    const { graph, heads } = unet(completeConfig(residual), { batch: 1, size: [8, 8, 4] });
    const names = graph.nodes.map(({ name }) => name);
    const blocks = names.filter((name) => /block\d+\.sum$/.test(name));
    expect(blocks.map((name) => name.replace('.sum', ''))).toEqual([
      ...['encoder.0.block1', 'encoder.1.block1', 'encoder.1.block2', 'encoder.1.block3'],
      ...[1, 2, 3, 4].map((index) => `encoder.2.block${index}`),
    ]);
    expect(names.filter((name) => name.includes('skip.'))).toEqual(
      ['1', '2'].flatMap((level) =>
        ['pool', 'conv', 'norm'].map((part) => `encoder.${level}.block1.skip.${part}`),
      ),
    );
    expect(names[0]).toBe('encoder.stem.conv1');
    expect(heads.map(({ name }) => name)).toEqual(['head']);
    expect(names).toContain('decoder.1.head');
    const sizeOf = (name: string) => graph.nodes.find((node) => node.name === name)!.shape.size;
    expect(sizeOf('encoder.1.block1.conv1')).toEqual([4, 4, 4]);
    expect(sizeOf('encoder.2.block4.sum')).toEqual([2, 2, 2]);
  });

  test.each<[string, object, string]>([
    [
      'kernels',
      { kernels: [[3, 3, 1]] },
      'kernels is [[3,3,1]]; give x, y, z of 1 or 3 for each level, such as [3, 3, 1] of 3: 3 in all',
    ],
    ['kernels', { kernels: [[3, 3, 5], cube(3), cube(3)] }, 'kernels[0][2] is 5; give x, y, z of 1 or 3'],
    [
      'encoderBlocks',
      { encoderBlocks: [2, 0, 2] },
      'encoderBlocks[1] is 0; give a whole number from 1 to 64 for each level',
    ],
    [
      'encoderBlocks',
      { encoderBlocks: [2, 2] },
      'encoderBlocks is [2,2]; give a whole number from 1 to 64 for each level of 3: 3 in all',
    ],
    [
      'decoderBlocks',
      { decoderBlocks: [2, 2, 2] },
      'decoderBlocks is [2,2,2]; give a whole number from 1 to 64 for each level but the last of 3: 2 in all',
    ],
    ['block', { block: 'dense' }, 'block is "dense"; give "plain" or "residual"'],
    ['down', { down: 'max' }, 'down is "max"; give "pool" or "conv"'],
    ['bias', { bias: 'no' }, 'bias is "no"; give true or false'],
    ['slope', { slope: -1, activation: 'leakyRelu' }, 'slope is -1; give a number from 0 to 1'],
    ['slope', { slope: 0.1 }, 'slope is 0.1, but activation is relu'],
    ['heads', { heads: 3 }, 'heads is 3; give a whole number from 1, the levels whose loss counts, to 2'],
    [
      'heads',
      { features: [4, 4, 4, 4, 4], deepSupervision: true, heads: 2 },
      'heads is 2; give a whole number from 3',
    ],
    [
      'oddSizes',
      { oddSizes: 'repeat', down: 'conv' },
      'oddSizes is repeat, which down conv does not go with',
    ],
    ['stem', { stem: false }, 'stem is for residual blocks: give block residual, or leave it out'],
    [
      'upFeatures',
      { upFeatures: [4] },
      'upFeatures is [4]; give a whole number from 1 to 4096 for each level',
    ],
    ['heads', { heads: 0.5 }, 'heads is 0.5; give a whole number from 1 to 7'],
  ])('%s: %j is refused', (_, given, message) => {
    const config = { ...net, ...given } as unknown as UNet3DConfig;
    expect(() => completeConfig(config)).toThrow(message);
  });
});

test("MONAI's DynUNet and BasicUNet are configurations", () => {
  const dynunet = completeConfig({
    ...{ ...residual, kernels: [[3, 3, 1], cube(3), cube(3)], encoderBlocks: [1, 1, 1], heads: 1 },
    ...{ stem: false, shortcut: 'conv', decoderKernels: [cube(3), cube(3)], upBias: true },
  });
  const made = unet(dynunet, { batch: 1, size: [8, 8, 4] }).graph.nodes;
  expect(made[0]!.name).toBe('encoder.0.block1.conv1');
  expect(made.filter(({ name }) => name.includes('.skip.')).map(({ name }) => name)).toEqual(
    ['0', '1', '2'].flatMap((level) =>
      ['conv', 'norm'].map((part) => `encoder.${level}.block1.skip.${part}`),
    ),
  );
  const parameters = layoutParameters(dynunet).parameters;
  expect(parameters.get('encoder.1.block1.skip.conv.weight')!.shape).toEqual([8, 4, 1, 1, 1]);
  expect(parameters.get('decoder.0.conv1.weight')!.shape).toEqual([4, 8, 3, 3, 3]);
  expect(parameters.has('decoder.0.up.bias')).toBe(true);

  const basic = completeConfig({ ...net, decoderFeatures: [6, 8], upFeatures: [5, 7], oddSizes: 'repeat' });
  expect(sizeMultiple(basic)).toEqual([1, 1, 1]);
  expect(paddedSize(basic, [5, 9, 2])).toEqual([5, 9, 4]);
  const odd = unet(basic, { batch: 1, size: [5, 9, 4] }).graph.nodes;
  const shapeOf = (name: string) => odd.find((node) => node.name === name)?.shape;
  expect(shapeOf('decoder.0.up')).toMatchObject({ channels: 5, size: [4, 8, 4] });
  expect(shapeOf('decoder.0.pad')).toMatchObject({ channels: 5, size: [5, 9, 4] });
  expect(shapeOf('decoder.1.pad')).toBeUndefined();
  expect(shapeOf('decoder.0.conv2')).toMatchObject({ channels: 6 });
});

describe("MONAI's UNet", () => {
  const given = {
    architecture: 'residualUnits',
    inChannels: 1,
    classes: 2,
    features: [4, 8, 8],
    norm: 'instance',
    activation: 'prelu',
  } as const;

  test('is complete with channels, norm and activation', () => {
    const usual = { strides: [cube(2), cube(2)], units: 0, bias: true, scaleAndShift: true } as const;
    expect(completeConfig({ ...given, ...usual })).toEqual(given);
    expect(sizeMultiple(completeConfig({ ...given, strides: [cube(2), [1, 2, 1]] }))).toEqual([2, 4, 2]);
  });

  test.each<[object, string]>([
    [{ activation: 'relu' }, 'activation is relu; give prelu, which architecture residualUnits has'],
    [{ down: 'conv' }, 'down is not for choice in architecture residualUnits: leave it out'],
    [{ features: [4] }, 'features is [4]; architecture residualUnits takes two levels or more'],
    [{ architecture: 'unet' }, 'activation is prelu; give relu or leakyRelu, which architecture unet has'],
    [{ norm: 'group' }, 'norm is group; give batch or instance, which architecture residualUnits has'],
    [
      { architecture: 'unet', activation: 'relu', units: 2 },
      'units is not for choice in architecture unet: leave it out',
    ],
  ])('%j is refused', (other, message) => {
    expect(() => completeConfig({ ...given, ...other })).toThrow(message);
  });
});

test("MONAI's SegResNet is complete with channels; groups divide these", () => {
  const given = { architecture: 'segResNet', inChannels: 1, classes: 2, features: [8, 16] } as const;
  const config = { ...given, norm: 'group', activation: 'relu' } as const;
  expect(completeConfig({ ...config, groups: 8, encoderBlocks: [2, 2], decoderBlocks: [2] })).toEqual(config);
  expect(() => completeConfig({ ...config, groups: 3 })).toThrow(
    'features is [8, 16]; give multiples of 3, the groups of the norm',
  );
  expect(() => completeConfig(given)).toThrow('norm is batch; give group, which architecture segResNet has');
});
