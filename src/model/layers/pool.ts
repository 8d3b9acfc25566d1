/** Max-pool or average-pool of windows as large as the strides. */
import type { Size3 } from '../../size.ts';
import { averagePoolBackward, poolBackward, poolForward, pooledSize, type PoolKind } from '../../ops/pool.ts';
import type { Layer } from '../graph.ts';

export const pool = (stride: Size3, kind: PoolKind = 'max'): Layer => ({
  operation: { kind: 'pool', of: kind, stride },
  shape: ([first]) => ({ ...first!, size: pooledSize(first!.size, stride) }),
  flopsPerByte: () => 2,
  at(context, { name, inputs: [input], shape: { batch, channels, size } }) {
    const { recorder } = context;
    return {
      target: kind === 'max' ? 'add' : 'either',
      forward([source]) {
        const target = recorder.volume(name, batch, channels, size);
        poolForward(recorder, name, { source: source!, target }, stride, kind);
        return { tensor: target };
      },
      planes:
        ([source]) =>
        (target, planes) =>
          poolForward(recorder, name, { source: source!, target }, stride, kind, planes),
      inputGradient(dTarget, _, dSource, add) {
        const [label, gradients] = [`${name} dX`, { dTarget, dSource }];
        if (kind === 'max')
          poolBackward(recorder, label, { source: context.read(input!), ...gradients }, stride);
        else averagePoolBackward(recorder, label, gradients, stride, add);
      },
    };
  },
});
