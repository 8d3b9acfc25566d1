/** Padding at the far ends with the last voxels: what lost an odd row, column or plane on the way down gets it back. */
import { padBackward, padForward } from '../../ops/pad.ts';
import type { Size3 } from '../../size.ts';
import { assertStored, type Layer } from '../graph.ts';

export const pad = (size: Size3): Layer => ({
  shape: ([first]) => ({ ...first!, size }),
  operation: { kind: 'pad' },
  flopsPerByte: () => 0,
  at(context, { name, inputs: [input], shape: { batch, channels } }) {
    assertStored(name, input!);
    const { recorder } = context;
    return {
      target: 'either',
      forward([source]) {
        const target = recorder.volume(name, batch, channels, size);
        padForward(recorder, name, source!.tensor, target);
        return { tensor: target };
      },
      inputGradient(dTarget, _, dSource, add) {
        padBackward(recorder, `${name} dX`, { dTarget, dSource }, add);
      },
    };
  },
});
