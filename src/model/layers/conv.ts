/** Convolution with "same" padding, over one input or two that stand for their concatenation. */
import { biasGradient, type Input } from '../../ops/common.ts';
import { convBackwardInput, convBackwardWeight, convForward } from '../../ops/conv.ts';
import { convolvedSize, tapsOf, usualShape, type ConvShape } from '../../ops/conv/shape.ts';
import type {
  transposedBackwardInput,
  transposedBackwardWeight,
  transposedForward,
} from '../../ops/transposed.ts';
import { channelsOf, shapesOf, type Context, type Layer, type Node, type NodeRecording } from '../graph.ts';

export interface ConvOptions extends Partial<ConvShape> {
  /** Default true. */
  readonly bias?: boolean;
}

/** The ops of a convolution, usual or transposed. */
interface ConvOps {
  readonly forward: typeof transposedForward;
  readonly backwardInput: typeof transposedBackwardInput;
  readonly backwardWeight: typeof transposedBackwardWeight;
}

const ops: ConvOps = {
  forward: convForward,
  backwardInput: convBackwardInput,
  backwardWeight: convBackwardWeight,
};

const pairOf = ([first, second]: readonly Input[]): [Input, Input?] => (second ? [first!, second] : [first!]);

/** A convolution by these ops at its place in one recording. */
export function convolution(
  context: Context,
  node: Node,
  { forward, backwardInput, backwardWeight }: ConvOps,
  {
    channels,
    biased,
    shape,
  }: { readonly channels: number; readonly biased: boolean; readonly shape: ConvShape },
): NodeRecording {
  const { recorder } = context;
  const { name, inputs, consumers } = node;
  const { batch, size } = node.shape;
  const weights = context.parameter(`${name}.weight`);
  const bias = biased ? context.parameter(`${name}.bias`) : undefined;
  const inChannels = channelsOf(shapesOf(inputs));
  const placeOf = (slot: number) => ({ inChannels, first: channelsOf(shapesOf(inputs.slice(0, slot))) });
  const part = (slot: number) => (inputs.length > 1 ? [' first', ' second'][slot]! : '');
  // Otherwise the gradient of the bias is 0, as the buffer of gradients is from the beginning.
  const biasCounts = biased && consumers.some(({ node }) => !node.layer!.centres);
  const record = (
    inputs: readonly Input[],
    measured: boolean,
    target = recorder.volume(name, batch, channels, size),
  ): Input => {
    const parts = forward(recorder, name, { inputs: pairOf(inputs), weights, bias, target, measured }, shape);
    return { tensor: target, ...(parts && { parts }) };
  };
  return {
    target: 'either',
    forward: (inputs, place) => record(inputs, context.measures(node), place),
    again: (inputs) => record(inputs, false),
    planes: (inputs) => (target, planes) => {
      forward(recorder, name, { inputs: pairOf(inputs), weights, bias, target }, shape, planes);
    },
    parameterGradients(dOutput) {
      const dWeights = context.gradient(`${name}.weight`);
      for (const [slot, node] of inputs.entries()) {
        const tensors = { input: context.read(node), dOutput, dWeights };
        backwardWeight(recorder, `${name} dW${part(slot)}`, tensors, placeOf(slot), shape);
      }
      if (biasCounts) biasGradient(recorder, `${name} db`, dOutput, context.gradient(`${name}.bias`));
    },
    inputGradient(dOutput, slot, dInput, add) {
      const label = `${name} dX${part(slot)}`;
      backwardInput(recorder, label, { dOutput, weights, dInput }, { ...placeOf(slot), add }, shape);
    },
  };
}

/** Kernel and stride along x, y and z: by default 3×3×3 with stride 1. */
export const conv = (channels: number, options: ConvOptions = {}): Layer => {
  const { kernel, stride, bias: biased } = { ...usualShape, bias: true, ...options };
  const shape = { kernel, stride };
  return {
    operation: { kind: 'conv', ...shape },
    readsPlanes: true,
    overwrites: true,
    shape: ([first]) => ({ ...first!, channels, size: convolvedSize(first!.size, stride) }),
    parameters(inputs) {
      const inChannels = channelsOf(inputs);
      const init = { fanIn: tapsOf(kernel) * inChannels };
      const [x, y, z] = kernel;
      const weight = { name: 'weight', shape: [channels, inChannels, z, y, x], init };
      return biased ? [weight, { name: 'bias', shape: [channels], init }] : [weight];
    },
    flopsPerByte: (inputs) => (2 * tapsOf(kernel) * channelsOf(inputs)) / 4,
    at: (context, node) => convolution(context, node, ops, { channels, biased, shape }),
  };
};
