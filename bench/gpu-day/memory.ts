/**
 * How much memory the device gives before it refuses, in which words, and whether it computes afterwards; then a device
 * that is destroyed while it works.
 *   memory.ts [--most BYTES]
 */
import { parseArgs } from 'node:util';
import { tryTraining } from '../../src/self-test/training.ts';
import { openGpu } from '../lib.ts';
import { bytesText, takenBytes, tell } from './tell.ts';

const { values: options } = parseArgs({ options: { most: { type: 'string', default: `${160 * 2 ** 30}` } } });
const most = Number(options.most);
const gpu = await openGpu();
tell({ memoryBytes: gpu.memoryBytes, maxBufferBytes: gpu.limits.maxBufferBytes, takenBefore: takenBytes() });
const piece = 256 * Math.floor(Math.min(4 * 2 ** 30, gpu.limits.maxBufferBytes, most / 8) / 256);
const buffers: GPUBuffer[] = [];
let refusal: string | undefined;
for (let given = 0; given + piece <= most && refusal === undefined; given += piece) {
  try {
    // Cleared, so that it is there and not merely promised.
    await gpu.checked('memory', () => {
      const buffer = gpu.createBuffer('piece', piece, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST);
      buffers.push(buffer);
      const encoder = gpu.device.createCommandEncoder();
      encoder.clearBuffer(buffer);
      gpu.device.queue.submit([encoder.finish()]);
    });
    await gpu.device.queue.onSubmittedWorkDone();
  } catch (error) {
    refusal = `${(error as Error).name}: ${(error as Error).message}`;
  }
}
// The refusal arrives when the buffer is there.
const pieces = buffers.length - (refusal === undefined ? 0 : 1);
tell({ piece, pieces, refusal, takenBytes: takenBytes() });
const alive = !(await gpu.isLost());
for (const buffer of buffers) buffer.destroy();
tell({ aliveAfterRefusal: alive });

const lost = gpu.device.lost.then(({ reason }) => reason);
gpu.device.destroy();
const { right } = await tryTraining(await openGpu());
tell({
  destroyed: await lost,
  rightAfterwards: right,
  line:
    `${bytesText(piece * pieces)} given, then ${refusal ?? 'no refusal'}; device ${alive ? 'kept' : 'lost'}; ` +
    `a new one computes ${right ? 'rightly' : 'WRONGLY'}`,
});
process.exit(0);
