/**
 * Transposed convolution with the padding of a convolution, over one input or two that stand for their concatenation:
 * as many times more voxels along each axis as the strides say. MONAI's UNet goes up by it.
 */
import { biasGradient, type Input } from '../../ops/common.ts';
import { grownSize, tapsOf, type ConvShape } from '../../ops/conv/shape.ts';
import {
  transposedBackwardInput,
  transposedBackwardWeight,
  transposedForward,
} from '../../ops/transposed.ts';
import { assertStored, channelsOf, shapesOf, type Layer } from '../graph.ts';
import { partNames } from './conv.ts';

export const transposed = (
  channels: number,
  { bias: biased = true, ...shape }: ConvShape & { readonly bias?: boolean },
): Layer => ({
  operation: { kind: 'transposed', ...shape },
  shape: ([first]) => ({ ...first!, channels, size: grownSize(first!.size, shape.stride) }),
  parameters(inputs) {
    const [x, y, z] = shape.kernel;
    // PyTorch takes a transposed convolution's fan-in from its output channels.
    const init = { fanIn: tapsOf(shape.kernel) * channels };
    const weight = { name: 'weight', shape: [channelsOf(inputs), channels, z, y, x], init };
    return biased ? [weight, { name: 'bias', shape: [channels], init }] : [weight];
  },
  flopsPerByte: (inputs) => (2 * tapsOf(shape.kernel) * channelsOf(inputs)) / (4 * tapsOf(shape.stride)),
  at(context, { name, inputs, consumers, shape: { batch, size } }) {
    for (const input of inputs) assertStored(name, input);
    const { recorder } = context;
    const weights = context.parameter(`${name}.weight`);
    const bias = biased ? context.parameter(`${name}.bias`) : undefined;
    const inChannels = channelsOf(shapesOf(inputs));
    const placeOf = (slot: number) => ({ inChannels, first: channelsOf(shapesOf(inputs.slice(0, slot))) });
    const part = partNames(inputs);
    // Otherwise the gradient of the bias is 0, as the buffer of gradients is from the beginning.
    const biasCounts = biased && consumers.some(({ node }) => !node.layer!.centres);
    return {
      target: 'either',
      forward([first, second]) {
        const target = recorder.volume(name, batch, channels, size);
        const read: [Input, Input?] = second ? [first!, second] : [first!];
        transposedForward(recorder, name, { inputs: read, weights, bias, target }, shape);
        return { tensor: target };
      },
      parameterGradients(dOutput) {
        const dWeights = context.gradient(`${name}.weight`);
        for (const [slot, node] of inputs.entries()) {
          const tensors = { input: context.read(node), dOutput, dWeights };
          transposedBackwardWeight(recorder, `${name} dW${part(slot)}`, tensors, placeOf(slot), shape);
        }
        if (biasCounts) biasGradient(recorder, `${name} db`, dOutput, context.gradient(`${name}.bias`));
      },
      inputGradient(dOutput, slot, dInput, add) {
        const label = `${name} dX${part(slot)}`;
        const options = { ...placeOf(slot), add };
        transposedBackwardInput(recorder, label, { dOutput, weights, dInput }, options, shape);
      },
    };
  },
});
