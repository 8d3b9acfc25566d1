/**
 * Training on the device: one plan, replayed for each batch. Losses come back through a ring of small
 * buffers, so the host never waits for the step it has just submitted.
 */
import { updateBegins } from '../distributed/pieces.ts';
import type { Ranks } from '../distributed/ranks.ts';
import { GpuError } from '../errors.ts';
import { labelsToStored, toStored } from '../gpu/layout.ts';
import type { Size3 } from '../size.ts';
import { assertCame, awaited, Program, type RunOptions } from '../gpu/program.ts';
import { resultWords } from '../model/shared-tensors.ts';
import type { Checkpointing } from '../model/plan-shape.ts';
import type { TrainingPlan } from '../model/plan.ts';
import type { ModelState } from '../model/state.ts';
import { encodeDraws, type SampleDraw } from '../ops/augment.ts';
import type { TakenVoxel } from '../ops/pool.ts';
import {
  gradientPrecision,
  initialLossScale,
  readUpdate,
  stepArray,
  stepsInFlight,
  updateArray,
  updateWords,
  type StepUpdate,
  type StepValues,
} from '../ops/optimizer.ts';
import type { Frozen } from '../model/freeze.ts';
import { classWeights, lossShape, type Loss } from '../model/losses.ts';
import { regionTable } from '../ops/region-loss.ts';
import { StepPlans } from './memory.ts';
import type { Optimizer } from './optimizers.ts';
import { SharedStep, type Exchanged } from './shared-step.ts';

/** Dense arrays of one batch. */
export interface Batch {
  /** [sample][channel][z][y][x], margin included */
  readonly image: Float32Array;
  /** [sample][z][y][x]; 255 where the loss must not look. */
  readonly label: Uint8Array;
  /** What augmentation does to each sample; without, nothing. For sessions with `augment`. */
  readonly draws?: readonly SampleDraw[] | undefined;
}

export interface StepResult extends StepUpdate {
  readonly loss: number;
  /** Soft Dice per class on this batch; of regions, NaN for the background and then each region's. */
  readonly dice: readonly number[];
}

export interface SessionOptions {
  /** x, y, z; multiples of the network's. */
  readonly size: Size3;
  readonly batchSize: number;
  readonly loss: Loss;
  readonly optimizer: Optimizer;
  /** See `TrainingShape`. */
  readonly checkpointing?: Checkpointing | undefined;
  /** Batches of a step, those of all ranks. */
  readonly accumulate?: number | undefined;
  readonly augment?: boolean | undefined;
  readonly margin?: Size3 | undefined;
  readonly averaging?: boolean | undefined;
  readonly coarserTruth?: TakenVoxel | undefined;
  readonly freeze?: Frozen | undefined;
  /** Those that share the batches of a step. Default: this process does all. */
  readonly ranks?: Ranks | undefined;
  /** Where the step was planned before, if it was. */
  readonly plans?: StepPlans | undefined;
}

const ringLength = stepsInFlight + 1;

/** The plan of a step, with the kernels that the model's state names. */
export function planSession(
  { config, limits, precision }: ModelState,
  { batchSize, loss, ranks, accumulate = 1, plans = new StepPlans(), ...rest }: SessionOptions,
): TrainingPlan {
  const own = Math.ceil(accumulate / (ranks?.size ?? 1));
  const shape = { ...rest, accumulate: own, config, limits, precision, batch: batchSize };
  return plans.of({ ...shape, loss: lossShape(loss, config.classes) });
}

export class TrainingSession {
  readonly #state: ModelState;
  /** Of the network's input: x, y, z. */
  readonly #size: Size3;
  /** Heads decide on regions. */
  readonly #isOfRegions: boolean;
  readonly #planned: TrainingPlan;
  readonly #program: Program;
  readonly #ring: GPUBuffer[] = [];
  readonly #shared: ReadonlyMap<string, GPUBuffer>;
  /** What the buffers of the ring are being read for. */
  readonly #readings: Promise<unknown>[] = [];
  #turn = 0;
  readonly #sharedStep: SharedStep | undefined;

