/**
 * A model's weights on the device, and the buffers that its plans share: parameters, running statistics
 * and, once it trains, gradients and the optimiser's moments.
 */
import { InvalidModel } from '../errors.ts';
import type { KernelChoices } from '../gpu/choices.ts';
import type { Gpu } from '../gpu/device.ts';
import { alignUp, alignment, type PlanLimits, type Precision } from '../gpu/plan.ts';
import { readBuffer } from '../gpu/program.ts';
import type { NamedTensor } from '../weights/safetensors.ts';
import type { UNet3DConfig } from './config.ts';
import { initialValues, layoutParameters, type Parameter, type ParameterLayout } from './parameters.ts';
import { sharedWords } from './plan.ts';

/** Weights in host memory: the flat buffers of parameters and running statistics. */
export interface Weights {
  readonly parameters: Float32Array<ArrayBuffer>;
  readonly statistics: Float32Array<ArrayBuffer>;
}

export class ModelState {
  readonly layout: ParameterLayout;
  readonly #buffers = new Map<string, GPUBuffer>();
  readonly #words: Record<string, number>;
  /** In which the plans of this model store volumes; weights are float32 always. */
  precision: Precision = 'f32';
  /** Which kernels its plans use: the adapter's, with what was tuned or a checkpoint says. */
  kernels: KernelChoices;

  constructor(
    readonly gpu: Gpu,
    readonly config: UNet3DConfig,
    seed: number,
  ) {
    this.layout = layoutParameters(config);
    this.kernels = gpu.limits.kernels;
    this.#words = sharedWords(config, this.layout);
    this.write('parameters', initialValues(this.layout.parameters, this.layout.parameterWords, seed));
    this.write('statistics', initialValues(this.layout.statistics, this.layout.statisticsWords, seed));
  }

  /** The limits that its plans are made for. */
  get limits(): PlanLimits {
    return { ...this.gpu.limits, kernels: this.kernels };
  }

  /** All shared buffers by name, for `Program.create`; those that training needs are made on first use. */
  shared(names: readonly string[], { averaged = false } = {}): ReadonlyMap<string, GPUBuffer> {
    const source = (name: string): string =>
      averaged && (name === 'parameters' || name === 'statistics') ? `average.${name}` : name;
    return new Map(names.map((name) => [name, this.#buffer(source(name))]));
  }

  #buffer(name: string): GPUBuffer {
    let buffer = this.#buffers.get(name);
    if (!buffer) {
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
      buffer = this.gpu.createBuffer(name, alignUp(this.#words[name]! * 4, alignment), usage);
      this.#buffers.set(name, buffer);
    }
    return buffer;
  }

  write(name: string, values: Float32Array<ArrayBuffer>): void {
    this.gpu.assertAlive();
    this.gpu.device.queue.writeBuffer(this.#buffer(name), 0, values);
  }

  async read(name: string): Promise<Float32Array<ArrayBuffer>> {
    return new Float32Array(await readBuffer(this.gpu, this.#buffer(name), 0, this.#words[name]! * 4));
  }

  /** The weights, or their running average. */
  async readWeights({ averaged = false } = {}): Promise<Weights> {
    const prefix = averaged ? 'average.' : '';
    return {
      parameters: await this.read(`${prefix}parameters`),
      statistics: await this.read(`${prefix}statistics`),
    };
  }

  writeWeights({ parameters, statistics }: Weights, { averaged = false } = {}): void {
    const prefix = averaged ? 'average.' : '';
    this.write(`${prefix}parameters`, parameters);
    this.write(`${prefix}statistics`, statistics);
  }

  /** Frees what only training needs. */
  releaseTraining(): void {
    for (const name of trainingOnly) {
      const buffer = this.#buffers.get(name);
      if (buffer) this.gpu.destroyBuffer(buffer);
      this.#buffers.delete(name);
    }
  }

  dispose(): void {
    for (const buffer of this.#buffers.values()) this.gpu.destroyBuffer(buffer);
    this.#buffers.clear();
  }
}

const trainingOnly = [
  'gradients',
  'accumulated',
  'optimizer.first',
  'optimizer.second',
  'average.parameters',
  'average.statistics',
  'moved.statistics',
];

/** The parts of a flat buffer under their names and shapes, `prefix` in front of the names. */
export function namedTensors(
  entries: ReadonlyMap<string, Parameter>,
  flat: Float32Array,
  prefix = '',
): Map<string, NamedTensor> {
  const named = new Map<string, NamedTensor>();
  for (const { name, shape, offset, length } of entries.values()) {
    named.set(prefix + name, { shape, data: flat.slice(offset, offset + length) });
  }
  return named;
}

/**
 * The reverse of `namedTensors`.
 * @throws InvalidModel for a missing tensor, one of another shape, or one that holds NaN or infinite values
 */
export function flatFrom(
  entries: ReadonlyMap<string, Parameter>,
  words: number,
  tensors: ReadonlyMap<string, NamedTensor>,
  prefix = '',
): Float32Array<ArrayBuffer> {
  // All names and shapes first: a configuration may claim more memory than there is.
  for (const { name, shape } of entries.values()) {
    const tensor = tensors.get(prefix + name);
    if (!tensor)
      throw new InvalidModel(
        `the file lacks the tensor ${prefix}${name} of shape [${shape.join(',')}]: it belongs to another network`,
      );
    if (tensor.shape.join() !== shape.join()) {
      throw new InvalidModel(
        `tensor ${prefix}${name} has shape [${tensor.shape.join(',')}]; this network's is [${shape.join(',')}]`,
      );
    }
  }
  const flat = new Float32Array(words);
  for (const { name, shape, offset } of entries.values()) {
    const { data } = tensors.get(prefix + name)!;
    const broken = data.findIndex((value) => !Number.isFinite(value));
    if (broken >= 0)
      throw new InvalidModel(
        `tensor ${prefix}${name} holds ${data[broken]} at [${placeIn(shape, broken).join(',')}]: the weights are damaged, ` +
          'or their training had failed; take another copy, or an earlier one',
      );
    flat.set(data, offset);
  }
  return flat;
}

/** The indices, slowest first, of an element of a tensor. */
function placeIn(shape: readonly number[], element: number): number[] {
  let rest = element;
  return shape
    .toReversed()
    .map((length) => {
      const index = rest % length;
      rest = (rest - index) / length;
      return index;
    })
    .reverse();
}
