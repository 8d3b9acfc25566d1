/**
 * nnU-Net's experiment planner: from the shapes and spacings of a data set to patch, batch and network, by the rules of
 * its ExperimentPlanner and of the residual-encoder planners M, L and XL.
 */
import * as v from 'valibot';
import { targetSpacing } from '../../data/decide.ts';
import { median, percentile } from '../../data/fingerprint.ts';
import { roundHalfEven } from '../../data/rounding.ts';
import { assertOptions } from '../../options.ts';
import { numberAbove, object, oneOf, size3, triple, wholeNumber } from '../../schema.ts';
import type { Size3 } from '../../size.ts';
import type { Axes, NnunetNetwork } from './network.ts';

/** Which of nnU-Net's planners: that of PlainConvUNet, or one of those of ResidualEncoderUNet. */
export type NnunetPlanner = 'plain' | 'resenc-m' | 'resenc-l' | 'resenc-xl';

interface Rules {
  readonly encoder: NnunetNetwork['encoder'];
  /** Elements of feature maps that a sample may have, as nnU-Net counts them. */
  readonly elements: number;
  /** Fraction of the data set's voxels that a batch may show. */
  readonly fraction: number;
}

const rules: Readonly<Record<NnunetPlanner, Rules>> = {
  plain: { encoder: 'plain', elements: 560e6, fraction: 0.05 },
  'resenc-m': { encoder: 'residual', elements: 680e6, fraction: 1 },
  'resenc-l': { encoder: 'residual', elements: 2100e6, fraction: 1 },
  'resenc-xl': { encoder: 'residual', elements: 3600e6, fraction: 1 },
};

/** Residual blocks per level of the encoder; plain levels have two convolutions each. */
const residualBlocks = [1, 3, 4, 6];
const [baseFeatures, mostFeatures] = [32, 320];
/** An axis is halved while it has twice these voxels; the only one left to halve, while it has three times. */
const leastEdge = 4;
/** Axes are treated alike whose spacing is less than this many times the finest. */
const alike = 2;
/** Samples for which the elements are meant; no batch is smaller. */
const samples = 2;
/** Voxels of the patch that the planner begins with. */
const firstVoxels = 256 ** 3;
/** Where the patch covers less of the median volume, there is a configuration at a coarser spacing. */
const leastCover = 0.25;
/** By which spacings grow in the search for it, and how many times fewer voxels it must have to be worth it. */
const [growth, worthIt] = [1.03, 2];

/** A volume after cropping to what is not zero, along x, y, z. */
export interface PlannedVolume {
  readonly shape: Size3;
  /** In mm. */
  readonly spacing: Size3;
}

/** A configuration as plans.json has it: along nnU-Net's axes, after its transposition. */
export interface PlannedConfiguration {
  /** In mm. */
  readonly spacing: Axes;
  /** Of the data set, at this spacing. */
  readonly medianShape: Axes;
  readonly patch: Axes;
  readonly batchSize: number;
  /** Whether Dice is of a whole batch. */
  readonly batchDice: boolean;
  readonly network: NnunetNetwork;
}

export interface NnunetPlan {
  /** Axis, of z, y, x of the volumes, that each axis of the configurations is. */
  readonly transpose: Axes;
  readonly fullResolution: PlannedConfiguration;
  /** At a coarser spacing, where patches at full resolution would show little of a volume. */
  readonly lowResolution: PlannedConfiguration | undefined;
}

const planEntries = {
  volumes: v.pipe(
    v.array(
      object({ shape: size3, spacing: triple(numberAbove(0), 'millimetres along x, y, z') }),
      'a list of shapes and spacings',
    ),
    v.minLength(1, 'at least one volume'),
  ),
  labels: wholeNumber(1, 255),
  spacing: v.optional(triple(numberAbove(0), 'millimetres along x, y, z')),
  planner: v.optional(oneOf('plain', 'resenc-m', 'resenc-l', 'resenc-xl')),
};

/**
 * The plan that nnU-Net makes for a data set.
 * @param volumes of the training cases; `checkDataset` finds them
 * @param options.labels entries of dataset.json's labels, background and ignore among them
 * @param options.spacing in mm along x, y, z, in place of the one that would be decided
 * @throws InvalidOption
 */
