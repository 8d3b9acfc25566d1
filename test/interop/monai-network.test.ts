/** Definitions of MONAI's networks: what is filled in, and what is refused by name. */
import { describe, expect, test } from 'vitest';
import { InvalidModel } from '../../src/errors.ts';
import { wholeConfig } from '../../src/model/config.ts';
import { readNetwork } from '../../src/interop/monai/network.ts';
import { layoutParameters } from '../../src/model/parameters.ts';

const unet = { _target_: 'UNet', in_channels: 1, out_channels: 2, channels: [4, 8], strides: [2] };

test('what is left out is what MONAI takes', () => {
  const read = (more: object) => readNetwork({ ...unet, ...more }, 'a file').config;
  expect(read({ _target_: 'monai.networks.nets.UNet', strides: [[2, 1, 2], 2] })).toEqual({
    architecture: 'residualUnits',
    inChannels: 1,
    classes: 2,
    features: [4, 8],
    norm: 'instance',
    activation: 'prelu',
    scaleAndShift: false,
    strides: [[2, 1, 2]],
  });
  expect(read({ norm: 'BATCH', act: ['prelu', { init: 0.2 }] })).toMatchObject({ norm: 'batch' });
  const features = [8, 8, 12, 16, 16, 4];
  expect(readNetwork({ _target_: 'BasicUNet', features }, 'a file').config).toMatchObject({
    features: [8, 8, 12, 16, 16],
    slope: 0.1,
    upFeatures: [8, 6, 8, 8],
    decoderFeatures: [4, 8, 12, 16],
    oddSizes: 'repeat',
  });
  // Its up-convolutions have biases whatever is said of the others.
  const plain = readNetwork({ _target_: 'BasicUNet', features, bias: false, norm: 'batch' }, 'a file').config;
  const biases = [...layoutParameters(plain).parameters.keys()].filter((name) => name.endsWith('bias'));
  expect(biases.filter((name) => !name.includes('norm'))).toEqual([
    ...[3, 2, 1, 0].map((level) => `decoder.${level}.up.bias`),
    'head.bias',
  ]);
});

test('dropout is of MONAI’s trainings alone: the network is the same', () => {
  const segResNet = { _target_: 'SegResNet', in_channels: 1, out_channels: 105, init_filters: 32 };
  for (const [definition, key] of [
    [unet, 'dropout'],
    [segResNet, 'dropout_prob'],
  ] as const) {
    const plain = readNetwork(definition, 'a file');
    expect(plain.dropout).toBe(0);
    expect(readNetwork({ ...definition, [key]: 0.2 }, 'a file')).toEqual({ ...plain, dropout: 0.2 });
    expect(readNetwork({ ...definition, [key]: null }, 'a file')).toEqual(plain);
  }
});

test('groups of SegResNet are those of norm, and num_groups with norm_name alone', () => {
  const segResNet = { _target_: 'SegResNet', in_channels: 1, out_channels: 2, init_filters: 32 };
  const groups = (more: object) =>
    wholeConfig(readNetwork({ ...segResNet, ...more }, 'a file').config).groups;
  expect(groups({ num_groups: 16 })).toBe(8);
  expect(groups({ norm: ['GROUP', { num_groups: 4 }], num_groups: 16 })).toBe(4);
  expect(groups({ norm_name: 'group', num_groups: 16, norm: ['GROUP', { num_groups: 4 }] })).toBe(16);
});

describe('refused by name', () => {
  const dynunet = {
    _target_: 'DynUNet',
    in_channels: 1,
    out_channels: 2,
    kernel_size: [3, 3, 3],
    strides: [1, 2, 2],
    upsample_kernel_size: [2, 2],
  };
  test.each<[string, object]>([
    ['its class is "SegResNetDS"; expected', { ...unet, _target_: 'SegResNetDS' }],
    ['its class is "constructor"; expected', { _target_: 'constructor' }],
    ['in UNet, spatial_dims is 2; expected 3: networks are three-dimensional', { ...unet, spatial_dims: 2 }],
    ['in UNet, dropout is 2; expected a number from 0 to 1', { ...unet, dropout: 2 }],
    ['in UNet, attention', { ...unet, attention: true }],
    ['the activation of UNet is "mish"; expected prelu', { ...unet, act: 'MISH' }],
    ['the norm is "layer"; expected instance or batch', { ...unet, norm: 'LAYER' }],
    ['UNet has strides for 1 of 3 levels; expected 2', { ...unet, channels: [4, 8, 8] }],
    ['the first strides of DynUNet are [2, 2, 2]; expected 1', { ...dynunet, strides: [2, 2, 2] }],
    ['upsample_kernel_size of DynUNet differs', { ...dynunet, upsample_kernel_size: [1, 2] }],
    // As its own check_kernel_stride does.
    [
      'DynUNet has 2 kernels and 2 strides; expected as many of both, from 3 to 8',
      { ...dynunet, kernel_size: [3, 3], strides: [1, 2], upsample_kernel_size: [2] },
    ],
    ['in BasicUNet, upsample is "pixelshuffle"', { _target_: 'BasicUNet', upsample: 'pixelshuffle' }],
  ])('%s', (problem, definition) => {
    const read = () => readNetwork(definition, 'network.json');
    expect(read).toThrow(InvalidModel);
    expect(read).toThrow(`the network in network.json cannot be run here: ${problem}`);
  });
});
