/**
 * Trains a tiny network for many steps and prints what memory it holds on the way, on the GPU and in the process:
 * `npx tsx scripts/run.ts --import tsx scripts/long-run.ts [steps]`
 */
import { releaseNodeGpu, requestNodeAdapter } from '../src/gpu/node.ts';
import { setAdapterProvider } from '../src/gpu/device.ts';
import { UNet3D } from '../src/unet3d.ts';

setAdapterProvider(requestNodeAdapter);
const steps = Number(process.argv[2] ?? 1000);
const model = await UNet3D.create({ inChannels: 1, classes: 2, features: [2], seed: 1 });
console.log(model.adapter);
const image = Float32Array.from({ length: 512 }, (_, voxel) => Math.sin(voxel));
const label = Uint8Array.from(image, (value) => (value > 0 ? 1 : 0));
const shown = new Set([
  1,
  10,
  ...Array.from({ length: 10 }, (_, tenth) => Math.round(((tenth + 1) * steps) / 10)),
]);
const started = performance.now();
await model.fit(
  {
    size: [8, 8, 8],
    batchSize: 1,
    batchesPerEpoch: steps,
    identity: 'waves',
    batch: () => ({ image, label }),
  },
  {
    epochs: 1,
    onEvent(event) {
      if (event.type !== 'step' || !shown.has(event.step + 1)) return;
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      const [rss, heap] = [process.memoryUsage().rss, process.memoryUsage().heapUsed].map(
        (bytes) => bytes / 2 ** 20,
      );
      console.log(
        `step ${event.step + 1}, ${seconds} s: ${model.gpu.allocatedBytes} bytes on the GPU, ` +
          `${rss!.toFixed(1)} MiB resident, ${heap!.toFixed(1)} MiB of it JavaScript objects`,
      );
    },
  },
);
model.dispose();
await releaseNodeGpu();
process.exit(0);
