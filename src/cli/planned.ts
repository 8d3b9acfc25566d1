/** Network, patch and batch of `--preset nnunet` and its kin, as nnU-Net's planner finds them for a data set. */
import type { Fingerprint } from '../data/fingerprint.ts';
import { InvalidOption } from '../errors.ts';
import { planNnunet, type NnunetPlan, type NnunetPlanner } from '../interop/nnunet/planner.ts';
import { alongVolumes, type NnunetNetwork } from '../interop/nnunet/network.ts';
import { configOf } from '../interop/nnunet/weights.ts';
import type { UNet3DConfig } from '../model/config.ts';
import type { Size3 } from '../size.ts';

/** Recipes of nnU-Net's, with the planner of each. */
const planners = {
  nnunet: 'plain',
  'nnunet-resenc-m': 'resenc-m',
  'nnunet-resenc-l': 'resenc-l',
} as const satisfies Record<string, NnunetPlanner>;

export const nnunetPresets = Object.keys(planners) as (keyof typeof planners)[];

/** The planner of a preset; undefined of one that has none. */
export const plannerOf = (preset: string | undefined): NnunetPlanner | undefined =>
  preset !== undefined && Object.hasOwn(planners, preset)
    ? planners[preset as keyof typeof planners]
    : undefined;

export interface PlannedTraining {
  readonly config: UNet3DConfig;
  /** x, y, z */
  readonly patch: Size3;
  readonly batchSize: number;
  /** Whether Dice is of a whole batch. */
  readonly batchDice: boolean;
  /** What was planned, and where a training here is not as nnU-Net's, one sentence each. */
  readonly reasons: readonly string[];
}

interface Asked {
  readonly planner: NnunetPlanner;
  readonly inChannels: number;
  readonly classes: number;
  /** Entries of dataset.json's labels. */
  readonly labels: number;
  /** Of the prepared volumes, in mm along x, y, z. */
  readonly spacing: Size3;
  /** Channels per level in place of the planned ones, of all levels or fewer. */
  readonly features: readonly number[] | undefined;
}

/** @throws InvalidOption for more levels than the planner finds */
export function planned(print: Fingerprint, asked: Asked): PlannedTraining {
  const { planner, inChannels, classes, labels, spacing, features } = asked;
  const plan = planNnunet(print.cropped.volumes, { labels, planner, spacing });
  const { fullResolution } = plan;
  const { patch, network: own } = alongVolumes(plan, fullResolution);
  const network = features ? withFeatures(own, features) : own;
  const { batchSize, batchDice } = fullResolution;
  const reasons = reasonsOf(plan, planner, patch, network);
  return { config: configOf(network, inChannels, classes), patch, batchSize, batchDice, reasons };
}

/** The first levels of a network, with other channels. */
function withFeatures(network: NnunetNetwork, features: readonly number[]): NnunetNetwork {
  const levels = features.length;
  if (levels > network.features.length)
    throw new InvalidOption(
      `--features has ${levels} levels, but nnU-Net's planner finds ${network.features.length} for these data: give as many, or fewer`,
    );
  return {
    ...network,
    features,
    stem: features[0]!,
    kernels: [...network.kernels.slice(0, levels - 1), [3, 3, 3]],
    strides: network.strides.slice(0, levels),
    blocks: network.blocks.slice(0, levels),
    decoderBlocks: network.decoderBlocks.slice(network.features.length - levels),
  };
}

const figures = (values: readonly number[], separator = ' x '): string =>
  values.map((value) => Number(value.toFixed(3))).join(separator);

function reasonsOf(plan: NnunetPlan, planner: NnunetPlanner, patch: Size3, network: NnunetNetwork): string[] {
  const { transpose, fullResolution, lowResolution } = plan;
  const { batchSize, batchDice } = fullResolution;
  const levels = network.features.length;
  const low = lowResolution && alongVolumes(plan, lowResolution);
  return [
    `nnU-Net's planner (${planner}): patches of ${figures(patch)} voxels in batches of ${batchSize}, ${levels} levels of ` +
      `${figures(network.features, ', ')} channels${batchDice ? ', Dice over the batch' : ''}.`,
    ...(low
      ? [
          `Where nnU-Net differs: it also plans 3d_lowres at ${figures(low.spacing)} mm with patches of ` +
            `${figures(low.patch)}, and a cascade, as a patch covers less than a quarter of the median volume; here the full ` +
            'resolution is trained alone.',
        ]
      : []),
    ...(transpose.join() === '0,1,2'
      ? []
      : [
          `Where nnU-Net differs: its plans turn the axes so that ${'zyx'[transpose[0]]}, the coarsest, is first; here they ` +
            'stay as they are, and kernels and strides are turned instead.',
        ]),
    ...(levels === 3
      ? [
          'With three levels the coarser output counts nothing in nnU-Net: there is no deep supervision either way.',
        ]
      : []),
  ];
}
