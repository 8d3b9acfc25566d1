/** onnxruntime-web on WebGPU: inference of the case of bench/inference.ts. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as runtime from 'onnxruntime-web/webgpu';
import { offerWebGpu, readFloats, serve, timed } from './serve.mjs';

await offerWebGpu();
await takeSharedMemory();
runtime.env.wasm.numThreads = 1;
/** Else it logs that sizes are computed on the CPU. */
const quiet = { logSeverityLevel: 4 };
let run;

/** Dawn for Node takes no views of shared memory, which is what the runtime's WASM has. */
async function takeSharedMemory() {
  const device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const queue = Object.getPrototypeOf(device.queue);
  const { writeBuffer } = queue;
  queue.writeBuffer = function (buffer, offset, data, from, size) {
    return writeBuffer.call(this, buffer, offset, data.slice(), from, size);
  };
  device.destroy();
}

await serve({
  version: () => ({ version: `onnxruntime-web ${runtime.env.versions.web}, webgpu` }),
  async prepare({ folder, shape }) {
    const model = new Uint8Array(readFileSync(join(folder, 'model.onnx')));
    const session = await runtime.InferenceSession.create(model, {
      executionProviders: ['webgpu'],
      ...quiet,
    });
    const image = new runtime.Tensor('float32', readFloats(folder, 'image'), shape);
    run = async () => (await session.run({ image }, quiet)).logits.data;
    writeFileSync(join(folder, 'onnx.f32'), await run());
  },
  run: async () => ({ ms: await timed(run) }),
});
