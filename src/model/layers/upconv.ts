/** Transposed convolution with a kernel as large as the strides: as many times more voxels along each axis. */
import type { Size3 } from '../../size.ts';
import { biasGradient } from '../../ops/common.ts';
import { upconvBackwardInput, upconvBackwardWeight, upconvForward } from '../../ops/upconv.ts';
import { channelsOf, type Layer } from '../graph.ts';

/** @param options whether there is a bias; default true */
export const upconv = (
  channels: number,
  stride: Size3,
  { bias: biased = true }: { readonly bias?: boolean } = {},
): Layer => ({
  shape: ([first]) => ({
    ...first!,
    channels,
    size: first!.size.map((length, axis) => length * stride[axis]!) as unknown as Size3,
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
    const weight = context.parameter(`${name}.weight`);
    const bias = biased ? context.parameter(`${name}.bias`) : undefined;
    return {
      forward([source]) {
        const u = recorder.volume(name, batch, channels, size);
        upconvForward(recorder, name, source!, weight, bias, u, stride);
        return { tensor: u };
      },
      parameterGradients(d) {
        const dWeight = context.gradient(`${name}.weight`);
        upconvBackwardWeight(recorder, `${name} dW`, context.read(input!), d, dWeight, stride);
        if (biased) biasGradient(recorder, `${name} db`, d, context.gradient(`${name}.bias`));
      },
      inputGradient(d, _, target) {
        upconvBackwardInput(recorder, `${name} dX`, d, weight, target, stride);
      },
    };
  },
});
