/** How much GPU memory work takes. */
import type { Gpu } from '../../src/gpu/device.ts';

/** Counts from now on. @returns the most bytes that were allocated at once since the last asking */
export function mostMemory(gpu: Gpu): () => number {
  const create = gpu.createBuffer.bind(gpu);
  let most = 0;
  gpu.createBuffer = (...given) => {
    const buffer = create(...given);
    most = Math.max(most, gpu.allocatedBytes);
    return buffer;
  };
  return () => {
    const found = most;
    most = 0;
    return found;
  };
}
