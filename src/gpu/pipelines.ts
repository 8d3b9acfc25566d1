/** Compiled kernels: pipelines are made in parallel and cached by shader and constants. */
import { GpuError } from '../errors.ts';
import { subgroupSizeControl } from './matrix-units.ts';
import type { Subgroup } from './wgsl.ts';
import { shaderInfo, variantLabel, type Constants, type ShaderName, type StorageFormat } from './shader.ts';

/** Of each device; all models on a caller's device share its kernels. */
const caches = new WeakMap<GPUDevice, PipelineCache>();

export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #cache = new Map<string, Promise<GPUComputePipeline>>();

  private constructor(device: GPUDevice) {
    this.#device = device;
  }

  static of(device: GPUDevice): PipelineCache {
    const cache = caches.get(device) ?? new PipelineCache(device);
    caches.set(device, cache);
    return cache;
  }

  /** The pipeline of a kernel with these constants, for volumes of this format; compiled at most once per device. */
  get(shader: ShaderName, constants: Constants, format: StorageFormat = 'f32'): Promise<GPUComputePipeline> {
    const info = shaderInfo(shader);
    const label = variantLabel(info, constants, format);
    let pipeline = this.#cache.get(label);
    if (!pipeline) {
      pipeline = this.#compile(shader, constants, format, label);
      this.#cache.set(label, pipeline);
      pipeline.catch(() => this.#cache.delete(label)); // who asks again tries again
    }
    return pipeline;
  }

  async #compile(
    shader: ShaderName,
    constants: Constants,
    format: StorageFormat,
    label: string,
  ): Promise<GPUComputePipeline> {
    const { specialise } = await import('./wgsl.ts');
    const info = shaderInfo(shader);
    const subgroup = info.usesMatrices ? subgroupOf(this.#device) : undefined;
    const code = specialise(info, constants, format, subgroup);
    // Code that is wrong is an error of this kernel, and not one that nobody watches.
    this.#device.pushErrorScope('validation');
    const layout = this.#device.createBindGroupLayout({
      label,
      entries: info.bindings.map(({ binding, type }) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type },
      })),
    });
    const compiling = this.#device.createComputePipelineAsync({
      label,
      layout: this.#device.createPipelineLayout({ label, bindGroupLayouts: [layout] }),
      compute: {
        module: this.#device.createShaderModule({ label, code }),
      },
    });
    const [reported, compiled] = await Promise.allSettled([this.#device.popErrorScope(), compiling]);
    if (reported.status === 'fulfilled' && reported.value)
      throw new GpuError(`${label}: ${reported.value.message}`);
    if (compiled.status === 'rejected') throw compiled.reason;
    return compiled.value;
  }
}

function subgroupOf({ adapterInfo, features }: GPUDevice): Subgroup {
  return { size: adapterInfo.subgroupMaxSize ?? 0, controlled: features.has(subgroupSizeControl) };
}
