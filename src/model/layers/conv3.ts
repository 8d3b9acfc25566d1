/** 3×3×3 convolution with bias, over one input or two that stand for their concatenation. */
import type { Input } from '../../ops/common.ts';
import { conv3BackwardInput, conv3BackwardWeight, conv3Forward } from '../../ops/conv3.ts';
import { channelsOf, shapesOf, type Layer } from '../graph.ts';

/** What the two inputs of a decoder's convolution are called. */
const parts = [' skip', ' up'];

export const conv3 = (channels: number): Layer => ({
  shape: ([first]) => ({ ...first!, channels }),
  parameters(inputs) {
    const inChannels = channelsOf(inputs);
    const init = { fanIn: 27 * inChannels };
    return [
      { name: 'weight', shape: [channels, inChannels, 3, 3, 3], init },
      { name: 'bias', shape: [channels], init },
    ];
  },
  flopsPerByte: (inputs) => (2 * 27 * channelsOf(inputs)) / 4,
  at(context, { name, inputs, shape: { batch, size } }) {
    const { recorder } = context;
    const [weight, bias] = [context.parameter(`${name}.weight`), context.parameter(`${name}.bias`)];
    const inChannels = channelsOf(shapesOf(inputs));
    const firstOf = (slot: number) => channelsOf(shapesOf(inputs.slice(0, slot)));
    const part = (slot: number) => (inputs.length > 1 ? parts[slot]! : '');
    return {
      forward([first, second]) {
        const y = recorder.volume(name, batch, channels, size);
        const read: [Input, Input?] = second ? [first!, second] : [first!];
        conv3Forward(recorder, name, read, weight, bias, y);
        return { tensor: y };
      },
      // The bias stands in front of a norm: its gradient is 0, as the buffer of gradients is from the beginning.
      parameterGradients(d) {
        inputs.forEach((input, slot) => {
          const place = { inChannels, first: firstOf(slot) };
          const dWeight = context.gradient(`${name}.weight`);
          conv3BackwardWeight(recorder, `${name} dW${part(slot)}`, context.read(input), d, dWeight, place);
        });
      },
      inputGradient(d, slot, target) {
        const place = { inChannels, first: firstOf(slot) };
        conv3BackwardInput(recorder, `${name} dX${part(slot)}`, d, weight, target, place);
      },
    };
  },
});
