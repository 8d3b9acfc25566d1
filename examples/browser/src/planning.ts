/** Defaults for a data set, and what a training will take on the GPU, before anything is allocated. */
import {
  adam,
  alternatives,
  completeConfig,
  formatBytes,
  lossShape,
  nnunetPreprocessing,
  OutOfMemory,
  paddedSize,
  planTraining,
  sidedName,
  splitCases,
  type Alternative,
  type Size3,
  weightedDice,
  type Loss,
  type Preprocessing,
  type Region,
  type UNet3DConfig,
} from 'unet3d-gpu/worker';
import { augmentedStep, type AugmentationChoice } from './augmentation.ts';
import type { DeviceFacts } from './device.ts';
import { badCases, choicesOf, state, type Choices, type PageCase, type Settings } from './state.ts';

const GiB = 2 ** 30;

/** Steps of a default training: software has time for few, which a higher learning rate makes up for in part. */
const wantedSteps = { software: 120, hardware: 600 };
/** Voxels of a volume that a software adapter is left with by default; larger ones are cut into patches. */
const softwareVoxels = 2 ** 17;

/** Dice, in which the rarer a class is, the more it weighs: so small organs are learnt within few epochs. */
export function lossOf(
  { classWeights }: Pick<Settings, 'classWeights'>,
  regions: readonly Region[] | undefined,
): Loss {
  const loss = weightedDice(classWeights);
  return regions ? { ...loss, regions: regions.map(({ labels, written }) => ({ labels, written })) } : loss;
}

/** x, y, z of the largest prepared volume on every axis. */
export function largestShape(): Size3 {
  const print = state.report?.fingerprint;
  const prepared = state.beginning?.start.preprocessing;
  if (print && prepared) return nnunetPreprocessing(print, state.channels, prepared.spacing).largest;
  return state.decision?.largest ?? [1, 1, 1];
}

export const classCount = (): number => {
  const values = (state.report?.fingerprint?.classes ?? [])
    .map(({ value }) => value)
    .filter((value) => value < 255);
  return Math.max(2, state.labels.length, ...values.map((value) => value + 1));
};

export const channelCount = (): number => state.report?.fingerprint?.intensities.length ?? 1;

/** What the network finds: classes, or regions where these overlap. */
const headCount = (): number => state.regions?.length ?? classCount();

export const config = (): UNet3DConfig =>
  networkOf(channelCount(), headCount(), state.settings, state.beginning?.start.config);

/**
 * Instance norm: what is seen in a preview is what the network does in training, whatever the batch.
 * @param from the network that it begins with, whatever the features
 */
export const networkOf = (
  inChannels: number,
  heads: number,
  { features }: Pick<Settings, 'features'>,
  from?: UNet3DConfig,
): UNet3DConfig =>
  completeConfig({ ...(from ?? { features, norm: 'instance' }), inChannels, classes: heads });

/**
 * Sets preprocessing, and the settings that nobody has chosen, from what was found in the files.
 * @param channels their names, where the data set tells them: CT is normalised unlike MR
 */
export function chooseDefaults(device: DeviceFacts | undefined, channels: readonly string[]): void {
  const print = state.report?.fingerprint;
  if (!print) return;
  state.decision = nnunetPreprocessing(print, channels);
  state.preprocessing = state.decision.preprocessing;
  const shape = largestShape();
  const { chosen } = state;
  const settings = (state.settings = { ...state.settings });
  const software = device?.software ?? true;
  // Three halvings of a short axis leave nothing to see.
  settings.features = software ? [8, 16, 32] : [16, 32, 64, 128].slice(0, Math.min(...shape) < 24 ? 3 : 4);
  settings.batchSize = software ? 1 : 2;
  settings.learningRate = software ? 0.02 : 0.01;
  settings.memory = Number(((device?.budget ?? 4 * GiB) / GiB).toFixed(1));
  const voxels = shape[0] * shape[1] * shape[2];
  const side = (length: number): number => Math.min(length, 32);
  const cut: Settings['patch'] =
    software && voxels > softwareVoxels ? [side(shape[0]), side(shape[1]), side(shape[2])] : undefined;
  const learnt = state.beginning?.start.patch;
  settings.patch = learnt ? [...learnt] : cut;
  const training = state.cases.filter(({ part }) => part === 'train').length;
  const steps = wantedSteps[software ? 'software' : 'hardware'];
  const batchSize = chosen.batchSize ?? settings.batchSize;
  settings.epochs = Math.min(200, Math.max(8, Math.round((steps * batchSize) / Math.max(1, training))));
  settings.precision = 'f32';
  settings.checkpointing = false;
  chooseAugmentation();
  Object.assign(settings, chosen);
  const [fitting] = device ? plan(device).alternatives : [];
  if (fitting) Object.assign(settings, settingsOf(fitting), chosen);
}

/** Settings that a person wants, whatever is found in the data from now on. */
export function choose(choices: Partial<Choices>): void {
  Object.assign(state.chosen, choices);
  Object.assign(state.settings, choices);
}

/** Other data have come, for which nothing has been chosen. */
export function forgetChoices(): void {
  state.chosen = {};
}

/** Nothing is known of the data yet. */
export function forgetDecision(): void {
  state.decision = undefined;
}

/** Settings as of a training. @param preprocessing where that is its own */
export function restoreSettings(settings: Settings, preprocessing: Preprocessing | undefined): void {
  state.settings = choicesOf(settings);
  const { augmentation, ...others } = state.settings;
  // What follows from the names of classes goes on doing so.
  state.chosen = augmentation === usualAugmentation() ? others : { augmentation, ...others };
  if (preprocessing) state.preprocessing = structuredClone(preprocessing);
}

