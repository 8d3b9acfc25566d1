/** The kind and range of each entry of a configuration. */
import * as v from 'valibot';
import { flag, numberFrom, oneOf, triple, wholeNumber } from '../schema.ts';
import { defaultConfig } from './config.ts';

/** The lists that have an entry per level, in words. */
export const listTexts = {
  features: '1 to 8 whole numbers from 1 to 4096, one per level',
  strides: 'x, y, z of 1 or 2 for each level but the first, such as [2, 2, 1]',
  kernels: 'x, y, z of 1 or 3 for each level, such as [3, 3, 1]',
  encoderBlocks: 'a whole number from 1 to 64 for each level',
  decoderBlocks: 'a whole number from 1 to 64 for each level but the last',
  decoderFeatures: 'a whole number from 1 to 4096 for each level but the last',
  upFeatures: 'a whole number from 1 to 4096 for each level but the last',
  decoderKernels: 'x, y, z of 1 or 3 for each level but the last',
} as const;

const triples = (values: readonly [1, 2 | 3], expected: string) =>
  v.array(triple(v.picklist(values, expected), expected), expected);
const counts = (expected: string) =>
  v.array(
    v.pipe(v.number(expected), v.integer(expected), v.minValue(1, expected), v.maxValue(64, expected)),
    expected,
  );

/** Of which all but `inChannels` and `classes` have defaults. */
export const configEntries = {
  architecture: v.optional(
    v.pipe(
      oneOf('unet', 'residualUnits', 'segResNet'),
      v.description("MONAI's UNet is residualUnits; absent: unet"),
    ),
  ),
  inChannels: wholeNumber(1, 1024),
  classes: v.pipe(
    wholeNumber(1, 255),
    v.description('background included; or regions, of which there may be one'),
  ),
  features: v.optional(
    v.pipe(
      v.array(wholeNumber(1, 4096), listTexts.features),
      v.minLength(1, listTexts.features),
      v.maxLength(8, listTexts.features),
      v.description('channels per level, full resolution first'),
    ),
    [...defaultConfig.features],
  ),
  norm: v.optional(oneOf('batch', 'instance', 'group'), defaultConfig.norm),
  groups: v.optional(v.pipe(wholeNumber(1, 4096), v.description('of norm group; absent: 8'))),
  activation: v.optional(oneOf('relu', 'leakyRelu', 'prelu'), defaultConfig.activation),
  deepSupervision: v.optional(flag),
  strides: v.optional(
    v.pipe(
      triples([1, 2], listTexts.strides),
      v.description('x, y, z between a level and the one above; absent: 2 along every axis'),
    ),
  ),
  slope: v.optional(v.pipe(numberFrom(0, 1), v.description('of leakyRelu below 0; absent: 0.01'))),
  kernels: v.optional(
    v.pipe(
      triples([1, 3], listTexts.kernels),
      v.description('x, y, z of the convolutions per level; absent: 3 along every axis'),
    ),
  ),
  block: v.optional(v.pipe(oneOf('plain', 'residual'), v.description('of the encoder; absent: plain'))),
  encoderBlocks: v.optional(
    v.pipe(
      counts(listTexts.encoderBlocks),
      v.description('convolutions or residual blocks per level; absent: 2 convolutions, or 1 residual block'),
    ),
  ),
  decoderBlocks: v.optional(
    v.pipe(
      counts(listTexts.decoderBlocks),
      v.description('convolutions per level of the decoder, full resolution first; absent: 2'),
    ),
  ),
  decoderFeatures: v.optional(
    v.pipe(
      v.array(wholeNumber(1, 4096), listTexts.decoderFeatures),
      v.description('channels per level of the decoder, full resolution first; absent: as features'),
    ),
  ),
  upFeatures: v.optional(
    v.pipe(
      v.array(wholeNumber(1, 4096), listTexts.upFeatures),
      v.description('channels that come up to each level of the decoder; absent: as features'),
    ),
  ),
  decoderKernels: v.optional(
    v.pipe(
      triples([1, 3], listTexts.decoderKernels),
      v.description('x, y, z of the convolutions per level of the decoder; absent: as kernels'),
    ),
  ),
  stem: v.optional(v.pipe(flag, v.description('in front of a residual encoder; absent: true'))),
  shortcut: v.optional(
    v.pipe(
      oneOf('pool', 'conv'),
      v.description('of residual blocks that stride: average pool, or strided convolution; absent: pool'),
    ),
  ),
  down: v.optional(
    v.pipe(
      oneOf('pool', 'conv'),
      v.description('max-pooling, or the stride of the first block; absent: pool'),
    ),
  ),
  units: v.optional(
    v.pipe(wholeNumber(0, 64), v.description('of residualUnits: convolutions per level; absent: 0')),
  ),
  bias: v.optional(v.pipe(flag, v.description('of convolutions but the heads; absent: true'))),
  upBias: v.optional(
    v.pipe(flag, v.description('of the transposed convolutions of the decoder; absent: as bias')),
  ),
  oddSizes: v.optional(
    v.pipe(
      oneOf('zeros', 'repeat'),
      v.description(
        'sizes that strides do not divide are padded, or the decoder repeats the last voxels; absent: zeros',
      ),
    ),
  ),
  scaleAndShift: v.optional(v.pipe(flag, v.description('of the norms; absent: true'))),
  heads: v.optional(
    v.pipe(wholeNumber(1, 7), v.description('decoder levels with a head; absent: those whose loss counts')),
  ),
};
