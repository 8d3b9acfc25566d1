/**
 * The speed of a loop of independent multiply-adds: what kernels can be held against on this adapter.
 * On software adapters it is no hard limit: their compiler does better on some kernels than on this loop.
 */
import type { Gpu } from '../src/gpu/device.ts';
import { time } from './lib.ts';

const threads = 64 * 256;
const rounds = 2000;
const code = `
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let x = out[id.x].x;
  let y = out[id.x].y;
  var a = vec4<f32>(x); var b = vec4<f32>(y); var c = vec4<f32>(x + y);
  for (var i = 0u; i < ${rounds}u; i++) {
    a = a * x + y; b = b * x + y; c = c * x + y;
    a = a * y + x; b = b * y + x; c = c * y + x;
  }
  out[id.x] = a + b + c;
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
  return (threads * rounds * 6 * 4 * 2) / median / 1e6;
}
