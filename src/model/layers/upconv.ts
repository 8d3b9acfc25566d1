/** Transposed convolution with bias and a kernel as large as the strides: as many times more voxels along each axis. */
import type { Size3 } from '../../gpu/plan.ts';
import { biasGradient } from '../../ops/common.ts';
import { upconvBackwardInput, upconvBackwardWeight, upconvForward } from '../../ops/upconv.ts';
import { channelsOf, type Layer } from '../graph.ts';

export const upconv = (channels: number, stride: Size3): Layer => ({
  shape: ([first]) => ({
    ...first!,
    channels,
    size: first!.size.map((length, axis) => length * stride[axis]!) as unknown as Size3,
  }),
  parameters([first]) {
    // PyTorch takes a transposed convolution's fan-in from its output channels.
    const [x, y, z] = stride;
    const init = { fanIn: x * y * z * channels };
    return [
      { name: 'weight', shape: [first!.channels, channels, z, y, x], init },
      { name: 'bias', shape: [channels], init },
    ];
  },
  flopsPerByte: (inputs) => (2 * channelsOf(inputs)) / 4,
  at(context, { name, inputs: [input], shape: { batch, size } }) {
    const { recorder } = context;
    const [weight, bias] = [context.parameter(`${name}.weight`), context.parameter(`${name}.bias`)];
    return {
      forward([source]) {
        const u = recorder.volume(name, batch, channels, size);
        upconvForward(recorder, name, source!, weight, bias, u, stride);
        return { tensor: u };
      },
      parameterGradients(d) {
        const dWeight = context.gradient(`${name}.weight`);
        upconvBackwardWeight(recorder, `${name} dW`, context.read(input!), d, dWeight, stride);
        biasGradient(recorder, `${name} db`, d, context.gradient(`${name}.bias`));
      },
      inputGradient(d, _, target) {
        upconvBackwardInput(recorder, `${name} dX`, d, weight, target, stride);
      },
    };
  },
});
