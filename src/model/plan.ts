/**
 * Plans of a whole training step, of evaluation and of inference, made without a GPU. They are plain
 * data: what is allocated, for how long, and what runs.
 */
import { InvalidOption } from '../errors.ts';
import { defaultLimits, Recorder, type Plan, type Tensor, type VolumeTensor } from '../gpu/plan.ts';
import type { Size3 } from '../size.ts';
import { assertOptions } from '../options.ts';
import { augment as augmentBatch, drawTensors, type DrawTensors } from '../ops/augment.ts';
import type { LossShape } from '../ops/loss.ts';
import { keepStatistics } from '../ops/norm.ts';
import { averageStep, optimizerStep } from '../ops/optimizer.ts';
import { coarserLabels, pooledSize } from '../ops/pool.ts';
import { bytesOf } from './budget.ts';
import { firstTrainedWord } from './freeze.ts';
import type { Node } from './graph.ts';
import type { HeadRecording, Truth } from './layers/head.ts';
import { network } from './network.ts';
import { layoutParameters } from './parameters.ts';
import {
  lossShapeSchema,
  shapeEntries,
  trainingEntries,
  type PlanShape,
  type TrainingShape,
} from './plan-shape.ts';
import { candidates, choose, forgotten } from './policy.ts';
import { Recording } from './recording.ts';
import { sharedWords } from './shared-tensors.ts';
import { leastSize, multipleInWords, sizeMultiple, strideTo } from './sizes.ts';
import { supervisionWeights } from './supervision.ts';

/** Tensors by their role; those of one name are the same buffer in all plans of a model. */
export interface TrainingPlan {
  /** What is allocated, and what runs. */
  readonly plan: Plan;
  /** As the host writes them, margin included, before augmentation. */
  readonly image: VolumeTensor;
  /** The truth, on the image's grid. */
  readonly labels: VolumeTensor;
  /** What augmentation does to each sample; with `augment` only. */
  readonly draws: DrawTensors | undefined;
  /** The optimiser's numbers of this step. */
  readonly step: Tensor;
  /** Loss, Dice part, cross-entropy part, then Dice per class. */
  readonly results: Tensor;
  /** Names of the outputs that the backward pass computes again. */
  readonly recomputed: readonly string[];
}

const none: Size3 = [0, 0, 0];

function begin(shape: PlanShape & Pick<TrainingShape, 'freeze'>, training: boolean, margin = none) {
  const { config, size, batch, limits = defaultLimits, precision } = shape;
  const multiple = sizeMultiple(config);
  if (!size.every((length, axis) => length % multiple[axis]! === 0)) {
    throw new InvalidOption(
      `a network of ${config.features.length} levels takes sizes in multiples of ${multipleInWords(multiple)}; got [${size.join(', ')}] (x, y, z)`,
    );
  }
  const least = leastSize(config);
  if (size.some((length, axis) => length < least[axis]!))
    throw new InvalidOption(
      `a network of ${config.features.length} levels takes sizes from [${least.join(', ')}] on; got [${size.join(', ')}] (x, y, z)`,
    );
  const recorder = new Recorder(limits, precision);
  const layout = layoutParameters(config);
  const words = sharedWords(config, layout);
  const shared = (name: keyof typeof words) => recorder.flat(name, words[name]!, 'shared');
  const weights = { layout, parameters: shared('parameters'), statistics: shared('statistics') };
  // The batches of a step move a copy of the running statistics, which becomes the model's once the step is applied.
  const moved = training && config.norm === 'batch' ? shared('moved.statistics') : undefined;
  const given = size.map((length, axis) => length + 2 * margin[axis]!) as unknown as Size3;
  const image = recorder.volume('image', batch, config.inChannels, given, 'resident');
  const { graph, heads } = network(config, { batch, size });
  /** Records the forward pass; with `gradients`, as training needs it. */
  const forward = (seen: VolumeTensor, gradients?: Tensor) => {
    const model = { ...weights, statistics: moved ?? weights.statistics, gradients };
    const recording = new Recording(recorder, graph, model, training, shape.freeze);
    recording.forward(seen);
    return { recording, heads: heads.map((head) => recording.of(head)) };
  };
  const featureChannels = heads[0]!.inputs[0]!.shape.channels;
  return { recorder, ...weights, moved, image, shared, graph, forward, featureChannels };
}

/**
 * Forward, loss, backward and the optimiser's update of one batch.
 * @example
 * ```js
 * const config = completeConfig({ inChannels: 1, classes: 6, features: [8, 16] });
 * const loss = lossShape(weightedDice(), 6);
 * const { plan } = planTraining({ config, size: [32, 32, 32], batch: 2, loss, optimizer: adam() });
 * console.log(formatBytes(plan.peakBytes));
 * ```
 */
