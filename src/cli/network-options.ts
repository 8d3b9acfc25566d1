/** Options of the network, which `train` and `plan` share. */
import { Option, type Command } from 'commander';
import { stagesFor } from '../model/anisotropy.ts';
import type { UNet3DConfig } from '../model/config.ts';
import type { Size3 } from '../size.ts';
import * as parse from './parse.ts';

/** As the command line gives them: entries of the configuration, lists perhaps shorter than the levels. */
export type NetworkOptions = Omit<UNet3DConfig, 'inChannels' | 'classes' | 'heads'>;

/** Those that a model or a planner decides instead, deep supervision apart. */
export const networkEntries = [
  'features',
  'norm',
  'activation',
  'slope',
  'strides',
  'kernels',
  'block',
  'encoderBlocks',
  'decoderBlocks',
  'down',
  'bias',
  'scaleAndShift',
] as const satisfies readonly (keyof NetworkOptions)[];

/** Channels per level of a training that names none. */
export const trainFeatures = [8, 16, 32, 64];

/** @param features channels per level, where the command line names none */
export function addNetworkOptions(command: Command, features: readonly number[]): Command {
  return command
    .option('--features <list>', 'channels per level', parse.features, features)
    .addOption(new Option('--norm <kind>').choices(['batch', 'instance']).default('instance'))
    .addOption(new Option('--activation <kind>').choices(['relu', 'leakyRelu']).default('relu'))
    .option(
      '--deep-supervision',
      'losses at coarser decoder levels too, as nnU-Net has them; four levels or more',
    )
    .option('--strides <list>', 'x,y,z of 1 or 2 into each level below the first; default 2', parse.triples)
    .option('--kernels <list>', 'x,y,z of 1 or 3 per level; default 3', parse.triples)
    .addOption(
      new Option('--block <kind>', "of the encoder; residual as in nnU-Net's ResEnc; default plain").choices([
        'plain',
        'residual',
      ]),
    )
    .option(
      '--encoder-blocks <list>',
      'convolutions or residual blocks per level; default 2, or 1 residual block',
      parse.counts,
    )
    .option(
      '--decoder-blocks <list>',
      'convolutions per level, full resolution first; default 2',
      parse.counts,
    )
    .addOption(
      new Option('--down <how>', 'by max-pooling (default), or by strided convolution').choices([
        'pool',
        'conv',
      ]),
    )
    .option('--slope <n>', 'of leakyRelu below 0; default 0.01', parse.numberFrom(0))
    .option('--no-bias', 'convolutions without bias')
    .option('--no-scale-and-shift', 'norms without trained scale and shift');
}

export const networkHelp = `
Lists per level begin at full resolution, and their last entry holds for all
levels after it; one number stands for all three axes. For slices five times
as thick as their voxels are wide, say:
  --strides 2,2,1/2,2,1/2 --kernels 3,3,1/3,3,1/3
nnU-Net's networks have --down conv --activation leakyRelu; its ResEnc M
--block residual --encoder-blocks 1,3,4,6 --decoder-blocks 1 besides.`;

/** The entries of the configuration that the options give, lists carried on to the last level. */
export function networkOf(options: NetworkOptions): NetworkOptions {
  const { features, norm, activation, bias, scaleAndShift } = options;
  const { strides, kernels, encoderBlocks, decoderBlocks, deepSupervision, block, down, slope } = options;
  const levels = features.length;
  return {
    features,
    norm,
    activation,
    ...(strides && { strides: carriedOn<Size3>(strides, levels - 1) }),
    ...(kernels && { kernels: carriedOn<Size3>(kernels, levels) }),
    ...(encoderBlocks && { encoderBlocks: carriedOn(encoderBlocks, levels) }),
    ...(decoderBlocks && { decoderBlocks: carriedOn(decoderBlocks, levels - 1) }),
    ...(deepSupervision && { deepSupervision }),
    ...(block && { block }),
    ...(down && { down }),
    ...(slope !== undefined && { slope }),
    ...(bias === false && { bias }),
    ...(scaleAndShift === false && { scaleAndShift }),
  };
}

/** A list with its last entry repeated up to a length; a longer one as it is. */
const carriedOn = <Item>(list: readonly Item[], length: number): Item[] => [
  ...list,
  ...Array.from({ length: Math.max(0, length - list.length) }, () => list[list.length - 1]!),
];

/** A list of x,y,z as one types it: what repeats at its end once, what is the same along all axes as one number. */
export function typedTriples(list: readonly Size3[]): string {
  const entries = list.map((triple) => (new Set(triple).size === 1 ? String(triple[0]) : triple.join(',')));
  while (entries.length > 1 && entries[entries.length - 1] === entries[entries.length - 2]) entries.pop();
  return entries.join('/');
}

/** Voxels this many times as long along one axis as along another call for strides and kernels of their own. */
const anisotropy = 3;

/** Options for voxels that are much longer along one axis, in a sentence; undefined where they are not. */
export function anisotropyTip(spacing: Size3, shape: Size3, levels: number): string | undefined {
  if (Math.max(...spacing) <= anisotropy * Math.min(...spacing)) return undefined;
  const { strides, kernels } = stagesFor(spacing, shape, levels);
  const axis = 'xyz'[spacing.indexOf(Math.max(...spacing))];
  return (
    `Voxels are long along ${axis}: ${levels} levels with --strides ${typedTriples(strides)} --kernels ` +
    `${typedTriples(kernels)} go along the other axes first, by nnU-Net's rule.`
  );
}
