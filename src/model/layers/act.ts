/**
 * An activation without a norm in front of it, such as behind the sum of a residual block. The output is a view of the
 * input, which whoever reads it activates. The gradient takes the input's place.
 */
import type { Tensor } from '../../gpu/plan.ts';
import { activationBackward, activationForward, assertSlope } from '../../ops/activation.ts';
import { assertStored, type Layer } from '../graph.ts';

/** @param slope for values below 0, at most 1 */
export function act(slope: number): Layer {
  assertSlope(slope);
  return {
    operation: { kind: 'act', slope },
    shape: ([first]) => first!,
    at(context, { name, inputs: [input] }) {
      assertStored(name, input!);
      const { recorder } = context;
      let scaleShifts: Tensor | undefined;
      return {
        forward([source]) {
          scaleShifts = activationForward(recorder, name, source!.tensor);
          return { tensor: source!.tensor, scaleShifts, slope };
        },
        again: ([source]) => ({ tensor: source!.tensor, scaleShifts, slope }),
        gradientInPlace(d) {
          const { tensor } = context.read(input!);
          activationBackward(recorder, `${name} backward`, tensor, d, slope);
          return tensor;
        },
      };
    },
  };
}
