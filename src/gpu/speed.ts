/** How fast a device computes when memory does not hold it up. */
import { emptyRound, hostClock, type Clock } from './clock.ts';
import type { PipelineCache } from './pipelines.ts';

/** Of one thread and round of probe/multiply_add: 256 multiply-adds of three vec4, each two operations. */
const flopsPerRound = 256 * 3 * 4 * 2;
/** Enough threads for the largest GPU; 4 MiB. */
const threads = 2 ** 18;
/** Work this long is measured well enough, if it also takes as long as a round without work. */
const enoughMs = 4;
/** By how much the work grows from one measurement to the next, at most. */
const growth = 8;

/**
 * Floating-point operations per millisecond of independent multiply-adds; takes some 20 ms, or some ten rounds without
 * work where these are slow. No dispatch takes much longer than an eighth of what is enough, as drivers lose the device
 * over long ones.
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
  const encoded = (): GPUCommandBuffer => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(threads / 64);
    pass.end();
    return encoder.finish();
  };
  const run = async (rounds: number): Promise<number> => {
    const parts = Math.min(growth, rounds);
    device.queue.writeBuffer(params, 0, new Uint32Array([rounds / parts]));
    const work = Array.from({ length: parts }, encoded);
    const started = clock();
    for (const part of work) device.queue.submit([part]);
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
      // As far as is needed, by whole parts.
      const factor = Math.min(growth, Math.max(1.25, (1.5 * enough) / Math.max(ms, 1e-3)));
      rounds = growth * Math.ceil((rounds * factor) / growth);
      ms = (await run(rounds)) - empty.ms;
    }
    return (threads * rounds * flopsPerRound) / Math.max(ms, empty.error, 0.05);
  } finally {
    values.destroy();
    params.destroy();
  }
}
