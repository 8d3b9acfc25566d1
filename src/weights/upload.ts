/** Weights to the device one tensor at a time, so that no more than one of them is in memory besides. */
import type { ModelState } from '../model/state.ts';
import { inFileOrder, requireFinite, type ReadableTensor } from './named-tensors.ts';

/** Bytes that may wait for the device. */
const mostWaiting = 2 ** 26;

/**
 * @param tensors all parameters and running statistics of the network, with their shapes
 * @param file what messages call the file of several that they are of
 * @throws InvalidModel for NaN or infinite values, and if the file cannot be read; DeviceLost
 */
export async function uploadWeights(
  state: ModelState,
  tensors: ReadonlyMap<string, ReadableTensor>,
  file?: string,
): Promise<void> {
  const { parameters, statistics } = state.layout;
  let waiting = 0;
  const all = Object.entries({ parameters, statistics }).flatMap(([buffer, entries]) =>
    [...entries.values()].map(({ name, shape, offset }) => {
      const tensor = tensors.get(name)!;
      return { buffer, name, shape, offset, tensor, place: tensor.place };
    }),
  );
  for (const { buffer, name, shape, offset, tensor } of inFileOrder(all)) {
    const data = await tensor.read();
    requireFinite(name, { shape, data }, file);
    state.write(buffer, data as Float32Array<ArrayBuffer>, offset);
    waiting += data.byteLength;
    if (waiting < mostWaiting) continue;
    await state.gpu.device.queue.onSubmittedWorkDone();
    waiting = 0;
  }
}
