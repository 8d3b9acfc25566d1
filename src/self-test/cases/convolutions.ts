/** Convolutions forward and backward, of two inputs, the first behind a norm; with a norm behind them. */
import { biasGradient, type Input } from '../../ops/common.ts';
import { conv1BackwardInput, conv1BackwardWeight, conv1Forward } from '../../ops/conv1.ts';
import { convBackwardInput, convBackwardWeight, convForward } from '../../ops/conv.ts';
import { convolvedSize, grownSize, tapsOf, usualShape, type ConvShape } from '../../ops/conv/shape.ts';
import {
  transposedBackwardInput,
  transposedBackwardWeight,
  transposedForward,
} from '../../ops/transposed.ts';
import { normForward } from '../../ops/norm.ts';
import { sumForward } from '../../ops/sum.ts';
import { upconvBackwardInput, upconvBackwardWeight, upconvForward } from '../../ops/upconv.ts';
import { oddSize, type OpBench, type OpCase } from '../bench.ts';

/** Channels of the two inputs, and of the output. */
export const [firstChannels, secondChannels, outChannels] = [3, 2, 5];
const inChannels = firstChannels + secondChannels;

/** Along one axis 1 tap, and along that no stride. */
export const stridedShape: ConvShape = { kernel: [3, 1, 3], stride: [2, 1, 2] };
/** The same, so that its kernels are those of the strided one. */
export const transposedShape = stridedShape;
const smallSize = [5, 3, 2] as const;
/** Of the norm behind. */
export const [epsilon, normSlope] = [1e-5, 0.125];

const placeOf = (i: number) => ({ inChannels, first: i === 0 ? 0 : firstChannels });

function convolution(bench: OpBench, shape: ConvShape): void {
  const { recorder } = bench;
  const inputs: [Input, Input] = [
    bench.normed('input 0', firstChannels),
    { tensor: bench.volume('input 1', secondChannels) },
  ];
  const size = convolvedSize(oddSize, shape.stride);
  const length = inChannels * outChannels * tapsOf(shape.kernel);
  const [weights, bias] = [bench.words('weights', length), bench.words('bias', outChannels)];
  const target = bench.target('output', outChannels, size);
  const tensors = { inputs, weights, bias, target, measured: true };
  const parts = convForward(recorder, 'forward', tensors, shape);
  const running = bench.words('running', 2 * outChannels);
  const state = {
    kind: 'batch',
    biasOffset: 0,
    running,
    varianceOffset: outChannels,
    epsilon,
    momentum: 0,
  } as const;
  const { scaleShifts } = normForward(recorder, 'norm', target, state, parts);
  const normed = { tensor: target, scaleShifts, slope: normSlope };
  const other = { tensor: bench.volume('other', outChannels, size) };
  sumForward(recorder, 'read', [normed, other], bench.target('normed', outChannels, size));
  const dOutput = bench.volume('dOutput', outChannels, size);
  const dWeights = bench.targetWords('dWeights', length);
  for (const [i, input] of inputs.entries()) {
    const dInput = bench.target(`dInput ${i}`, input.tensor.channels);
    convBackwardInput(recorder, `dInput ${i}`, { dOutput, weights, dInput }, placeOf(i), shape);
    convBackwardWeight(recorder, `dWeights ${i}`, { input, dOutput, dWeights }, placeOf(i), shape);
  }
  biasGradient(recorder, 'dBias', dOutput, bench.targetWords('dBias', outChannels));
}

/** The one for which there are several kernels. */
export const conv3: OpCase = { name: 'conv3', record: (bench) => convolution(bench, usualShape) };

const strided: OpCase = { name: 'conv, strided', record: (bench) => convolution(bench, stridedShape) };

const conv1: OpCase = {
  name: 'conv1',
  record(bench) {
    const { recorder } = bench;
    const input = bench.normed('input', inChannels);
    const weights = bench.words('weights', inChannels * outChannels);
    const bias = bench.words('bias', outChannels);
    conv1Forward(recorder, 'forward', { input, weights, bias, target: bench.target('output', outChannels) });
    const dOutput = bench.volume('dOutput', outChannels);
    const dInput = bench.target('dInput', inChannels);
    conv1BackwardInput(recorder, 'dInput', { dOutput, weights, dInput });
    const dWeights = bench.targetWords('dWeights', inChannels * outChannels);
    conv1BackwardWeight(recorder, 'dWeights', { input, dOutput, dWeights });
  },
};

const transposed: OpCase = {
  name: 'transposed convolution',
  record(bench) {
    const { recorder } = bench;
    const input = { tensor: bench.volume('input', firstChannels, smallSize) };
    const size = grownSize(smallSize, transposedShape.stride);
    const length = firstChannels * outChannels * tapsOf(transposedShape.kernel);
    const [weights, bias] = [bench.words('weights', length), bench.words('bias', outChannels)];
    const target = bench.target('output', outChannels, size);
    transposedForward(recorder, 'forward', { inputs: [input], weights, bias, target }, transposedShape);
    const dOutput = bench.volume('dOutput', outChannels, size);
    const place = { inChannels: firstChannels, first: 0 };
    const dInput = bench.target('dInput', firstChannels, smallSize);
    transposedBackwardInput(recorder, 'dInput', { dOutput, weights, dInput }, place, transposedShape);
    const dWeights = bench.targetWords('dWeights', length);
    transposedBackwardWeight(recorder, 'dWeights', { input, dOutput, dWeights }, place, transposedShape);
  },
};

const upconv: OpCase = {
  name: 'up-convolution',
  record(bench) {
    const { recorder } = bench;
    const input = bench.normed('input', firstChannels, smallSize);
    const size = grownSize(smallSize, [2, 2, 2]);
    const length = firstChannels * outChannels * 8;
    const [weights, bias] = [bench.words('weights', length), bench.words('bias', outChannels)];
    const target = bench.target('output', outChannels, size);
    upconvForward(recorder, 'forward', { input, weights, bias, target });
    const dOutput = bench.volume('dOutput', outChannels, size);
    const dInput = bench.target('dInput', firstChannels, smallSize);
    upconvBackwardInput(recorder, 'dInput', { dOutput, weights, dInput });
    const dWeights = bench.targetWords('dWeights', length);
    upconvBackwardWeight(recorder, 'dWeights', { input, dOutput, dWeights });
  },
};

/** Those that run on matrix units, too, where a device has them. */
export const otherConvolutions: readonly OpCase[] = [strided, transposed, upconv];

export const convolutions: readonly OpCase[] = [conv3, strided, conv1, transposed, upconv];
