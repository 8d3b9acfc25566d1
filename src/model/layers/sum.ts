/** Sum of two volumes of one shape, as at the end of a residual block. */
import { InvalidOption } from '../../errors.ts';
import { sumBackward, sumForward } from '../../ops/sum.ts';
import type { Layer, Shape } from '../graph.ts';

const inWords = ({ channels, size }: Shape): string => `${channels} channels of [${size.join(', ')}]`;

export const sum: Layer = {
  operation: { kind: 'sum' },
  readsPlanes: true,
  overwrites: true,
  shape([first, second]) {
    if (!first || !second || inWords(first) !== inWords(second))
      throw new InvalidOption(
        `a sum takes two inputs of one shape; got ${[first, second].map((one) => (one ? inWords(one) : 'none')).join(' and ')}`,
      );
    return first;
  },
  flopsPerByte: () => 1 / 4,
  at({ recorder }, { name, shape: { batch, channels, size } }) {
    return {
      sameGradient: true,
      target: 'either',
      forward([first, second], target = recorder.volume(name, batch, channels, size)) {
        sumForward(recorder, name, [first!, second!], target);
        return { tensor: target };
      },
      inputGradient(d, slot, target, add) {
        sumBackward(recorder, `${name} dX${slot}`, d, target, add);
      },
    };
  },
};
