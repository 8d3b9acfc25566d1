/** The speed of a loop of independent multiply-adds: what kernels can be held against on this adapter. */
import type { Gpu } from '../src/gpu/device.ts';
import { time } from './lib.ts';

const threads = 64 * 256;
const rounds = 2000;
const code = `
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let x = out[id.x];
  var a = x; var b = x + 1.0; var c = x + 2.0; var d = x + 3.0;
  for (var i = 0u; i < ${rounds}u; i++) {
    a = a * x + b; b = b * x + c; c = c * x + d; d = d * x + a;
  }
  out[id.x] = a + b + c + d;
}`;

/** GFLOP/s, a multiply-add counted as two. */
export async function multiplyAddCeiling(gpu: Gpu): Promise<number> {
  const { device } = gpu;
  const buffer = device.createBuffer({ size: threads * 16, usage: GPUBufferUsage.STORAGE });
  const pipeline = await device.createComputePipelineAsync({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code }) },
  });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer } }],
  });
  const { median } = await time(async () => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(threads / 64);
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
  });
  buffer.destroy();
  return (threads * rounds * 4 * 4 * 2) / median / 1e6;
}
