/** Transposed convolution with a kernel as large as the strides: as many times more voxels along each axis. */
import type { Size3 } from '../../size.ts';
import { biasGradient } from '../../ops/common.ts';
import { grownSize } from '../../ops/conv/shape.ts';
import { upconvBackwardInput, upconvBackwardWeight, upconvForward, upconvPlanes } from '../../ops/upconv.ts';
import { channelsOf, type Layer } from '../graph.ts';

/** @param options whether there is a bias; default true */
export const upconv = (
  channels: number,
  stride: Size3,
  { bias: biased = true }: { readonly bias?: boolean } = {},
): Layer => ({
  operation: { kind: 'upconv', stride },
  shape: ([first]) => ({
    ...first!,
    channels,
    size: grownSize(first!.size, stride),
  }),
  parameters([first]) {
    // PyTorch takes a transposed convolution's fan-in from its output channels.
    const [x, y, z] = stride;
    const init = { fanIn: x * y * z * channels };
    const weight = { name: 'weight', shape: [first!.channels, channels, z, y, x], init };
    return biased ? [weight, { name: 'bias', shape: [channels], init }] : [weight];
  },
  flopsPerByte: (inputs) => (2 * channelsOf(inputs)) / 4,
  at(context, { name, inputs: [input], shape: { batch, size } }) {
    const { recorder } = context;
    const weights = context.parameter(`${name}.weight`);
    const bias = biased ? context.parameter(`${name}.bias`) : undefined;
    return {
      forward([source]) {
        const target = recorder.volume(name, batch, channels, size);
        upconvForward(recorder, name, { input: source!, weights, bias, target }, stride);
        return { tensor: target };
      },
      planes: ([source], target) =>
        upconvPlanes(recorder, name, { input: source!, weights, bias, target }, stride),
      parameterGradients(dOutput) {
        const dWeights = context.gradient(`${name}.weight`);
        const tensors = { input: context.read(input!), dOutput, dWeights };
        upconvBackwardWeight(recorder, `${name} dW`, tensors, stride);
        if (biased) biasGradient(recorder, `${name} db`, dOutput, context.gradient(`${name}.bias`));
      },
      inputGradient(dOutput, _, dInput) {
        upconvBackwardInput(recorder, `${name} dX`, { dOutput, weights, dInput }, stride);
      },
    };
  },
});
