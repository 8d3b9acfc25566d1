/** Models as ONNX on onnxruntime-web's WebGPU: without transposed convolutions, it gives the logits of PyTorch. */
import * as runtime from 'onnxruntime-web/webgpu';
import { expect, test } from 'vitest';
import { exportOnnx, type OnnxOptions } from '../../src/export/onnx.ts';
import { apart, errorOf, imageOf, modelBytes, monaiExample, type Volumes } from '../export/networks.ts';
import { interopFolder } from '../support/interop.ts';

runtime.env.wasm.numThreads = 1;
/** Else it logs that sizes are computed on the CPU. */
const quiet = { logSeverityLevel: 4 } as const;

async function logitsOf(model: Uint8Array, { data, shape }: Volumes, options: OnnxOptions) {
  const file = await exportOnnx(model, options);
  const session = await runtime.InferenceSession.create(file, { executionProviders: ['webgpu'], ...quiet });
  try {
    const { logits } = await session.run({ image: new runtime.Tensor('float32', data, shape) }, quiet);
    return logits!.data as Float32Array;
  } finally {
    await session.release();
  }
}

const shuffled = { upsampling: 'shuffled' } as const;

test.each(['plain', 'residual'] as const)('the logits of PyTorch: %s', async (name) => {
  expect(errorOf(name, await logitsOf(await modelBytes(name), imageOf(name), shuffled))).toBeLessThan(1e-5);
});

test('the logits of MONAI, whose transposed convolutions have kernels larger than strides', async ({
  skip,
}) => {
  const found = await monaiExample('unet-res2');
  if (!found) return skip(`${interopFolder} is not there`);
  expect(apart(await logitsOf(found.bytes, found.image, shuffled), found.logits.data)).toBeLessThan(1e-4);
});

test('transposed convolutions in three dimensions are what it does not have', async () => {
  const logits = logitsOf(await modelBytes('plain'), imageOf('plain'), {});
  await expect(logits).rejects.toThrow(/ConvTranspose.*Only Conv2d or Conv1d are supported/);
});