export function planNnunet(
  volumes: readonly PlannedVolume[],
  options: {
    readonly labels: number;
    readonly planner?: NnunetPlanner | undefined;
    readonly spacing?: Size3 | undefined;
  },
): NnunetPlan {
  assertOptions('planNnunet', planEntries, { volumes, ...options });
  const { labels, planner = 'plain' } = options;
  const target = options.spacing ?? decidedSpacing(volumes);
  const resampled = volumes.map(({ shape, spacing }) =>
    perAxis((axis) => lengthOf((spacing[axis] / target[axis]) * shape[axis])),
  );
  const [spacing, shape] = [reversed(target), reversed(per(resampled, median))];
  const coarsest = spacing.indexOf(Math.max(...spacing));
  const transpose = [coarsest, ...[0, 1, 2].filter((axis) => axis !== coarsest)] as unknown as Axes;
  const turned = (axes: Axes): Axes => perAxis((axis) => axes[transpose[axis]]!);

  const configure = (mm: Axes, medianShape: Axes, voxels: number) =>
    configuration({ mm, medianShape, voxels, labels, cases: volumes.length }, rules[planner]);
  const [mm, medianShape] = [turned(spacing), turned(shape)];
  const full = configure(mm, medianShape, product(medianShape));
  const low = lowResolution(full, configure);
  return {
    transpose,
    fullResolution: { ...full, batchDice: low !== undefined },
    lowResolution: low,
  };
}

function decidedSpacing(volumes: readonly PlannedVolume[]): Size3 {
  const spacings = volumes.map(({ spacing }) => spacing);
  return targetSpacing({
    median: per(spacings, median),
    percentile10: per(spacings, (values) => percentile(values, 10)),
    shape: per(
      volumes.map(({ shape }) => shape),
      median,
    ),
  }).spacing;
}

/** What configurations differ in. */
interface Given {
  readonly mm: Axes;
  readonly medianShape: Axes;
  /** Of the median volume; at the coarser spacing that is not quite the product of its shape. */
  readonly voxels: number;
  readonly labels: number;
  readonly cases: number;
}

function configuration(given: Given, { encoder, elements, fraction }: Rules): PlannedConfiguration {
  const { mm, medianShape, labels } = given;
  const edge = Math.cbrt(firstVoxels * product(mm));
  let { patch, multiple, strides, kernels } = topology(
    mm,
    perAxis((axis) => Math.min(roundHalfEven(edge / mm[axis]), medianShape[axis])),
  );
  let network = networkOf(encoder, strides, kernels);
  while (elementsOf(network, patch, labels) > elements) {
    const fractions = patch.map((length, axis) => length / medianShape[axis]!);
    const longest = fractions.lastIndexOf(Math.max(...fractions));
    const shortened = (by: Axes): Axes =>
      perAxis((axis) => (axis === longest ? patch[axis] - by[axis] : patch[axis]));
    // With fewer halvings a smaller step may do: as long as a patch as possible is kept.
    ({ patch, multiple, strides, kernels } = topology(
      mm,
      shortened(topology(mm, shortened(multiple)).multiple),
    ));
    network = networkOf(encoder, strides, kernels);
  }
  const affordable = roundHalfEven((elements / elementsOf(network, patch, labels)) * samples);
  const most = roundHalfEven((given.voxels * given.cases * fraction) / product(patch));
  const batchSize = Math.max(Math.min(affordable, most), samples);
  return { spacing: mm, medianShape, patch, batchSize, batchDice: false, network };
}

