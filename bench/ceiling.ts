/**
 * What kernels can be held against on this adapter: the speed of independent multiply-adds, of a copy from buffer to
 * buffer, and what a dispatch costs that does nothing.
 */
import type { Gpu } from '../src/gpu/device.ts';
import { time, type Timing } from './lib.ts';

/** Multiply-adds in a row between two looks at the loop's end, so that the loop itself is small beside them. */
const unrolled = 16;

/**
 * Three chains of vec4 in 64 threads: as many as the sixteen registers of a CPU's core hold, and enough for a GPU. More
 * chains spill on lavapipe, fewer wait for each other.
 */
const chains = ['a', 'b', 'c'];

const multiplyAdds = (rounds: number): string => `
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let x = vec4<f32>(out[0].x);
  let y = vec4<f32>(out[0].y);
  ${chains.map((name, i) => `var ${name} = out[id.x] + ${i}.0;`).join('\n  ')}
  for (var i = 0u; i < ${rounds}u; i++) {
    ${Array.from({ length: unrolled }, (_, i) => chains.map((name) => `${name} = ${name} * ${'xy'[i % 2]} + ${'yx'[i % 2]};`).join(' ')).join('\n    ')}
  }
  out[id.x] = ${chains.join(' + ')};
}`;

const nothing = `
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(1)
fn main() { out[0] += 1.0; }`;

export interface Ceilings {
  /** GFLOP/s, a multiply-add counted as two. */
  readonly gflops: number;
  /** GB/s of a copy, bytes read and bytes written counted. */
  readonly gigabytes: number;
  /** Microseconds per dispatch, in a pass of a thousand that depend on each other. */
  readonly dispatchMicroseconds: number;
}

export async function ceilings(gpu: Gpu): Promise<Ceilings> {
  const software = gpu.adapterClass !== 'hardware';
  const threads = software ? 2 ** 14 : 2 ** 20;
  const flopsPerRound = threads * unrolled * chains.length * 4 * 2;
  // On a GPU some 30 ms, beside which a submit is nothing; `speed` is a quarter of what was measured in passing.
  const rounds = {
    swiftshader: 20,
    lavapipe: 500,
    software: 500,
    hardware: Math.ceil((120 * gpu.speed) / flopsPerRound),
  }[gpu.adapterClass];
  const adds = await timeDispatches(gpu, multiplyAdds(rounds), threads * 16, threads / 64, 1);
  const dispatches = 1000;
  const bare = await timeDispatches(gpu, nothing, 256, 1, dispatches);
  const bytes = software ? 64 * 2 ** 20 : Math.min(512 * 2 ** 20, gpu.limits.maxBufferBytes);
  const copies = software ? 1 : 50;
  const copied = await timeCopy(gpu, bytes, copies);
  return {
    gflops: (rounds * flopsPerRound) / adds.median / 1e6,
    gigabytes: (2 * bytes * copies) / copied.median / 1e6,
    dispatchMicroseconds: (bare.median / dispatches) * 1000,
  };
}

/** So many copies, one after another. */
async function timeCopy({ device }: Gpu, size: number, copies: number): Promise<Timing> {
  const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const [from, to] = [device.createBuffer({ size, usage }), device.createBuffer({ size, usage })];
  const timing = await time(async () => {
    const encoder = device.createCommandEncoder();
    for (let i = 0; i < copies; i++) encoder.copyBufferToBuffer(from, 0, to, 0, size);
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
  });
  for (const buffer of [from, to]) buffer.destroy();
  return timing;
}

/** One pass of `dispatches` times the same, over one buffer. */
async function timeDispatches(
  { device }: Gpu,
  code: string,
  size: number,
  workgroups: number,
  dispatches: number,
): Promise<Timing> {
  const buffer = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE });
  const module = device.createShaderModule({ code });
  const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module } });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer } }],
  });
  const timing = await time(async () => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let i = 0; i < dispatches; i++) pass.dispatchWorkgroups(workgroups);
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
  });
  buffer.destroy();
  return timing;
}
