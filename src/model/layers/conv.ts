/** Convolution with "same" padding, over one input or two that stand for their concatenation. */
import { biasGradient, type Input } from '../../ops/common.ts';
import { convBackwardInput, convBackwardWeight, convForward } from '../../ops/conv.ts';
import { convolvedSize, tapsOf, usualShape, type ConvShape } from '../../ops/conv/shape.ts';
import { channelsOf, shapesOf, type Layer, type Node } from '../graph.ts';

export interface ConvOptions extends Partial<ConvShape> {
  /** Default true. */
  readonly bias?: boolean;
}

/** What tells the inputs of a concatenation apart in labels: nothing where there is but one. */
export const partNames =
  (inputs: readonly Node[]) =>
  (slot: number): string =>
    inputs.length > 1 ? [' first', ' second'][slot]! : '';

/** Kernel and stride along x, y and z: by default 3×3×3 with stride 1. */
export const conv = (channels: number, options: ConvOptions = {}): Layer => {
  const { kernel, stride, bias: biased } = { ...usualShape, bias: true, ...options };
  const shape = { kernel, stride };
  return {
    operation: { kind: 'conv', ...shape },
    shape: ([first]) => ({ ...first!, channels, size: convolvedSize(first!.size, stride) }),
    parameters(inputs) {
      const inChannels = channelsOf(inputs);
      const init = { fanIn: tapsOf(kernel) * inChannels };
      const [x, y, z] = kernel;
      const weight = { name: 'weight', shape: [channels, inChannels, z, y, x], init };
      return biased ? [weight, { name: 'bias', shape: [channels], init }] : [weight];
    },
    flopsPerByte: (inputs) => (2 * tapsOf(kernel) * channelsOf(inputs)) / 4,
    at(context, { name, inputs, consumers, shape: { batch, size } }) {
      const { recorder } = context;
      const weights = context.parameter(`${name}.weight`);
      const bias = biased ? context.parameter(`${name}.bias`) : undefined;
      const inChannels = channelsOf(shapesOf(inputs));
      const firstOf = (slot: number) => channelsOf(shapesOf(inputs.slice(0, slot)));
      const part = partNames(inputs);
      // Otherwise the gradient of the bias is 0, as the buffer of gradients is from the beginning.
      const biasCounts = biased && consumers.some(({ node }) => !node.layer!.centres);
      return {
        target: 'either',
        forward([first, second]) {
          const target = recorder.volume(name, batch, channels, size);
          const read: [Input, Input?] = second ? [first!, second] : [first!];
          convForward(recorder, name, { inputs: read, weights, bias, target }, shape);
          return { tensor: target };
        },
        parameterGradients(dOutput) {
          const dWeights = context.gradient(`${name}.weight`);
          for (const [slot, node] of inputs.entries()) {
            const tensors = { input: context.read(node), dOutput, dWeights };
            const place = { inChannels, first: firstOf(slot) };
            convBackwardWeight(recorder, `${name} dW${part(slot)}`, tensors, place, shape);
          }
          if (biasCounts) biasGradient(recorder, `${name} db`, dOutput, context.gradient(`${name}.bias`));
        },
        inputGradient(dOutput, slot, dInput, add) {
          const place = { inChannels, first: firstOf(slot), add };
          const label = `${name} dX${part(slot)}`;
          convBackwardInput(recorder, label, { dOutput, weights, dInput }, place, shape);
        },
      };
    },
  };
};
