/** Where MONAI's state dicts hold the weights of our networks. */
import { headName } from '../../model/supervision.ts';
import { wholeConfig, type UNet3DConfig } from '../../model/config.ts';
import { layoutParameters } from '../../model/parameters.ts';
import type { Entry, Layout, Mapping } from '../mapping.ts';
import type { MonaiNetwork } from './network.ts';

/** MONAI's arrays have the file's first axis slowest, ours fastest. */
const kernel: Layout = { kernelReversed: true };

const conv = (theirs: string, ours: string, layout: Layout = kernel): Entry[] => [
  { theirs: `${theirs}.weight`, ours: `${ours}.weight`, layout },
  { theirs: `${theirs}.bias`, ours: `${ours}.bias` },
];

const norm = (theirs: string, ours: string): Entry[] =>
  ['weight', 'bias', 'running_mean', 'running_var'].map((name) => ({
    theirs: `${theirs}.${name}`,
    ours: `${ours}.${name}`,
  }));

/** Norm and PReLU, of which each network has those that it needs. */
const activated = (theirs: string, ours: string): Entry[] => [
  ...norm(`${theirs}.N`, `${ours}.norm`),
  { theirs: `${theirs}.A.weight`, ours: `${ours}.act.weight` },
];

/** `model.0` goes down, `model.1.submodule` holds the next level and `model.2` goes up; the last level is bare. */
function unetEntries(config: UNet3DConfig): Entry[] {
  const { features, units } = wholeConfig(config);
  const unit = (theirs: string, ours: string): Entry[] => [
    ...conv(`${theirs}.conv`, `${ours}.conv`),
    ...activated(`${theirs}.adn`, ours),
  ];
  const down = (theirs: string, ours: string): Entry[] =>
    units === 0
      ? unit(theirs, ours)
      : [
          ...Array.from({ length: units }, (_, index) =>
            unit(`${theirs}.conv.unit${index}`, `${ours}.unit${index + 1}`),
          ).flat(),
          ...conv(`${theirs}.residual`, `${ours}.skip`),
        ];
  const up = (theirs: string, ours: string): Entry[] => {
    const first = units === 0 ? theirs : `${theirs}.0`;
    const entries = [...conv(`${first}.conv`, `${ours}.up`), ...activated(`${first}.adn`, ours)];
    return units === 0 ? entries : [...entries, ...unit(`${theirs}.1.conv.unit0`, `${ours}.unit1`)];
  };
  const within = (theirs: string, level: number): Entry[] =>
    level === features.length - 1
      ? down(theirs, `encoder.${level}`)
      : [
          ...down(`${theirs}.0`, `encoder.${level}`),
          ...within(`${theirs}.1.submodule`, level + 1),
          ...up(`${theirs}.2`, `decoder.${level}`),
        ];
  return within('model', 0);
}

function basicEntries(): Entry[] {
  const convolutions = (theirs: string, ours: string): Entry[] =>
    [0, 1].flatMap((index) => [
      ...conv(`${theirs}.conv_${index}.conv`, `${ours}.conv${index + 1}`),
      ...norm(`${theirs}.conv_${index}.adn.N`, `${ours}.norm${index + 1}`),
    ]);
  return [
    ...convolutions('conv_0', 'encoder.0'),
    ...[1, 2, 3, 4].flatMap((level) => convolutions(`down_${level}.convs`, `encoder.${level}`)),
    ...[3, 2, 1, 0].flatMap((level) => [
      ...conv(`upcat_${level + 1}.upsample.deconv`, `decoder.${level}.up`),
      ...convolutions(`upcat_${level + 1}.convs`, `decoder.${level}`),
    ]),
    ...conv('final_conv', 'head'),
  ];
}

