/**
 * Transposed convolution with the padding of a convolution, over one input or two that stand for their concatenation:
 * as many times more voxels along each axis as the strides say. MONAI's UNet goes up by it.
 */
import { grownSize, tapsOf, type ConvShape } from '../../ops/conv/shape.ts';
import {
  transposedBackwardInput,
  transposedBackwardWeight,
  transposedForward,
} from '../../ops/transposed.ts';
import { assertStored, channelsOf, type Layer } from '../graph.ts';
import { convolution } from './conv.ts';

const ops = {
  forward: transposedForward,
  backwardInput: transposedBackwardInput,
  backwardWeight: transposedBackwardWeight,
};

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
  at(context, node) {
    for (const input of node.inputs) assertStored(node.name, input);
    return convolution(context, node, ops, { channels, biased, shape });
  },
});