  private constructor(
    state: ModelState,
    { size, loss, ranks, freeze, accumulate = 1 }: SessionOptions,
    planned: TrainingPlan,
    program: Program,
    shared: ReadonlyMap<string, GPUBuffer>,
  ) {
    this.#state = state;
    this.#size = size;
    this.#isOfRegions = loss.regions !== undefined;
    this.#planned = planned;
    this.#program = program;
    this.#shared = shared;
    const bytes = (resultWords(state.config.classes) + updateWords) * 4;
    for (let i = 0; i < ringLength; i++) {
      this.#ring.push(
        state.gpu.createBuffer(`results ${i}`, bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST),
      );
    }
    const { gpu, layout } = state;
    const words = resultWords(state.config.classes);
    this.#sharedStep =
      ranks &&
      new SharedStep({ gpu, ranks, program, layout, freeze, shared, accumulate, resultWords: words });
  }

  static async create(state: ModelState, options: SessionOptions): Promise<TrainingSession> {
    const { gpu, config, precision, kernels } = state;
    const planned = planSession(state, options);
    const weights = classWeights(options.loss, config.classes);
    const shared = await state.shared(
      planned.plan.tensors.filter(({ storage }) => storage === 'shared').map(({ name }) => name),
    );
    const program = await Program.create(gpu, planned.plan, shared);
    state.write('classWeights', weights);
    const { regions } = options.loss;
    if (regions) state.write('regions', new Float32Array(regionTable(regions).buffer));
    state.write('lossScale', new Float32Array([initialLossScale[gradientPrecision(precision, kernels)], 0]));
    state.write('update', updateArray());
    return new TrainingSession(state, options, planned, program, shared);
  }

  get plan() {
    return this.#planned.plan;
  }

  get program(): Program {
    return this.#program;
  }

  /** What adding up gradients with other ranks has taken. */
  get exchanged(): Exchanged | undefined {
    return this.#sharedStep?.exchanged;
  }

  /**
   * Uploads and submits one step over `batches`, whose gradients are averaged for one update (a plan without
   * accumulation takes one). The result, averaged too, arrives when the GPU has done it.
   * @param count batches of the step; where ranks share them out, `batches` are this rank's
   */
  async step(
    batches: readonly Batch[],
    values: StepValues,
    run: RunOptions = {},
    count = batches.length,
  ): Promise<{ result: Promise<StepResult> }> {
    await this.#program.revive();
    if (this.#sharedStep) return this.#stepTogether(this.#sharedStep, batches, values, run, count);
    const results: Promise<StepResult>[] = [];
    for (const [index, batch] of batches.entries()) {
      await this.#submit(batch, stepArray(values, [index, batches.length]), run, index === 0);
      results.push((await this.#reading()).result);
    }
    return { result: Promise.all(results).then(averaged) };
  }

  async #stepTogether(
    shared: SharedStep,
    batches: readonly Batch[],
    values: StepValues,
    run: RunOptions,
    count: number,
  ): Promise<{ result: Promise<StepResult> }> {
    const submit = (index: number): void => {
      this.#upload(batches[index]!);
      this.#program.write(this.#planned.step, stepArray(values, [index, count]));
    };
    const found = (await shared.gradients(batches.length, count, submit, run)).map((words) =>
      this.#lossOf(words),
    );
    const { loss, dice } = means(found);
    // The update looks at the loss, whether it is finite, which is that of all batches.
    this.#state.write('results', new Float32Array([loss]));
    this.#program.write(this.#planned.step, stepArray(values, [count - 1, count], false));
    this.#state.write('update', awaited);
    await shared.update(run);
    const { result } = await this.#reading();
    return { result: result.then((update) => ({ ...update, loss, dice })) };
  }

  /** Begins to read back what is known of the batch that was submitted last; waits for a buffer of the ring. */
  async #reading(): Promise<{ result: Promise<StepResult> }> {
    const turn = this.#turn++ % ringLength;
    await this.#readings[turn];
    const result = this.#readBack(this.#ring[turn]!);
    this.#readings[turn] = result.catch(() => undefined); // seen by whoever awaits the step
    return { result };
  }

  async #submit(batch: Batch, step: Float32Array<ArrayBuffer>, run: RunOptions, begins: boolean) {
    this.#upload(batch);
    this.#program.write(this.#planned.step, step);
    const moved = this.#shared.get('moved.statistics');
    if (begins && moved) {
      const { queue } = this.#state.gpu.device;
      const encoder = this.#state.gpu.device.createCommandEncoder();
      encoder.copyBufferToBuffer(this.#shared.get('statistics')!, 0, moved, 0, moved.size);
      queue.submit([encoder.finish()]);
    }
    for (const name of ['results', 'update']) this.#state.write(name, awaited);
    const { signal, ...unstopped } = run;
    if (!signal) return this.#program.run(run);
    // An update that has begun is done to its end: the weights are those before a step or after it.
    const from = updateBegins(this.#planned.plan);
    await this.#program.run({ ...run, to: from });
    await this.#program.run({ ...unstopped, from });
  }

  #upload({ image, label, draws }: Batch): void {
    const { image: imageTensor, labels, draws: tensors } = this.#planned;
    const { batch, channels, size } = imageTensor;
    const expected = batch * channels * size[0] * size[1] * size[2];
    if (image.length !== expected || label.length !== expected / channels) {
      throw new GpuError(
        `a batch of ${image.length} voxels and ${label.length} labels was given; the plan takes ${expected} and ${expected / channels}`,
      );
    }
    this.#program.write(imageTensor, toStored(imageTensor, image));
    this.#program.write(labels, labelsToStored(labels, label));
    if (!tensors) return;
    const nothing = (): SampleDraw => ({ channels: Array.from({ length: channels }, () => ({})) });
    const words = encodeDraws(draws ?? Array.from({ length: batch }, nothing), this.#size);
    this.#program.write(tensors.samples, words.samples);
    this.#program.write(tensors.channels, words.channels);
  }

  async #readBack(buffer: GPUBuffer): Promise<StepResult> {
    const { gpu, config } = this.#state;
    const words = resultWords(config.classes);
    gpu.assertAlive();
    const encoder = gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(this.#shared.get('results')!, 0, buffer, 0, words * 4);
    encoder.copyBufferToBuffer(this.#shared.get('update')!, 0, buffer, words * 4, updateWords * 4);
    gpu.device.queue.submit([encoder.finish()]);
    try {
      await buffer.mapAsync(GPUMapMode.READ);
    } catch (error) {
      gpu.assertAlive();
      throw error;
    }
    const bytes = buffer.getMappedRange().slice(0);
    buffer.unmap();
    gpu.assertAlive();
    for (const at of [0, words * 4]) assertCame('training step', bytes, at);
    const values = new Float32Array(bytes);
    return { ...this.#lossOf(values.subarray(0, words)), ...readUpdate(values.subarray(words)) };
  }

  #lossOf(results: Float32Array): Pick<StepResult, 'loss' | 'dice'> {
    return { loss: results[0]!, dice: [...(this.#isOfRegions ? [NaN] : []), ...results.subarray(3)] };
  }

  /**
   * The first parameter whose gradient on `batch` is NaN or infinite: computed again, as the gradients of a step
   * that was not finite have been overwritten by the steps sent after it. Nothing that training keeps is changed.
   */
  async firstBrokenGradient(batch: Batch): Promise<string | undefined> {
    // As the first of two batches, the second of which never comes: the step is not decided.
    const still = { learningRate: 0, beta1: 0, beta2: 0, epsilon: 0, weightDecay: 0 };
    const values = { ...still, maxNorm: Infinity, applied: 0 };
    await this.#program.revive();
    await this.#submit(batch, stepArray(values, [0, 2]), {}, true);
    const gradients = await this.#state.read('gradients');
    for (const { name, offset, length } of this.#state.layout.parameters.values()) {
      if (!gradients.subarray(offset, offset + length).every(Number.isFinite)) return name;
    }
    return undefined;
  }

  /** Frees the step's memory until the next one, when no result is awaited. What it has learnt is the model's. */
  release(): void {
    this.#program.dispose();
  }

  dispose(): void {
    this.#sharedStep?.dispose();
    this.#program.dispose();
    for (const buffer of this.#ring.splice(0)) this.#state.gpu.destroyBuffer(buffer);
  }
}

/** Means of losses and Dice; what became of the step is known after the last batch. */
const averaged = (results: readonly StepResult[]): StepResult => ({
  ...results[results.length - 1]!,
  ...means(results),
});

function means(results: readonly Pick<StepResult, 'loss' | 'dice'>[]): Pick<StepResult, 'loss' | 'dice'> {
  const mean = (pick: (result: Pick<StepResult, 'loss' | 'dice'>) => number) =>
    results.reduce((sum, result) => sum + pick(result), 0) / results.length;
  return {
    loss: mean(({ loss }) => loss),
    dice: results[0]!.dice.map((_, c) => mean(({ dice }) => dice[c]!)),
  };
}