function dynunetEntries(config: UNet3DConfig): Entry[] {
  const { features, block, heads } = wholeConfig(config);
  const last = features.length - 1;
  const pair = (theirs: string, ours: string, layout?: Layout): Entry[] => [
    ...conv(`${theirs}.conv1.conv`, `${ours}.conv1`, layout),
    ...conv(`${theirs}.conv2.conv`, `${ours}.conv2`),
    ...norm(`${theirs}.norm1`, `${ours}.norm1`),
    ...norm(`${theirs}.norm2`, `${ours}.norm2`),
  ];
  const down = (theirs: string, level: number): Entry[] => {
    if (block === 'plain') return pair(theirs, `encoder.${level}`);
    const ours = `encoder.${level}.block1`;
    return [
      ...pair(theirs, ours),
      ...conv(`${theirs}.conv3.conv`, `${ours}.skip.conv`),
      ...norm(`${theirs}.norm3`, `${ours}.skip.norm`),
    ];
  };
  const up = (theirs: string, level: number): Entry[] => {
    // Here the skip is read first, there what comes up.
    const layout = { ...kernel, firstInputsLast: features[level]! };
    return [
      ...conv(`${theirs}.transp_conv.conv`, `decoder.${level}.up`),
      ...pair(`${theirs}.conv_block`, `decoder.${level}`, layout),
    ];
  };
  const head = (theirs: string, level: number): Entry[] => conv(`${theirs}.conv.conv`, headName(level));
  const levels = features.map((_, level) => level).slice(0, last);
  /** All layers once more, each level within the one above. */
  const within = (theirs: string, level: number): Entry[] =>
    level === last
      ? down(theirs, level)
      : [
          ...down(`${theirs}.downsample`, level),
          ...within(`${theirs}.next_layer`, level + 1),
          ...up(`${theirs}.upsample`, level),
          ...(level > 0 && level < heads ? head(`${theirs}.super_head`, level) : []),
        ];
  return [
    ...levels.flatMap((level) => down(level === 0 ? 'input_block' : `downsamples.${level - 1}`, level)),
    ...down('bottleneck', last),
    ...levels.toReversed().flatMap((level, step) => up(`upsamples.${step}`, level)),
    ...head('output_block', 0),
    ...levels.slice(1, heads).flatMap((level) => head(`deep_supervision_heads.${level - 1}`, level)),
    ...within('skip_layers', 0),
  ];
}

function segResNetEntries(config: UNet3DConfig): Entry[] {
  const { features, encoderBlocks, decoderBlocks } = wholeConfig(config);
  const blocks = (theirs: (index: number) => string, ours: string, count: number): Entry[] =>
    Array.from({ length: count }, (_, index) => {
      const [there, here] = [theirs(index), `${ours}.block${index + 1}`];
      return [
        ...norm(`${there}.norm1`, `${here}.norm1`),
        ...norm(`${there}.norm2`, `${here}.norm2`),
        ...conv(`${there}.conv1.conv`, `${here}.conv1`),
        ...conv(`${there}.conv2.conv`, `${here}.conv2`),
      ];
    }).flat();
  const steps = features.slice(1).map((_, step) => ({ step, level: features.length - 2 - step }));
  return [
    ...conv('convInit.conv', 'encoder.stem'),
    ...features.flatMap((_, level) => [
      ...conv(`down_layers.${level}.0.conv`, `encoder.${level}.down`),
      ...blocks((index) => `down_layers.${level}.${index + 1}`, `encoder.${level}`, encoderBlocks[level]!),
    ]),
    ...steps.flatMap(({ step, level }) =>
      blocks((index) => `up_layers.${step}.${index}`, `decoder.${level}`, decoderBlocks[level]!),
    ),
    ...steps.flatMap(({ step, level }) => conv(`up_samples.${step}.0.conv`, `decoder.${level}.conv`)),
    ...norm('conv_final.0', 'decoder.norm'),
    ...conv('conv_final.2.conv', 'head'),
  ];
}

const entriesOf: Record<MonaiNetwork['kind'], (config: UNet3DConfig) => Entry[]> = {
  BasicUNet: basicEntries,
  DynUNet: dynunetEntries,
  SegResNet: segResNetEntries,
  UNet: unetEntries,
};

/** Where MONAI's network has the weights of ours; of the names that its class may have, those that this one has. */
export function monaiMapping({ kind, config }: Pick<MonaiNetwork, 'kind' | 'config'>): Mapping {
  const { parameters, statistics } = layoutParameters(config);
  return entriesOf[kind](config).filter(({ ours }) => parameters.has(ours) || statistics.has(ours));
}
