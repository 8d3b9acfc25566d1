import type { WindowNetwork } from '../../src/interop/nnunet/pipeline/logits.ts';

/** A network for windows, of a function that gives its results [channel][z][y][x] at once. */
export const windowNetwork = (
  channels: number,
  run: (window: Float32Array) => Promise<Float32Array> | Float32Array,
  head?: WindowNetwork['head'],
): WindowNetwork => ({
  channels,
  run: async (window, take) => take(await run(window)),
  head,
});
