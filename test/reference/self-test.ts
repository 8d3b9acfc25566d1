/** The ops of the self-test by the float64 loops beside this file: results by name, from the inputs of the same names. */
import type { OpBench } from '../../src/self-test/bench.ts';
import {
  epsilon,
  firstChannels,
  normSlope,
  outChannels,
  stridedShape,
  transposedShape,
} from '../../src/self-test/cases/convolutions.ts';
import {
  classes,
  diceWeights,
  draws,
  entropyWeights,
  lossOptions,
  lossScale,
  regions,
  steps,
  stepValues,
} from '../../src/self-test/cases/learning.ts';
import { channels, groups, second, slope } from '../../src/self-test/cases/layers.ts';
import { usualShape, type ConvShape } from '../../src/ops/conv/shape.ts';
import type { OptimizerKind } from '../../src/ops/optimizer.ts';
import { activate, channels as part, concatenate } from './activate.ts';
import { augmented } from './augment.ts';
import { channelSums, conv, convGradients } from './conv.ts';
import { conv1, conv1Gradients } from './conv1.ts';
import { groupNorm } from './group-norm.ts';
import { loss } from './loss.ts';
import { norm, normGradients, normInference, runningStatistics } from './norm.ts';
import { optimizerStep } from './optimizer.ts';
import { averagePool, averagePoolGradient, pool, poolGradient } from './pool.ts';
import { prelu, preluGradients } from './prelu.ts';
import { regionLoss } from './region-loss.ts';
import { activationGradient, sum } from './sum.ts';
import { transposed, transposedGradients } from './transposed.ts';
import { upconv, upconvGradients } from './upconv.ts';
import { upsample, upsampleGradient } from './upsample.ts';
import { dense, type Dense } from '../support/dense.ts';

type Results = Readonly<Record<string, ArrayLike<number> | Dense>>;

const volume = (bench: OpBench, name: string): Dense => bench.volumes.get(name)!;
const numbers = (bench: OpBench, name: string): Float64Array => bench.numbers.get(name)!;
const activated = (bench: OpBench, name: string): Dense =>
  activate(volume(bench, name), numbers(bench, `${name} scaleShifts`), slope);

function convolution(bench: OpBench, shape: ConvShape): Results {
  const input = concatenate(activated(bench, 'input 0'), volume(bench, 'input 1'));
  const [weights, dOutput] = [numbers(bench, 'weights'), volume(bench, 'dOutput')];
  const { dInput, dWeights } = convGradients(input, weights, dOutput, shape);
  const output = conv(input, weights, numbers(bench, 'bias'), outChannels, shape);
  const [ones, zeros] = [new Float64Array(outChannels).fill(1), new Float64Array(outChannels)];
  const normed = norm(output, ones, zeros, { kind: 'batch', epsilon, slope: normSlope });
  return {
    output,
    normed: sum(normed, volume(bench, 'other')),
    dWeights,
    'dInput 0': part(dInput, 0, firstChannels),
    'dInput 1': part(dInput, firstChannels, input.shape[1]),
    dBias: channelSums(dOutput),
  };
}

/** Weight and bias of a norm, as the model lays them out. */
const halves = (words: Float64Array) => [words.slice(0, channels), words.slice(second)] as const;
function joined(first: Float64Array, other: Float64Array, before?: Float64Array) {
  const words = before?.slice() ?? new Float64Array(second + channels);
  words.set(first);
  words.set(other, second);
  return words;
}

function plainNorm(bench: OpBench, kind: 'batch' | 'instance'): Results {
  const [source, other] = [volume(bench, 'source'), volume(bench, 'other')];
  const [gamma, beta] = halves(numbers(bench, 'weightBias'));
  const options = { kind, epsilon: 1e-5, slope };
  const gradients = normGradients(source, gamma, beta, volume(bench, 'dActivated'), options);
  const running = numbers(bench, 'running');
  const next = runningStatistics(source, ...halves(running), 0.1);
  return {
    running: kind === 'batch' ? joined(next.mean, next.variance, running) : running,
    output: sum(norm(source, gamma, beta, options), other),
    dWeightBias: joined(gradients.dGamma, gradients.dBeta),
    dInput: gradients.dInput,
    'dInput in place': gradients.dInput,
  };
}

