/** Twice as many voxels along each axis by trilinear interpolation, as in MONAI's SegResNet. */
import { doubling } from '../../ops/common.ts';
import { grownSize } from '../../ops/conv/shape.ts';
import { upsampleBackward, upsampleForward } from '../../ops/upsample.ts';
import { assertStored, type Layer } from '../graph.ts';

export const upsample: Layer = {
  shape: ([first]) => ({ ...first!, size: grownSize(first!.size, doubling) }),
  operation: { kind: 'upsample' },
  flopsPerByte: () => 4,
  at({ recorder }, { name, inputs: [input], shape: { batch, channels, size } }) {
    assertStored(name, input!);
    return {
      target: 'either',
      forward([source]) {
        const target = recorder.volume(name, batch, channels, size);
        upsampleForward(recorder, name, source!.tensor, target);
        return { tensor: target };
      },
      inputGradient(dTarget, _, dSource, add) {
        upsampleBackward(recorder, `${name} dX`, { dTarget, dSource }, add);
      },
    };
  },
};
