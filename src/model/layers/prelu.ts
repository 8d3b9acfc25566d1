/** PReLU with one trained slope for all channels, as MONAI's networks have it. Its output is cheap to make again. */
import { preluBackwardInput, preluBackwardSlope, preluForward } from '../../ops/prelu.ts';
import type { Layer } from '../graph.ts';

export const prelu: Layer = {
  operation: { kind: 'prelu' },
  shape: ([first]) => first!,
  parameters: () => [{ name: 'weight', shape: [1], init: { constant: 0.25 } }],
  flopsPerByte: () => 1 / 2,
  at(context, { name, inputs: [node], shape: { batch, channels, size } }) {
    const { recorder } = context;
    const slope = context.parameter(`${name}.weight`);
    return {
      target: 'either',
      forward([input]) {
        const target = recorder.volume(name, batch, channels, size);
        preluForward(recorder, name, { input: input!, slope, target });
        return { tensor: target };
      },
      parameterGradients(dOutput) {
        const dSlope = context.gradient(`${name}.weight`);
        preluBackwardSlope(recorder, `${name} dW`, { input: context.read(node!), dOutput, dSlope });
      },
      inputGradient(dOutput, _, dInput, add) {
        const input = context.read(node!);
        preluBackwardInput(recorder, `${name} dX`, { input, slope, dOutput, dInput }, add);
      },
    };
  },
};
