/** Losses, argmax, optimisers and augmentation. */
import { augment, encodeDraws, type SampleDraw } from '../../ops/augment.ts';
import {
  argmax,
  lossBackward,
  lossFinalize,
  lossForward,
  lossValues,
  type LossShape,
} from '../../ops/loss.ts';
import {
  averageStep,
  optimizerStep,
  stepArray,
  updateArray,
  type OptimizerKind,
  type StepValues,
} from '../../ops/optimizer.ts';
import { regionLabels, regionLossBackward, regionLossForward, regionTable } from '../../ops/region-loss.ts';
import { batch, oddSize, type OpBench, type OpCase } from '../bench.ts';

export const classes = 4;
/** Float16 holds gradients that are multiplied by it. */
export const lossScale = 1024;
export const diceWeights = [0.5, 1, 0.25, 0.75];
export const entropyWeights = [1, 0.5, 2, 1];
export const lossOptions = { dice: 0.5, crossEntropy: 2, smooth: 1e-5, batchDice: false };
/** Nested, with a label in another word of the table. */
export const regions = [[1, 2, 70], [2, 70], [3], [1]].map((labels, head) => ({ labels, written: head + 1 }));

function given(bench: OpBench, of: readonly number[]) {
  return {
    logits: bench.changed('dLogits', bench.volume('logits', classes)),
    labels: bench.labelled('labels', of),
    classWeights: bench.words('classWeights', [...diceWeights, ...entropyWeights]).tensor,
    partials: bench.recorder.flat('partials', batch * oddSize[2] * lossValues(classes)),
  };
}

function finalize(
  bench: OpBench,
  { partials, classWeights }: Omit<ReturnType<typeof given>, 'logits' | 'labels'>,
) {
  const results = bench.targetWords('results', 3 + classes);
  const tensors = {
    partials,
    classWeights,
    results,
    lossScale: bench.words('lossScale', [lossScale]).tensor,
  };
  const shape: LossShape = { classes, ...lossOptions };
  return lossFinalize(bench.recorder, 'loss', tensors, { samples: batch, depth: oddSize[2] }, shape);
}

const loss: OpCase = {
  name: 'loss',
  record(bench) {
    const { recorder } = bench;
    const tensors = given(bench, [0, 1, 2, 3]);
    argmax(recorder, 'argmax', tensors.logits, bench.targetLabels('argmax'));
    lossForward(recorder, 'loss', tensors);
    lossBackward(recorder, 'backward', { ...tensors, coefficients: finalize(bench, tensors) });
  },
};

const regionLoss: OpCase = {
  name: 'loss of regions',
  record(bench) {
    const { recorder } = bench;
    const { logits, labels, ...sums } = given(bench, [0, 1, 2, 3, 70]);
    const tensors = { logits, labels, regions: bench.bits('regions', regionTable(regions)) };
    regionLabels(recorder, 'labels', { ...tensors, labels: bench.targetLabels('found') });
    regionLossForward(recorder, 'loss', { ...tensors, partials: sums.partials });
    const coefficients = finalize(bench, sums);
    regionLossBackward(recorder, 'backward', { ...tensors, coefficients });
  },
};

/** Numbers of the parameters: more than eight workgroups, not a multiple of four. */
export const parameterCount = 521;
export const steps = 3;

export const stepValues = (kind: OptimizerKind): StepValues => ({
  learningRate: 0.125,
  beta1: 0.875,
  beta2: 0.96875,
  epsilon: 1e-8,
  weightDecay: 0.0625,
  maxNorm: kind === 'adam' ? 16 : Infinity,
  applied: 0,
  mostSkipped: 0,
});

function state(bench: OpBench) {
  const zeros = new Float64Array(parameterCount);
  return {
    parameters: bench.changedWords('parameters', bench.words('parameters', parameterCount)).tensor,
    first: bench.changedWords('first moment', bench.words('first', zeros)).tensor,
    second: bench.words('second', zeros).tensor,
    update: bench.words('update', updateArray()).tensor,
    results: bench.words('results', [0]).tensor,
    lossScale: bench.words('lossScale', [1, 0]).tensor,
  };
}

function optimizer(kind: OptimizerKind): OpCase {
  return {
    name: kind,
    record(bench) {
      const tensors = state(bench);
      for (let t = 0; t < steps; t++) {
        const gradients = bench.words(`gradients ${t}`, parameterCount).tensor;
        const step = bench.words(`step ${t}`, stepArray({ ...stepValues(kind), applied: t })).tensor;
        optimizerStep(
          bench.recorder,
          `step ${t}`,
          { ...tensors, gradients, step },
          { kind, length: parameterCount },
        );
      }
    },
  };
}

const accumulation: OpCase = {
  name: 'accumulation and average',
  record(bench) {
    const tensors = state(bench);
    const accumulated = bench.words('accumulated', parameterCount).tensor; // of the step before
    for (let part = 0; part < 2; part++) {
      const gradients = bench.words(`gradients ${part}`, parameterCount).tensor;
      const values = { ...stepValues('sgd'), decay: 0.999 };
      const step = bench.words(`step ${part}`, stepArray(values, [part, 2])).tensor;
      const all = { ...tensors, gradients, step, accumulated };
      optimizerStep(bench.recorder, `part ${part}`, all, { kind: 'sgd', length: parameterCount });
    }
    const average = bench.changedWords('average', bench.words('average', parameterCount)).tensor;
    const { parameters: weights, update } = tensors;
    averageStep(bench.recorder, 'average', parameterCount, { weights, average, update });
  },
};

/** Everything at once, without noise, whose sine and cosine WebGPU leaves to devices. */
export const draws: readonly SampleDraw[] = [
  {
    matrix: [
      [0.9137, -0.3571, 0.1029, 1.3177],
      [0.3019, 0.9533, -0.2047, -0.8111],
      [-0.1531, 0.2063, 1.1071, 0.4517],
    ],
    channels: [
      {
        blur: [0.5, 0.8, 1],
        brightness: 0.8,
        contrast: 1.2,
        lowResolution: [5, 4, 4],
        invertedGamma: 1.4,
        gamma: 0.8,
      },
      { brightness: 1.1, gamma: 1.3 },
    ],
  },
  { mirror: [false, true, true], channels: [{ contrast: 0.8 }, { blur: [1, 1, 0.6] }] },
];

const augmentation: OpCase = {
  name: 'augmentation',
  tolerance: 1e-4,
  record(bench) {
    const { samples, channels } = encodeDraws(draws, oddSize);
    const source = bench.volume('image', 2);
    const sourceLabels = bench.labelled('labels', [0, 1, 2, 3]);
    const [image, labels] = [bench.target('augmented', 2), bench.targetLabels('augmented labels')];
    const tensors = {
      samples: bench.bits('samples', new Uint32Array(samples.buffer)),
      channels: bench.words('channels', channels).tensor,
    };
    augment(bench.recorder, 'augment', { source, sourceLabels, image, labels }, tensors);
  },
};

export const learning: readonly OpCase[] = [
  loss,
  regionLoss,
  optimizer('adam'),
  optimizer('adamw'),
  optimizer('sgd'),
  accumulation,
  augmentation,
];