export function planTraining(shape: TrainingShape): TrainingPlan {
  assertOptions('planTraining', trainingEntries, shape);
  const { size, batch, optimizer } = shape;
  const { accumulate = 1, augment = false, averaging = false, margin = none } = shape;
  if (!augment && margin.some((n) => n !== 0))
    throw new InvalidOption(
      `batches have a margin of [${margin.join(', ')}] voxels, but no augmentation that would read it: leave it out`,
    );
  const { recorder, layout, parameters, statistics, moved, image, shared, graph, forward } = begin(
    shape,
    true,
    margin,
  );
  const labels = recorder.labels('labels', batch, image.size, 'resident');
  const results = shared('results');
  const classWeights = shared('classWeights');
  const gradients = shared('gradients');
  const [step, update, lossScale] = [shared('step'), shared('update'), shared('lossScale')];
  const [first, second] = [shared('optimizer.first'), shared('optimizer.second')];
  const draws = augment ? drawTensors(recorder, batch, image.channels) : undefined;
  const seen = draws ? augmented(recorder, image, labels, draws, size) : { image, labels };
  const { recording, heads } = forward(seen.image, gradients);
  const again = shape.keepAll ? new Set<Node>() : forgotten(graph, namesOf(shape));
  recording.forget(again);
  const regions = shape.loss.regions ? shared('regions') : undefined;
  supervise(recorder, heads, { labels: seen.labels, classWeights, regions, results, lossScale }, shape);
  recording.backward();
  const accumulated = accumulate > 1 ? shared('accumulated') : undefined;
  const tensors = { parameters, gradients, accumulated, first, second, step, update, results, lossScale };
  const from = firstTrainedWord(layout, shape.freeze);
  optimizerStep(recorder, 'optimizer', tensors, { ...optimizer, length: layout.trainedWords, from });
  if (moved) {
    const bindings = { moved, update, statistics };
    keepStatistics(recorder, 'running statistics', layout.statisticsWords, bindings);
  }
  if (averaging) {
    const average = (weights: Tensor, words: number) => {
      const tensors = { weights, average: shared(`average.${weights.name}`), update };
      averageStep(recorder, `average of the ${weights.name}`, words, tensors);
    };
    average(parameters, layout.parameterWords);
    average(statistics, layout.statisticsWords);
  }
  const recomputed = [...again].map(({ name }) => name);
  return { plan: recorder.finish(), image, labels, draws, step, results, recomputed };
}

function namesOf({ checkpointing = false, ...shape }: TrainingShape): readonly string[] {
  if (typeof checkpointing !== 'boolean') return checkpointing;
  return checkpointing ? leastMemory(shape) : [];
}

/** What `leastMemory` found, by what it depends on: a step is planned several times. */
const found = new Map<string, readonly string[]>();

/** What to compute again for as little memory as possible. */
function leastMemory(shape: TrainingShape): readonly string[] {
  const { limits = defaultLimits, ...rest } = shape;
  const key = JSON.stringify([limits.kernels, rest]);
  let names = found.get(key);
  if (!names) {
    if (found.size >= 100) found.clear();
    names = chooseRecomputed(shape);
    found.set(key, names);
  }
  return names;
}

/** Names for `checkpointing` with which the plan of a step takes no more than so many bytes, if any do. */
export const recomputedWithin = (shape: TrainingShape, bytes: number): readonly string[] =>
  chooseRecomputed(
    shape,
    ({ peakBytes }, names) =>
      peakBytes <= bytes && bytesOf(() => planTraining({ ...shape, checkpointing: names })) <= bytes,
  );

/** Tries plans without slabs, which are made faster and take nearly the same memory. */
function chooseRecomputed(shape: TrainingShape, fits?: Parameters<typeof choose>[2]): readonly string[] {
  const uncut = { maxBindingBytes: Infinity, maxBufferBytes: Infinity, maxDispatchFlops: Infinity };
  const limits = { ...(shape.limits ?? defaultLimits), ...uncut };
  const { graph } = network(shape.config, shape);
  const costOf = (names: readonly string[]) => planTraining({ ...shape, limits, checkpointing: names }).plan;
  return choose(candidates(graph), costOf, fits);
}

/** The losses of all heads against the labels at their resolution, the finest first; coarser ones count less. */
function supervise(
  recorder: Recorder,
  heads: readonly HeadRecording[],
  truth: Truth,
  { config, loss, coarserTruth }: Pick<TrainingShape, 'config' | 'loss' | 'coarserTruth'>,
): void {
  const weights = supervisionWeights(heads.length);
  for (const [level, head] of heads.entries()) {
    let { labels } = truth;
    if (level > 0) {
      const stride = strideTo(config, level);
      const target = recorder.labels(`labels.${level}`, labels.batch, pooledSize(labels.size, stride));
      coarserLabels(recorder, target.name, { source: truth.labels, target }, stride, coarserTruth);
      labels = target;
    }
    const weight = weights[level]!;
    const [dice, crossEntropy] = [weight * loss.dice, weight * loss.crossEntropy];
    head.loss({ ...truth, labels }, { ...loss, dice, crossEntropy, add: level > 0 });
  }
}

function augmented(
  recorder: Recorder,
  source: VolumeTensor,
  sourceLabels: VolumeTensor,
  draws: DrawTensors,
  size: Size3,
): { image: VolumeTensor; labels: VolumeTensor } {
  const { batch, channels } = source;
  const image = recorder.volume('augmented.image', batch, channels, size);
  const labels = recorder.labels('augmented.labels', batch, size);
  augmentBatch(recorder, 'augment', { source, sourceLabels, image, labels }, draws);
  return { image, labels };
}

