/** Max-pool 2×2×2. */
import { poolBackward, poolForward, pooledSize } from '../../ops/pool.ts';
import type { Layer } from '../graph.ts';

export const pool: Layer = {
  shape: ([first]) => ({ ...first!, size: pooledSize(first!.size) }),
  flopsPerByte: () => 2,
  at(context, { name, inputs: [input], shape: { batch, channels, size } }) {
    const { recorder } = context;
    return {
      target: 'add',
      forward([source]) {
        const pooled = recorder.volume(name, batch, channels, size);
        poolForward(recorder, name, source!, pooled);
        return { tensor: pooled };
      },
      inputGradient(d, _, target) {
        poolBackward(recorder, `${name} dX`, context.read(input!), d, target);
      },
    };
  },
};
