/** How fast a device computes when memory does not hold it up. */
import { emptyRound, hostClock, type Clock } from './clock.ts';
import type { PipelineCache } from './pipelines.ts';

/** Of one thread and round of probe/multiply_add: 256 multiply-adds of three vec4, each two operations. */
const flopsPerRound = 256 * 3 * 4 * 2;
/** Enough threads for the largest GPU; 4 MiB. */
const threads = 2 ** 18;
/** Work this long is measured well enough, if it also takes as long as a round without work. */
const enoughMs = 4;

/**
 * Floating-point operations per millisecond of independent multiply-adds; takes some 20 ms, or some ten rounds without
 * work where these are slow.
 */
export async function multiplyAddSpeed(
  device: GPUDevice,
  pipelines: Pick<PipelineCache, 'get'>,
  clock: Clock = hostClock,
): Promise<number> {
  const pipeline = await pipelines.get('probe/multiply_add', {});
  const values = device.createBuffer({ size: threads * 16, usage: GPUBufferUsage.STORAGE });
  const params = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [
      { binding: 0, resource: { buffer: values } },
      { binding: 1, resource: { buffer: params } },
    ],
  });
  const run = async (rounds: number): Promise<number> => {
    device.queue.writeBuffer(params, 0, new Uint32Array([rounds]));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(threads / 64);
    pass.end();
    const started = clock();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    return clock() - started;
  };
  try {
    let rounds = 1;
    await run(rounds); // compiles, and wakes the device
    const empty = await emptyRound(device, clock);
    const enough = Math.max(enoughMs, empty.ms, 4 * empty.error);
    let ms = (await run(rounds)) - empty.ms;
    while (ms < enough && rounds < 2 ** 12) {
      rounds *= 8;
      ms = (await run(rounds)) - empty.ms;
    }
    return (threads * rounds * flopsPerRound) / Math.max(ms, empty.error, 0.05);
  } finally {
    values.destroy();
    params.destroy();
  }
}
