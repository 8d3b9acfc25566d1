/** Max-pool of windows as large as the strides. */
import type { Size3 } from '../../gpu/plan.ts';
import { poolBackward, poolForward, pooledSize } from '../../ops/pool.ts';
import type { Layer } from '../graph.ts';

export const pool = (stride: Size3): Layer => ({
  shape: ([first]) => ({ ...first!, size: pooledSize(first!.size, stride) }),
  flopsPerByte: () => 2,
  at(context, { name, inputs: [input], shape: { batch, channels, size } }) {
    const { recorder } = context;
    return {
      target: 'add',
      forward([source]) {
        const pooled = recorder.volume(name, batch, channels, size);
        poolForward(recorder, name, source!, pooled, stride);
        return { tensor: pooled };
      },
      inputGradient(d, _, target) {
        poolBackward(recorder, `${name} dX`, context.read(input!), d, target, stride);
      },
    };
  },
});