/** What losses leave: loss, both parts, Dice per class. */
const resultsOf = (found: ReturnType<typeof loss>) => ({
  results: [found.loss, found.dice, found.entropy, ...found.scores],
  dLogits: found.dLogits.data.map((value) => lossScale * value),
});

function optimized(bench: OpBench, kind: OptimizerKind): Results {
  const parameters = numbers(bench, 'parameters').slice();
  const [first, moments] = [new Float64Array(parameters.length), new Float64Array(parameters.length)];
  const state = { parameters, first, second: moments };
  for (let t = 0; t < steps; t++)
    optimizerStep(state, numbers(bench, `gradients ${t}`), t + 1, {
      ...stepValues(kind),
      kind,
      nesterov: true,
    });
  return { parameters, 'first moment': first };
}

export const references: Readonly<Record<string, (bench: OpBench) => Results>> = {
  conv3: (bench) => convolution(bench, usualShape),
  'conv, strided': (bench) => convolution(bench, stridedShape),
  conv1(bench) {
    const [input, weights] = [activated(bench, 'input'), numbers(bench, 'weights')];
    const { dInput, dWeights } = conv1Gradients(input, weights, volume(bench, 'dOutput'));
    return { output: conv1(input, weights, numbers(bench, 'bias')), dInput, dWeights };
  },
  'transposed convolution'(bench) {
    const [input, weights] = [volume(bench, 'input'), numbers(bench, 'weights')];
    const gradients = transposedGradients(input, weights, volume(bench, 'dOutput'), transposedShape);
    const output = transposed(input, weights, numbers(bench, 'bias'), transposedShape);
    return { output, dInput: gradients.dInput, dWeights: gradients.dWeights };
  },
  'up-convolution'(bench) {
    const [input, weights] = [activated(bench, 'input'), numbers(bench, 'weights')];
    const { dInput, dWeights } = upconvGradients(input, weights, volume(bench, 'dOutput'));
    return { output: upconv(input, weights, numbers(bench, 'bias')), dInput, dWeights };
  },
  'batch norm': (bench) => plainNorm(bench, 'batch'),
  'instance norm': (bench) => plainNorm(bench, 'instance'),
  'group norm'(bench) {
    const [gamma, beta] = halves(numbers(bench, 'weightBias'));
    const options = { groups, gamma, beta, slope };
    const { output, dInput, dGamma, dBeta } = groupNorm(
      volume(bench, 'source'),
      options,
      volume(bench, 'dActivated'),
    );
    return {
      running: numbers(bench, 'running'),
      output: sum(output, volume(bench, 'other')),
      dWeightBias: joined(dGamma, dBeta),
      dInput,
      'dInput in place': dInput,
    };
  },
  'norm, running statistics'(bench) {
    const moved = numbers(bench, 'moved');
    const [mean, variance] = halves(moved);
    const [gamma, beta] = halves(numbers(bench, 'weightBias'));
    const options = { epsilon: 1e-5, slope };
    const output = normInference(volume(bench, 'source'), gamma, beta, { mean, variance }, options);
    return { running: moved, output: sum(output, volume(bench, 'other')) };
  },
  activation(bench) {
    const source = volume(bench, 'source');
    const output = dense(source.shape, (i) => Math.max(source.data[i]!, slope * source.data[i]!));
    return {
      output: sum(output, volume(bench, 'other')),
      dInput: activationGradient(source, volume(bench, 'dOutput'), slope),
    };
  },
  sum: (bench) => ({
    output: sum(activated(bench, 'input 0'), activated(bench, 'input 1')),
    added: sum(volume(bench, 'dOutput'), volume(bench, 'before')),
  }),
  PReLU(bench) {
    const input = volume(bench, 'input');
    const { dInput, dSlope } = preluGradients(input, 0.25, volume(bench, 'dOutput'));
    return { output: prelu(input, 0.25), dInput, dSlope: [dSlope] };
  },
  padding(bench) {
    const [source, dOutput] = [volume(bench, 'source'), volume(bench, 'dOutput')];
    const [output, dInput] = [dense(dOutput.shape), dense(source.shape)];
    const [, , z, y, x] = source.shape;
    const [, , d, h, w] = dOutput.shape;
    for (let at = 0; at < output.data.length; at++) {
      // The last voxel of each axis, again.
      const [i, j, k] = [at % w, Math.floor(at / w) % h, Math.floor(at / (w * h)) % d];
      const row = (Math.floor(at / (w * h * d)) * z + Math.min(k, z - 1)) * y + Math.min(j, y - 1);
      const from = row * x + Math.min(i, x - 1);
      output.data[at] = source.data[from]!;
      dInput.data[from]! += dOutput.data[at]!;
    }
    return { output, dInput };
  },
  pooling(bench) {
    const [source, dOutput] = [activated(bench, 'source'), volume(bench, 'dOutput')];
    const labels = bench.labels.get('labels')!;
    const [batch, , z, y, x] = source.shape;
    const [w, h, d] = [x >> 1, y >> 1, z >> 1];
    const first = (i: number) => {
      const [n, k, j] = [Math.floor(i / (w * h * d)), Math.floor(i / (w * h)) % d, Math.floor(i / w) % h];
      return labels[((n * z + 2 * k) * y + 2 * j) * x + 2 * (i % w)]!;
    };
    return {
      output: pool(source),
      dInput: poolGradient(source, dOutput, volume(bench, 'before')),
      mean: averagePool(source, [2, 2, 2]),
      dMean: averagePoolGradient(dOutput, dense(source.shape), [2, 2, 2]),
      coarser: Array.from({ length: batch * w * h * d }, (_, i) => first(i)),
    };
  },
  upsampling: (bench) => ({
    output: upsample(volume(bench, 'source')),
    dInput: upsampleGradient(volume(bench, 'dOutput')),
  }),
  loss(bench) {
    const [logits, labels] = [volume(bench, 'logits'), bench.labels.get('labels')!];
    const size = labels.length / logits.shape[0];
    const argmax = Array.from(labels, (_, voxel) => {
      const [n, i] = [Math.floor(voxel / size), voxel % size];
      const values = Array.from({ length: classes }, (_, c) => logits.data[(n * classes + c) * size + i]!);
      return values.indexOf(Math.max(...values));
    });
    return { argmax, ...resultsOf(loss(logits, labels, { ...lossOptions, diceWeights, entropyWeights })) };
  },
  'loss of regions'(bench) {
    const [logits, labels] = [volume(bench, 'logits'), bench.labels.get('labels')!];
    const size = labels.length / logits.shape[0];
    const found = Array.from(labels, (_, voxel) => {
      const [n, i] = [Math.floor(voxel / size), voxel % size];
      return regions.findLast((_, c) => logits.data[(n * classes + c) * size + i]! > 0)?.written ?? 0;
    });
    const sets = regions.map((region) => region.labels);
    return { found, ...resultsOf(regionLoss(logits, labels, sets, { ...lossOptions, diceWeights })) };
  },
  adam: (bench) => optimized(bench, 'adam'),
  adamw: (bench) => optimized(bench, 'adamw'),
  sgd: (bench) => optimized(bench, 'sgd'),
  'accumulation and average'(bench) {
    const parameters = numbers(bench, 'parameters').slice();
    const state = { parameters, first: parameters.map(() => 0), second: parameters.map(() => 0) };
    const other = numbers(bench, 'gradients 1');
    const mean = numbers(bench, 'gradients 0').map((value, i) => (value + other[i]!) / 2);
    optimizerStep(state, mean, 1, { ...stepValues('sgd'), kind: 'sgd', nesterov: true });
    const average = numbers(bench, 'average').map((value, i) => 0.1 * value + 0.9 * parameters[i]!);
    return { parameters, 'first moment': state.first, average };
  },
  augmentation(bench) {
    const found = augmented(volume(bench, 'image'), bench.labels.get('labels')!, draws);
    return { augmented: found.image, 'augmented labels': found.labels };
  },
};