/** Halves axes, the finest first, for as long as they have voxels; the patch is rounded up to what that asks for. */
function topology(mm: Axes, given: Axes) {
  const strides: Axes[] = [[1, 1, 1]];
  const kernels: Axes[] = [];
  let [spacing, length, multiple, kernel] = [mm, given, [1, 1, 1] as Axes, [1, 1, 1] as Axes];
  for (;;) {
    const long = axes.filter((axis) => length[axis] >= 2 * leastEdge);
    const finest = Math.min(...long.map((axis) => spacing[axis]));
    const halved = long.filter((axis) => spacing[axis] / finest < alike);
    if (halved.length === 0 || (halved.length === 1 && length[halved[0]!] < 3 * leastEdge)) break;
    const [before, overall] = [kernel, Math.min(...spacing)];
    kernel = perAxis((axis) => (before[axis] === 3 || spacing[axis] / overall < alike ? 3 : 1));
    const stride = perAxis((axis) => (halved.includes(axis) ? 2 : 1));
    strides.push(stride);
    kernels.push(kernel);
    [spacing, multiple] = [times(spacing, stride), times(multiple, stride)];
    length = perAxis((axis) => Math.ceil(length[axis] / stride[axis]));
  }
  const patch = perAxis((axis) => Math.ceil(given[axis] / multiple[axis]) * multiple[axis]);
  return { patch, multiple, strides, kernels: [...kernels, [3, 3, 3] as Axes] };
}

function networkOf(
  encoder: NnunetNetwork['encoder'],
  strides: readonly Axes[],
  kernels: readonly Axes[],
): NnunetNetwork {
  const isPlain = encoder === 'plain';
  const features = strides.map((_, level) => Math.min(mostFeatures, baseFeatures * 2 ** level));
  const blocks = strides.map((_, level) => (isPlain ? 2 : (residualBlocks[level] ?? residualBlocks.at(-1)!)));
  const decoderBlocks = strides.slice(1).map(() => (isPlain ? 2 : 1));
  return { encoder, features, kernels, strides, blocks, decoderBlocks, stem: baseFeatures, bias: true };
}

/** Elements of the outputs of all convolutions, for one sample: what nnU-Net takes for the memory of a step. */
function elementsOf(network: NnunetNetwork, patch: Axes, heads: number): number {
  const { encoder, features, strides, blocks, decoderBlocks } = network;
  let total = encoder === 'residual' ? network.stem * product(patch) : 0;
  let size = patch;
  const maps = features.map((channels, level) => {
    const stride = strides[level]!;
    size = perAxis((axis) => Math.floor(size[axis] / stride[axis]));
    return channels * product(size);
  });
  for (const [level, map] of maps.entries()) {
    if (encoder === 'plain') total += blocks[level]! * map;
    else total += (2 * blocks[level]! + (level > 0 ? 1 : 0)) * map; // a skip has a map of its own where it changes
  }
  const last = features.length - 1;
  for (let level = 0; level < last; level++) total += (decoderBlocks[last - 1 - level]! + 1) * maps[level]!;
  return total + heads * product(patch);
}

/** The configuration whose patch covers enough of the median volume, where that of full resolution does not. */
function lowResolution(
  full: PlannedConfiguration,
  configure: (mm: Axes, medianShape: Axes, voxels: number) => PlannedConfiguration,
): PlannedConfiguration | undefined {
  const fullVoxels = product(full.medianShape);
  let [found, voxels, mm] = [full, fullVoxels, full.spacing];
  while (product(found.patch) / voxels < leastCover) {
    const coarsest = Math.max(...mm);
    const finer = axes.filter((axis) => coarsest / mm[axis] > alike);
    const before = mm;
    mm = perAxis((axis) => before[axis] * (finer.length === 0 || finer.includes(axis) ? growth : 1));
    const now = mm;
    const shape = perAxis((axis) => Math.max(1, (full.spacing[axis] / now[axis]) * full.medianShape[axis]));
    voxels = product(shape);
    found = configure(
      mm,
      perAxis((axis) => lengthOf(shape[axis])),
      voxels,
    );
  }
  return found !== full && fullVoxels / voxels >= worthIt ? found : undefined;
}

/** Voxels along an axis; a single slice stays one. */
const lengthOf = (voxels: number): number => Math.max(1, roundHalfEven(voxels));

const axes = [0, 1, 2] as const;

const perAxis = (of: (axis: 0 | 1 | 2) => number): Size3 => [of(0), of(1), of(2)];

/** A figure of some triples, for each axis. */
const per = (values: readonly Size3[], reduce: (values: number[]) => number): Size3 =>
  perAxis((axis) => reduce(values.map((value) => value[axis])));

const product = ([a, b, c]: Axes): number => a * b * c;

const times = (a: Axes, b: Axes): Axes => perAxis((axis) => a[axis] * b[axis]);

const reversed = ([a, b, c]: Axes): Axes => [c, b, a];
