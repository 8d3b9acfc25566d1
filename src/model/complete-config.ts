/** A configuration checked, and brought into the one form that equal networks have. */
import { InvalidOption } from '../errors.ts';
import { definedOf } from '../options.ts';
import { brief, held, openObject } from '../schema.ts';
import { configEntries, listTexts } from './config-entries.ts';
import { usual, type UNet3DConfig } from './config.ts';
import { supervisedLevels } from './supervision.ts';

/** Without a meaning of their absence. */
const basicNames = ['inChannels', 'classes', 'features', 'norm', 'activation'];

const configSchema = openObject(configEntries);

/**
 * Fills in the defaults; what is not of the configuration is left aside, and so is what says no more than its absence:
 * equal networks have equal configurations.
 * @throws InvalidOption naming the value, what was expected and why
 * @example
 * ```js
 * const config = completeConfig({ inChannels: 1, classes: 6, features: [8, 16, 32] });
 * console.log(config.norm, config.activation);
 * ```
 */
export function completeConfig(
  partial: Pick<UNet3DConfig, 'inChannels' | 'classes'> & {
    readonly [Key in keyof UNet3DConfig]?: UNet3DConfig[Key] | undefined;
  },
): UNet3DConfig {
  const { inChannels, classes, features, norm, activation, ...optional } = held(configSchema, partial, {
    expected: 'give',
    fail: (problem) => new InvalidOption(problem),
  });
  const basic = { inChannels, classes, features, norm, activation };
  const given = { ...basic, ...definedOf(optional) } as UNet3DConfig;
  requireConsistent(given);
  const unusual = Object.entries(usual(given)).flatMap(([name, value]) => {
    const own = given[name as keyof UNet3DConfig];
    return own === undefined || JSON.stringify(own) === JSON.stringify(value) ? [] : [[name, own]];
  });
  return { ...basic, ...Object.fromEntries(unusual) } as UNet3DConfig;
}

/** What architectures have, and what may be chosen of those but the usual one besides channels, classes and features. */
const architectures = {
  unet: { norms: ['batch', 'instance'], activations: ['relu', 'leakyRelu'], entries: undefined },
  residualUnits: {
    norms: ['batch', 'instance'],
    activations: ['prelu'],
    entries: ['strides', 'bias', 'scaleAndShift', 'units'],
  },
  segResNet: {
    norms: ['group'],
    activations: ['relu'],
    entries: ['encoderBlocks', 'decoderBlocks', 'groups'],
  },
} as const;

/** @throws InvalidOption for entries that the architecture does not have */
function requireOfArchitecture(config: UNet3DConfig): void {
  const { architecture = 'unet', norm, activation, features, units, groups } = config;
  const { norms, activations, entries } = architectures[architecture];
  for (const [name, value, own] of [
    ['norm', norm, norms],
    ['activation', activation, activations],
  ] as const)
    if (!(own as readonly string[]).includes(value))
      throw new InvalidOption(
        `${name} is ${value}; give ${own.join(' or ')}, which architecture ${architecture} has`,
      );
  if (!entries) {
    const others = { units, groups };
    const other = (['units', 'groups'] as const).find((name) => others[name] !== undefined);
    if (other)
      throw new InvalidOption(`${other} is not for choice in architecture ${architecture}: leave it out`);
    return;
  }
  const all: readonly string[] = [...basicNames, 'architecture', ...entries];
  const other = Object.keys(config).find((name) => !all.includes(name));
  if (other)
    throw new InvalidOption(
      `${other} is not for choice in architecture ${architecture}: leave it out; there are ${entries.join(', ')}`,
    );
  if (features.length < 2)
    throw new InvalidOption(
      `features is ${brief(features)}; architecture ${architecture} takes two levels or more`,
    );
  const uneven = norm === 'group' ? features.find((channels) => channels % (groups ?? 8) !== 0) : undefined;
  if (uneven !== undefined)
    throw new InvalidOption(
      `features is ${brief(features)}; give multiples of ${groups ?? 8}, the groups of the norm`,
    );
}

/** @throws InvalidOption for entries that do not go together */
function requireConsistent(config: UNet3DConfig): void {
  requireOfArchitecture(config);
  const { features, activation, slope, deepSupervision, heads, oddSizes, down, block, stem, shortcut } =
    config;
  const levels = features.length;
  const lengths = {
    strides: levels - 1,
    kernels: levels,
    encoderBlocks: levels,
    decoderBlocks: levels - 1,
    decoderFeatures: levels - 1,
    upFeatures: levels - 1,
    decoderKernels: levels - 1,
  };
  for (const name of Object.keys(lengths) as (keyof typeof lengths)[]) {
    const length = lengths[name];
    const list = config[name];
    if (list && list.length !== length)
      throw new InvalidOption(
        `${name} is ${JSON.stringify(list)}; give ${listTexts[name]} of ${levels}: ${length} in all`,
      );
  }
  if (slope !== undefined && activation === 'relu')
    throw new InvalidOption(
      `slope is ${slope}, but activation is relu, which has none: give leakyRelu, or no slope`,
    );
  if (oddSizes === 'repeat' && (down === 'conv' || deepSupervision))
    throw new InvalidOption(
      `oddSizes is repeat, which ${down === 'conv' ? 'down conv' : 'deepSupervision'} does not go with: give zeros`,
    );
  if (block !== 'residual' && (stem !== undefined || shortcut !== undefined))
    throw new InvalidOption(
      `${stem === undefined ? 'shortcut' : 'stem'} is for residual blocks: give block residual, or leave it out`,
    );
  const supervised = supervisedLevels(config).length;
  if (deepSupervision && supervised === 1)
    throw new InvalidOption(
      `deepSupervision takes four levels or more; features is ${brief(features)}: leave it out or add levels`,
    );
  const most = Math.max(1, levels - 1);
  if (heads !== undefined && (heads < supervised || heads > most))
    throw new InvalidOption(
      `heads is ${heads}; give a whole number from ${supervised}, the levels whose loss counts, to ${most}, the levels of the decoder`,
    );
}
