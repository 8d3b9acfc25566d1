/** Which kernels an adapter begins with, and which a device can run. */
import { expect, test } from 'vitest';
import { choicesOn, kernelChoices } from '../../src/gpu/choices.ts';
import { unavailable } from '../../src/gpu/passes.ts';
import { testDevice } from '../support/device.ts';

test.each([
  ['lavapipe', 16, 16, { conv3: 'subgroup', lanes: 16 }],
  ['lavapipe', 16, undefined, { conv3: 'channels', lanes: 16 }],
  ['lavapipe', 8, 8, { conv3: 'channels' }],
  ['hardware', 16, 16, { conv3: 'voxels' }],
] as const)(
  'on %s with subgroups of %s threads, of which %s share numbers',
  (adapter, most, shared, expected) => {
    const { conv3, lanes } = choicesOn(adapter, most, shared);
    expect({ conv3, lanes }).toEqual({ lanes: undefined, ...expected });
  },
);

test('a kernel for subgroups of 16 threads runs where they are 16 and share numbers', async () => {
  const { limits } = (await testDevice()).device;
  const kernels = { ...kernelChoices.lavapipe, conv3: 'subgroup' } as const;
  expect(unavailable(kernels, { limits, subgroup: 16 })).toEqual([]);
  for (const subgroup of [undefined, 8, 32])
    expect(unavailable(kernels, { limits, subgroup })).toEqual(['subgroup']);
});
