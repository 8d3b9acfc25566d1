/** Augmentation by itself, without a network: to look at what training sees. */
import { labelsToDense, labelsToStored, toDense, toStored } from '../gpu/layout.ts';
import type { Gpu } from '../gpu/device.ts';
import { Recorder } from '../gpu/plan.ts';
import type { Size3 } from '../size.ts';
import { Program } from '../gpu/program.ts';
import { augment, drawTensors, encodeDraws, type SampleDraw } from '../ops/augment.ts';

/**
 * Augments one dense sample, image [channel][z][y][x] and label [z][y][x] of `size` (x, y, z) and a margin around it,
 * once for each draw, with the kernels that training uses. What comes back has no margin.
 */
export async function augmentSample(
  gpu: Gpu,
  sample: {
    readonly image: Float32Array;
    readonly label: Uint8Array;
    readonly size: Size3;
    readonly margin?: Size3;
  },
  draws: readonly SampleDraw[],
): Promise<{ image: Float32Array<ArrayBuffer>; label: Uint8Array<ArrayBuffer> }[]> {
  const { size, margin = [0, 0, 0] } = sample;
  const given = size.map((length, axis) => length + 2 * margin[axis]!) as unknown as Size3;
  const channels = sample.image.length / sample.label.length;
  const recorder = new Recorder(gpu.limits);
  const volumes = {
    source: recorder.volume('source', 1, channels, given, 'resident'),
    sourceLabels: recorder.labels('sourceLabels', 1, given, 'resident'),
    image: recorder.volume('image', 1, channels, size, 'resident'),
    labels: recorder.labels('labels', 1, size, 'resident'),
  };
  const tensors = drawTensors(recorder, 1, channels);
  augment(recorder, 'augment', volumes, tensors);
  using program = await Program.create(gpu, recorder.finish());
  program.write(volumes.source, toStored(volumes.source, sample.image));
  program.write(volumes.sourceLabels, labelsToStored(volumes.sourceLabels, sample.label));
  const results = [];
  for (const draw of draws) {
    const words = encodeDraws([draw], size);
    program.write(tensors.samples, words.samples);
    program.write(tensors.channels, words.channels);
    await program.run();
    const image = toDense(volumes.image, await program.read(volumes.image));
    const label = labelsToDense(volumes.labels, new Uint8Array(await program.read(volumes.labels)));
    results.push({ image, label });
  }
  return results;
}