/** Tensors of an evaluation by their role. */
export interface EvaluationPlan {
  /** What is allocated, and what runs. */
  readonly plan: Plan;
  /** As the host writes it. */
  readonly image: VolumeTensor;
  /** The truth, as the host writes it. */
  readonly labels: VolumeTensor;
  /** The class of each voxel. */
  readonly predicted: VolumeTensor;
  /** Loss, Dice part, cross-entropy part, then Dice per class. */
  readonly results: Tensor;
}

/**
 * Forward with inference statistics, loss, and the predicted label of each voxel.
 * @example
 * ```js
 * const config = completeConfig({ inChannels: 1, classes: 6, features: [8, 16] });
 * const { plan } = planEvaluation({ config, size: [32, 32, 32], batch: 1, loss: lossShape(weightedDice(), 6) });
 * console.log(formatBytes(plan.peakBytes));
 * ```
 */
export function planEvaluation(shape: PlanShape & { loss: LossShape }): EvaluationPlan {
  assertOptions('planEvaluation', { ...shapeEntries, loss: lossShapeSchema }, shape);
  const { size, batch } = shape;
  const { recorder, image, shared, forward } = begin(shape, false);
  const labels = recorder.labels('labels', batch, size, 'resident');
  const predicted = recorder.labels('predicted', batch, size, 'result');
  const results = shared('results');
  const [head] = forward(image).heads;
  const regions = shape.loss.regions ? shared('regions') : undefined;
  const [classWeights, lossScale] = [shared('classWeights'), shared('lossScale')];
  supervise(recorder, [head!], { labels, classWeights, regions, results, lossScale }, shape);
  head!.labels(predicted, regions);
  return { plan: recorder.finish(), image, labels, predicted, results };
}

/** Tensors of a prediction by their role. */
export interface InferencePlan {
  /** What is allocated, and what runs. */
  readonly plan: Plan;
  /** As the host writes it. */
  readonly image: VolumeTensor;
  /** One channel per class. */
  readonly logits: VolumeTensor;
}

/**
 * Forward with inference statistics to the logits of the whole input. Predictions, which read them a few planes at a time,
 * take less.
 * @example
 * ```js
 * const config = completeConfig({ inChannels: 1, classes: 6, features: [8, 16] });
 * const { plan } = planInference({ config, size: [32, 32, 32], batch: 1 });
 * console.log(formatBytes(plan.peakBytes));
 * ```
 */
export function planInference(shape: PlanShape): InferencePlan {
  assertOptions('planInference', shapeEntries, shape);
  const { config, size, batch } = shape;
  const { recorder, image, forward } = begin(shape, false);
  const logits = recorder.volume('logits', batch, config.classes, size, 'result');
  forward(image).heads[0]!.logits(logits);
  return { plan: recorder.finish(), image, logits };
}

/** Bytes of a result that are made and read at a time, or one plane. */
const slabBytes = 2 ** 23;

/** Of a result of so many channels. */
export const readAtMost = ([x, y, z]: Size3, channels: number): number => {
  const planeBytes = 4 * x * y * channels;
  return Math.min(z * planeBytes, Math.max(slabBytes, planeBytes));
};

/** What a network gives: the logits, or what its finest head makes them of. */
export type ResultKind = 'logits' | 'features';

/** Tensors of a prediction whose result never is there as a whole. */
export interface SlabsPlan {
  readonly plan: Plan;
  readonly image: VolumeTensor;
  /** Of the result, in order: planes are there once the dispatches up to `end` have run, until others run. */
  readonly slabs: readonly { readonly tensor: VolumeTensor; readonly end: number }[];
}

/**
 * As `planInference`, with the result a slab of planes at a time: what predictions run. Features are fewer numbers than the
 * logits of many classes, and means of them give the means of the logits.
 * @throws InvalidOption for features of a network whose last layer gives the logits itself
 */
export function planSlabs(shape: PlanShape, kind: ResultKind = 'logits'): SlabsPlan {
  assertOptions('planSlabs', shapeEntries, shape);
  const { size, batch, config } = shape;
  const { recorder, image, forward, featureChannels } = begin(shape, false);
  const head = forward(image).heads[0]!;
  if (!head[kind]) throw new InvalidOption('the last layer of this network gives its logits: it has no head');
  const result = { batch, channels: kind === 'logits' ? config.classes : featureChannels, size };
  const { planes, planeBytes } = recorder.slab(kind, result, [0, 0]);
  const depth = Math.max(1, Math.floor(slabBytes / planeBytes));
  const slabs = Array.from({ length: Math.ceil(planes / depth) }, (_, index) => {
    const range = [index * depth, Math.min(planes, (index + 1) * depth)] as const;
    const tensor = recorder.slab(kind, result, range);
    head[kind]!(tensor, range);
    return { tensor, end: recorder.dispatches.length };
  });
  return { plan: recorder.finish(), image, slabs };
}
