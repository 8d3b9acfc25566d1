/**
 * Training on the device: one plan, replayed for each batch. Losses come back through a ring of small
 * buffers, so the host never waits for the step it has just submitted.
 */
import { GpuError } from '../errors.ts';
import { labelsToStored, toStored } from '../gpu/layout.ts';
import type { Size3 } from '../gpu/plan.ts';
import { Program, type RunOptions } from '../gpu/program.ts';
import { planTraining, resultWords, sharedWords, type TrainingPlan } from '../model/plan.ts';
import type { ModelState } from '../model/state.ts';
import { stepArray, type StepValues } from '../ops/optimizer.ts';
import { classWeights, lossShape, type Loss } from './losses.ts';
import type { Optimizer } from './optimizers.ts';

/** Dense arrays of one batch. */
export interface Batch {
  /** [sample][channel][z][y][x] */
  readonly image: Float32Array;
  /** [sample][z][y][x]; 255 where the loss must not look. */
  readonly label: Uint8Array;
}

export interface StepResult {
  readonly loss: number;
  /** Soft Dice per class on this batch. */
  readonly dice: readonly number[];
  /** Global norm before clipping. */
  readonly gradientNorm: number;
  /** False if a gradient was NaN or infinite; then no parameter was changed. */
  readonly finite: boolean;
}

export interface SessionOptions {
  /** x, y, z; multiples of the network's. */
  readonly size: Size3;
  readonly batchSize: number;
  readonly loss: Loss;
  readonly optimizer: Optimizer;
}

const ringLength = 4;

export class TrainingSession {
  readonly #state: ModelState;
  readonly #planned: TrainingPlan;
  readonly #program: Program;
  readonly #ring: GPUBuffer[] = [];
  readonly #shared: ReadonlyMap<string, GPUBuffer>;
  #turn = 0;

  private constructor(
    state: ModelState,
    planned: TrainingPlan,
    program: Program,
    shared: ReadonlyMap<string, GPUBuffer>,
  ) {
    this.#state = state;
    this.#planned = planned;
    this.#program = program;
    this.#shared = shared;
    const bytes = (resultWords(state.config.classes) + 3) * 4;
    for (let i = 0; i < ringLength; i++) {
      this.#ring.push(
        state.gpu.createBuffer(`results ${i}`, bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST),
      );
    }
  }

  static async create(state: ModelState, options: SessionOptions): Promise<TrainingSession> {
    const { gpu, config } = state;
    const { size, batchSize, loss, optimizer } = options;
    const planned = planTraining({
      config,
      size,
      batch: batchSize,
      limits: gpu.limits,
      loss: lossShape(loss, config.classes),
      optimizer,
    });
    const weights = classWeights(loss, config.classes);
    const shared = state.shared(Object.keys(sharedWords(config, state.layout)));
    const program = await Program.create(gpu, planned.plan, shared);
    state.write('classWeights', weights);
    return new TrainingSession(state, planned, program, shared);
  }

  get plan() {
    return this.#planned.plan;
  }

  get program(): Program {
    return this.#program;
  }

  /** Uploads the batch and submits the step; the result arrives when the GPU has done it. */
  async step(
    batch: Batch,
    values: StepValues,
    run: RunOptions = {},
  ): Promise<{ result: Promise<StepResult> }> {
    const { image, labels, step } = this.#planned;
    const expected = image.batch * image.channels * image.size[0] * image.size[1] * image.size[2];
    if (batch.image.length !== expected || batch.label.length !== expected / image.channels) {
      throw new GpuError(
        `a batch of ${batch.image.length} voxels and ${batch.label.length} labels was given; the plan takes ${expected} and ${expected / image.channels}`,
      );
    }
    this.#program.write(image, toStored(image, batch.image));
    this.#program.write(labels, labelsToStored(labels, batch.label));
    this.#program.write(step, stepArray(values));
    await this.#program.run(run);
    return { result: this.#readBack() };
  }

  async #readBack(): Promise<StepResult> {
    const { gpu, config } = this.#state;
    const buffer = this.#ring[this.#turn++ % ringLength]!;
    const words = resultWords(config.classes);
    const encoder = gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(this.#shared.get('results')!, 0, buffer, 0, words * 4);
    encoder.copyBufferToBuffer(this.#shared.get('clip')!, 0, buffer, words * 4, 12);
    gpu.device.queue.submit([encoder.finish()]);
    try {
      await buffer.mapAsync(GPUMapMode.READ);
    } catch (error) {
      gpu.assertAlive();
      throw error;
    }
    const values = new Float32Array(buffer.getMappedRange().slice(0));
    buffer.unmap();
    const [gradientNorm = NaN, broken] = [values[words + 1], values[words + 2]];
    const loss = values[0]!;
    return {
      loss,
      dice: [...values.subarray(3, words)],
      gradientNorm,
      finite: broken === 0 && Number.isFinite(loss),
    };
  }

  /** The first parameter with a gradient that is NaN or infinite. */
  async firstBrokenGradient(): Promise<string | undefined> {
    const gradients = await this.#state.read('gradients');
    for (const { name, offset, length } of this.#state.layout.parameters.values()) {
      if (!gradients.subarray(offset, offset + length).every(Number.isFinite)) return name;
    }
    return undefined;
  }

  dispose(): void {
    this.#program.dispose();
    for (const buffer of this.#ring.splice(0)) this.#state.gpu.destroyBuffer(buffer);
  }
}

/** Steps that may be in flight before the host waits for the oldest. */
export const stepsInFlight = ringLength - 1;