/** As the names of classes and regions have it. */
const usualAugmentation = (): AugmentationChoice =>
  sidedName(state) === undefined ? 'mirrored' : 'sides kept';

/** Follows the names of classes and regions, unless a person has chosen. */
export function chooseAugmentation(): void {
  if (!('augmentation' in state.chosen)) state.settings.augmentation = usualAugmentation();
}

/** The settings of a plan that fits. */
export function settingsOf({ config: { features }, size, batch, precision, checkpointing }: Alternative) {
  const whole = size.every((length, axis) => length >= largestShape()[axis]!);
  return {
    patch: whole ? undefined : ([...size] as Settings['patch']),
    batchSize: batch,
    features: [...features],
    precision: precision ?? ('f32' as const),
    checkpointing: Boolean(checkpointing),
  };
}

/**
 * Weights in a loss, by the classes as they are now: 1 for the most frequent, 2 for the next and so on, divided by their
 * sum; regions weigh the same.
 */
export function rarityWeights(): number[] {
  if (state.regions) return state.regions.map(() => 1 / state.regions!.length);
  const count = classCount();
  const shares = new Map(state.report?.fingerprint?.classes.map(({ value, share }) => [value, share]));
  const byShare = Array.from({ length: count }, (_, value) => value).sort(
    (a, b) => (shares.get(b) ?? 0) - (shares.get(a) ?? 0) || a - b,
  );
  const sum = (count * (count + 1)) / 2;
  return byShare.reduce<number[]>((weights, value, rank) => {
    weights[value] = (rank + 1) / sum;
    return weights;
  }, []);
}

/**
 * A fifth of the subjects for validation; cases with an error are left out.
 * @param kept by id, the parts that cases keep: of the other subjects as many are held back as are lacking then
 */
export function divide(kept: ReadonlyMap<string, PageCase['part']> = new Map()): void {
  const facts = new Map(state.report?.cases.map((item) => [item.id, item]));
  const bad = badCases(state.report);
  const usable = state.cases.filter(({ id, label }) => label && facts.has(id) && !bad.has(id));
  const known = usable.map(({ id, subject }) => ({
    id,
    subject,
    classes: [...(facts.get(id)?.classVoxels?.keys() ?? [])],
  }));
  const hasSeveral = new Set(usable.map(({ subject }) => subject)).size > 1;
  const split = hasSeveral ? splitCases(known, { fractions: [0.8, 0.2, 0] }).validation.cases : [];
  const chosen = new Set(split);
  const partOf = new Map<string, PageCase['part']>(); // of a subject
  for (const { id, subject } of usable) {
    const part = kept.get(id);
    if (part && part !== 'unused') partOf.set(subject, part);
  }
  for (const item of state.cases) item.part = 'unused';
  for (const item of usable) item.part = kept.get(item.id) ?? partOf.get(item.subject) ?? 'train';
  let lacking = chosen.size - usable.filter(({ part }) => part === 'validation').length;
  const free = usable.filter(({ id, subject }) => !kept.has(id) && !partOf.has(subject));
  free.sort((a, b) => Number(chosen.has(b.id)) - Number(chosen.has(a.id)));
  for (const { subject } of free)
    for (const item of lacking > 0 ? free.filter((other) => other.subject === subject) : [])
      if (item.part !== 'validation') {
        item.part = 'validation';
        lacking--;
      }
}

export interface Planned {
  readonly size: Size3;
  readonly bytes: number;
  readonly flops: number;
  readonly problem?: string;
  readonly alternatives: readonly Alternative[];
}

/** Steps near one that fit; the width of a network that a training begins with is given. */
function nearest(...[wish, budget, planner]: Parameters<typeof alternatives>): Alternative[] {
  if (!state.beginning) return alternatives(wish, budget, planner);
  const width = wish.config.features.join();
  return alternatives(wish, budget, planner, 12)
    .filter(({ config: { features } }) => features.join() === width)
    .slice(0, 3);
}

/** What one training step takes, and what would fit if it does not. */
export function plan(device: DeviceFacts): Planned {
  const { settings } = state;
  const network = config();
  const size = paddedSize(network, settings.patch ?? largestShape());
  const { batchSize: batch, precision, checkpointing } = settings;
  const wish = { config: network, size, batch, precision, checkpointing };
  const planner = {
    limits: device.limits,
    loss: lossShape(lossOf({ classWeights: rarityWeights() }, state.regions), network.classes),
    optimizer: adam(),
    ...augmentedStep(settings.augmentation, largestShape()),
    freeze: state.beginning?.freeze,
  };
  const budget = settings.memory * GiB;
  try {
    const { peakBytes, flops } = planTraining({ ...wish, ...planner, margin: planner.margin?.(size) }).plan;
    const text = `needs more than the ${settings.memory} GiB to use`;
    return {
      size,
      bytes: peakBytes,
      flops,
      ...(peakBytes > budget && { problem: text }),
      alternatives: peakBytes > budget ? nearest(wish, budget, planner) : [],
    };
  } catch (error) {
    if (!(error instanceof OutOfMemory)) throw error;
    return {
      size,
      bytes: error.planned,
      flops: NaN,
      problem: `needs ${formatBytes(error.planned)} in one piece, of which this GPU takes ${formatBytes(error.limit)}`,
      alternatives: nearest(wish, budget, planner),
    };
  }
}
