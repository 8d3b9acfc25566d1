/**
 * Plans of a whole training step, of evaluation and of inference, made without a GPU. They are plain
 * data: what is allocated, for how long, and what runs.
 */
import { InvalidOption } from '../errors.ts';
import {
  defaultLimits,
  Recorder,
  type Plan,
  type PlanLimits,
  type Precision,
  type Size3,
  type Tensor,
  type VolumeTensor,
} from '../gpu/plan.ts';
import { augment as augmentBatch, drawTensors, type DrawTensors } from '../ops/augment.ts';
import type { LossShape } from '../ops/loss.ts';
import { keepStatistics } from '../ops/norm.ts';
import {
  averageStep,
  lossScaleWords,
  optimizerStep,
  stepWords,
  updateWords,
  type OptimizerKind,
} from '../ops/optimizer.ts';
import { sizeMultiple, type UNet3DConfig } from './config.ts';
import { Network } from './network.ts';
import { layoutParameters, type ParameterLayout } from './parameters.ts';

export interface PlanShape {
  readonly config: UNet3DConfig;
  /** x, y, z of the network's input; multiples of 2^(levels − 1). */
  readonly size: Size3;
  readonly batch: number;
  readonly limits?: PlanLimits | undefined;
  /** Of the stored volumes. Default float32. */
  readonly precision?: Precision | undefined;
}

export interface TrainingShape extends PlanShape {
  readonly loss: LossShape;
  readonly optimizer: OptimizerChoice;
  /** Activation checkpointing: the first convolution of each block is computed again in the backward pass. */
  readonly checkpointing?: boolean | undefined;
  /** Batches whose gradients are averaged for one update. Default 1. */
  readonly accumulate?: number | undefined;
  /** Batches are augmented first, as drawn by the host. */
  readonly augment?: boolean | undefined;
  /** Voxels x, y, z that batches reach beyond the network's input on both sides, for the augmentation; x in fours. */
  readonly margin?: Size3 | undefined;
  /** Keep a running average of the weights. */
  readonly averaging?: boolean | undefined;
}

export interface OptimizerChoice {
  readonly kind: OptimizerKind;
  readonly nesterov?: boolean;
}

/** Tensors by their role; those of one name are the same buffer in all plans of a model. */
export interface TrainingPlan {
  readonly plan: Plan;
  /** As the host writes them, margin included, before augmentation. */
  readonly image: VolumeTensor;
  readonly labels: VolumeTensor;
  /** What augmentation does to each sample; with `augment` only. */
  readonly draws: DrawTensors | undefined;
  readonly step: Tensor;
  readonly results: Tensor;
}

/** Words that the loss leaves in `results`: loss, Dice part, cross-entropy part, then Dice per class. */
export const resultWords = (classes: number): number => 3 + classes;

/** Words of every shared tensor of a model by name. */
export function sharedWords(config: UNet3DConfig, layout: ParameterLayout): Record<string, number> {
  const { parameterWords, statisticsWords } = layout;
  return {
    parameters: parameterWords,
    statistics: statisticsWords,
    gradients: parameterWords,
    'optimizer.first': parameterWords,
    'optimizer.second': parameterWords,
    step: stepWords,
    update: updateWords,
    lossScale: lossScaleWords,
    accumulated: parameterWords,
    'average.parameters': parameterWords,
    'average.statistics': statisticsWords,
    'moved.statistics': statisticsWords,
    results: resultWords(config.classes),
    classWeights: 2 * config.classes,
  };
}

const none: Size3 = [0, 0, 0];

function begin(shape: PlanShape, training: boolean, checkpointing = false, margin = none) {
  const { config, size, batch, limits = defaultLimits, precision } = shape;
  const multiple = sizeMultiple(config);
  if (!size.every((length) => Number.isInteger(length) && length > 0 && length % multiple === 0)) {
    throw new InvalidOption(
      `a network of ${config.features.length} levels takes sizes in multiples of ${multiple}; got [${size.join(', ')}] (x, y, z)`,
    );
  }
  if (!Number.isInteger(batch) || batch < 1)
    throw new InvalidOption(`batch is ${batch}; give a whole number from 1 on`);
  const recorder = new Recorder(limits, precision);
  const layout = layoutParameters(config);
  const words = sharedWords(config, layout);
  const shared = (name: keyof typeof words) => recorder.flat(name, words[name]!, 'shared');
  const model = { parameters: shared('parameters'), statistics: shared('statistics') };
  // The batches of a step move a copy of the running statistics, which becomes the model's once the step is applied.
  const moved = training && config.norm === 'batch' ? shared('moved.statistics') : undefined;
  const seen = { ...model, statistics: moved ?? model.statistics };
  const network = new Network(recorder, config, layout, seen, { training, checkpointing });
  const given = size.map((length, axis) => length + 2 * margin[axis]!) as unknown as Size3;
  const image = recorder.volume('image', batch, config.inChannels, given, 'resident');
  return { recorder, layout, model, moved, network, image, shared };
}

/** Forward, loss, backward and the optimiser's update of one batch. */
export function planTraining(shape: TrainingShape): TrainingPlan {
  const { size, batch, loss, optimizer, checkpointing } = shape;
  const { accumulate = 1, augment = false, averaging = false, margin = none } = shape;
  if (!augment && margin.some((n) => n !== 0))
    throw new InvalidOption(
      `batches have a margin of [${margin.join(', ')}] voxels, but no augmentation that would read it: leave it out`,
    );
  const { recorder, layout, model, moved, network, image, shared } = begin(
    shape,
    true,
    checkpointing,
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
  const pass = network.forward(seen.image);
  const outputs = network.loss(pass, seen.labels, classWeights, { results, lossScale }, loss);
  network.backward(pass, outputs, classWeights, gradients);
  const accumulated = accumulate > 1 ? shared('accumulated') : undefined;
  const { parameters, statistics } = model;
  const tensors = { parameters, gradients, accumulated, first, second, step, update, results, lossScale };
  const options = { nesterov: optimizer.nesterov ?? true };
  optimizerStep(recorder, 'optimizer', optimizer.kind, layout.parameterWords, tensors, options);
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
  return { plan: recorder.finish(), image, labels, draws, step, results };
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

export interface EvaluationPlan {
  readonly plan: Plan;
  readonly image: VolumeTensor;
  readonly labels: VolumeTensor;
  readonly predicted: VolumeTensor;
  readonly results: Tensor;
}

/** Forward with inference statistics, loss, and the predicted class of each voxel. */
export function planEvaluation(shape: PlanShape & { loss: LossShape }): EvaluationPlan {
  const { size, batch, loss } = shape;
  const { recorder, network, image, shared } = begin(shape, false);
  const labels = recorder.labels('labels', batch, size, 'resident');
  const predicted = recorder.labels('predicted', batch, size, 'resident');
  const results = shared('results');
  const pass = network.forward(image);
  network.loss(pass, labels, shared('classWeights'), { results, lossScale: shared('lossScale') }, loss);
  network.labels(pass, predicted);
  return { plan: recorder.finish(), image, labels, predicted, results };
}

export interface InferencePlan {
  readonly plan: Plan;
  readonly image: VolumeTensor;
  readonly logits: VolumeTensor;
}

/** Forward with inference statistics to the logits of the whole input. */
export function planInference(shape: PlanShape): InferencePlan {
  const { config, size, batch } = shape;
  const { recorder, network, image } = begin(shape, false);
  const logits = recorder.volume('logits', batch, config.classes, size, 'resident');
  network.logits(network.forward(image), logits);
  return { plan: recorder.finish(), image, logits };
}
