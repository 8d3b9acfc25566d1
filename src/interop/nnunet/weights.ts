/** nnU-Net's networks as configurations of ours, and where their state dicts hold our weights. */
import { InvalidModel, InvalidOption } from '../../errors.ts';
import { completeConfig } from '../../model/complete-config.ts';
import { headName } from '../../model/supervision.ts';
import { wholeConfig, type UNet3DConfig } from '../../model/config.ts';
import type { Size3 } from '../../size.ts';
import type { Entry, Layout, Mapping } from '../mapping.ts';
import type { Axes, NnunetNetwork } from './network.ts';

/** nnU-Net's last axis runs fastest, as our x does. */
const reversed = ([d0, d1, d2]: Axes): Size3 => [d2, d1, d0];

/**
 * The network as this package has it.
 * @throws InvalidModel for one that it cannot have
 */
export function configOf(network: NnunetNetwork, inChannels: number, heads: number): UNet3DConfig {
  const { encoder, features, kernels, strides, blocks, decoderBlocks, stem, bias } = network;
  const fail = (problem: string): InvalidModel =>
    new InvalidModel(`the network that plans.json describes cannot be run here: ${problem}`);
  if (stem !== features[0])
    throw fail(
      `its stem has ${stem} channels; expected ${features[0]}, those of the first level (features_per_stage)`,
    );
  try {
    return completeConfig({
      inChannels,
      classes: heads,
      features,
      norm: 'instance',
      activation: 'leakyRelu',
      strides: strides.slice(1).map(reversed),
      kernels: kernels.map(reversed),
      block: encoder,
      encoderBlocks: blocks,
      decoderBlocks: decoderBlocks.toReversed(),
      down: 'conv',
      bias,
      deepSupervision: features.length >= 4,
      heads: features.length - 1,
    });
  } catch (error) {
    if (!(error instanceof InvalidOption)) throw error;
    throw fail(error.message);
  }
}

/** Where nnU-Net's PlainConvUNet or ResidualEncoderUNet has the weights of a network as `configOf` gives it. */
export function nnunetMapping(config: UNet3DConfig): Mapping {
  const { features, block, encoderBlocks, decoderBlocks, strides, bias } = wholeConfig(config);
  const last = features.length - 1;
  const encoder: Entry[] = [];
  if (block === 'residual') encoder.push(...convNorm('encoder.stem.convs.0', 'encoder.stem', 1, { bias }));
  features.forEach((channels, level) => {
    for (let index = 0; index < encoderBlocks[level]!; index++) {
      if (block === 'plain') {
        const theirs = `encoder.stages.${level}.0.convs.${index}`;
        encoder.push(...convNorm(theirs, `encoder.${level}`, index + 1, { bias }));
        continue;
      }
      const theirs = `encoder.stages.${level}.blocks.${index}`;
      const ours = `encoder.${level}.block${index + 1}`;
      for (const conv of [1, 2]) encoder.push(...convNorm(`${theirs}.conv${conv}`, ours, conv, { bias }));
      if (index > 0 || level === 0 || channels === features[level - 1]) continue;
      // Behind an average pool where it strides.
      const place = strides[level - 1]!.some((step) => step !== 1) ? 1 : 0;
      encoder.push(...convNorm(`${theirs}.skip.${place}`, `${ours}.skip`, '', { bias: false }));
    }
  });
  /** nnU-Net counts the decoder's steps from the coarsest. */
  const steps = features.slice(1).map((_, step) => ({ step, level: last - 1 - step }));
  return [
    ...encoder,
    ...encoder.map((entry) => ({ ...entry, theirs: `decoder.${entry.theirs}` })),
    ...steps.flatMap(({ step, level }) =>
      Array.from({ length: decoderBlocks[level]! }, (_, index) => {
        // Here the skip is read first, there what comes up.
        const layout = index === 0 ? { firstInputsLast: features[level]! } : undefined;
        const theirs = `decoder.stages.${step}.convs.${index}`;
        return convNorm(theirs, `decoder.${level}`, index + 1, { bias, layout });
      }).flat(),
    ),
    ...steps.flatMap(({ step, level }) =>
      weightAndBias(`decoder.transpconvs.${step}`, `decoder.${level}.up`, { bias }),
    ),
    ...steps.flatMap(({ step, level }) =>
      weightAndBias(`decoder.seg_layers.${step}`, headName(level), { bias: true }),
    ),
  ];
}

interface Options {
  readonly bias: boolean;
  /** Of the weight. */
  readonly layout?: Layout | undefined;
}

/** A convolution with its norm, which nnU-Net's blocks list twice. */
function convNorm(theirs: string, ours: string, number: number | '', options: Options): Entry[] {
  const [conv, norm] = [`${ours}.conv${number}`, `${ours}.norm${number}`];
  return [
    ...weightAndBias(`${theirs}.conv`, conv, options),
    ...weightAndBias(`${theirs}.norm`, norm, { bias: true }),
    ...weightAndBias(`${theirs}.all_modules.0`, conv, options),
    ...weightAndBias(`${theirs}.all_modules.1`, norm, { bias: true }),
  ];
}

function weightAndBias(theirs: string, ours: string, { bias, layout }: Options): Entry[] {
  const weight = { theirs: `${theirs}.weight`, ours: `${ours}.weight`, layout };
  return bias ? [weight, { theirs: `${theirs}.bias`, ours: `${ours}.bias` }] : [weight];
}
