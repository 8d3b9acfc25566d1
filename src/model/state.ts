/**
 * A model's weights on the device, and the buffers that its plans share: parameters, running statistics
 * and, once it trains, gradients and the optimiser's moments.
 */
import type { KernelChoices } from '../gpu/choices.ts';
import type { Gpu } from '../gpu/device.ts';
import { alignUp, alignment, type PlanLimits } from '../gpu/plan.ts';
import type { Precision } from '../gpu/precision.ts';
import { readBuffer } from '../gpu/program.ts';
import type { UNet3DConfig } from './config.ts';
import { initialValues, layoutParameters, type InitialWeights, type ParameterLayout } from './parameters.ts';
import { sharedWords } from './shared-tensors.ts';

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
  /** Bytes that a plan of this model may take; Infinity: what the device has. */
  budget = Infinity;
  readonly #kernels = new Map<Precision, KernelChoices>();

  /** @param seed of the initial weights; without, they are 0 until others are written */
  constructor(
    readonly gpu: Gpu,
    readonly config: UNet3DConfig,
    seed?: number,
    initial?: InitialWeights,
  ) {
    this.layout = layoutParameters(config);
    this.#words = sharedWords(config, this.layout);
    if (seed === undefined) return;
    const { parameters, parameterWords } = this.layout;
    const endsInNorm = config.architecture !== 'segResNet';
    this.write('parameters', initialValues(parameters, parameterWords, seed, initial, endsInNorm));
    this.write('statistics', initialValues(this.layout.statistics, this.layout.statisticsWords, seed));
  }

  /**
   * As the constructor, with room for the weights on the device.
   * @throws OutOfMemory, DeviceLost; then nothing of it stays, nor a device that was opened for it
   */
  static async create(
    gpu: Gpu,
    config: UNet3DConfig,
    seed?: number,
    initial?: InitialWeights,
  ): Promise<ModelState> {
    let state = undefined as ModelState | undefined;
    try {
      return await gpu.checked('making the network', () => {
        state = new ModelState(gpu, config, seed, initial);
        for (const name of ['parameters', 'statistics']) state.#buffer(name);
        return state;
      });
    } catch (error) {
      state?.dispose();
      gpu.dispose();
      throw error;
    }
  }

  /** Which kernels its plans of this precision use: the adapter's, with what was tuned or a checkpoint says. */
  get kernels(): KernelChoices {
    return this.#kernels.get(this.precision) ?? this.gpu.limits.kernels;
  }

  set kernels(chosen: KernelChoices) {
    this.#kernels.set(this.precision, chosen);
  }

  /** The limits that its plans are made for. */
  get limits(): PlanLimits {
    return { ...this.gpu.limits, kernels: this.kernels };
  }

  /**
   * All shared buffers by name, for `Program.create`; those that training needs are made on first use.
   * @throws OutOfMemory, and then none of these stays
   */
  async shared(names: readonly string[], { averaged = false } = {}): Promise<ReadonlyMap<string, GPUBuffer>> {
    const source = (name: string): string =>
      averaged && (name === 'parameters' || name === 'statistics') ? `average.${name}` : name;
    const before = new Set(this.#buffers.keys());
    try {
      return await this.gpu.checked(
        'preparing the plan',
        () => new Map(names.map((name) => [name, this.#buffer(source(name))])),
      );
    } catch (error) {
      this.#free([...this.#buffers.keys()].filter((name) => !before.has(name)));
      throw error;
    }
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

  /** @param first the word of the buffer that the values begin at */
  write(name: string, values: Float32Array<ArrayBuffer>, first = 0): void {
    this.gpu.assertAlive();
    this.gpu.device.queue.writeBuffer(this.#buffer(name), first * 4, values);
  }

  async read(name: string): Promise<Float32Array<ArrayBuffer>> {
    return new Float32Array(await readBuffer(this.gpu, this.#buffer(name), 0, this.#words[name]! * 4));
  }

  /** One parameter, such as `head.weight`. */
  async readParameter(name: string): Promise<Float32Array<ArrayBuffer>> {
    const { offset, length } = this.layout.parameters.get(name)!;
    return new Float32Array(await readBuffer(this.gpu, this.#buffer('parameters'), 4 * offset, 4 * length));
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
    this.#free(trainingOnly);
  }

  dispose(): void {
    this.#free([...this.#buffers.keys()]);
  }

  #free(names: readonly string[]): void {
    for (const name of names) {
      const buffer = this.#buffers.get(name);
      if (buffer) this.gpu.destroyBuffer(buffer);
      this.#buffers.delete(name);
    }
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
