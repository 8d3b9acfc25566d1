/** Loss and labels of cases with the inference statistics, one case at a time. */
import { labelsToDense, labelsToStored, toStored } from '../gpu/layout.ts';
import { alignUp, alignment, type Size3 } from '../gpu/plan.ts';
import { Program } from '../gpu/program.ts';
import { planEvaluation, resultWords, type EvaluationPlan } from '../model/plan.ts';
import { dice } from '../metrics/dice.ts';
import { wholeSize } from '../model/config.ts';
import type { ModelState } from '../model/state.ts';
import { classWeights, lossShape, type Loss } from '../train/losses.ts';

/** A dense volume [channel][z][y][x] with, possibly, its labels [z][y][x]; shape x, y, z. */
export interface DenseCase {
  readonly shape: Size3;
  readonly image: Float32Array;
  readonly label?: Uint8Array | undefined;
}

export interface EvaluationResult {
  readonly loss: number;
  /** Predicted classes [z][y][x] on the case's own grid. */
  readonly predicted: Uint8Array<ArrayBuffer>;
}

/** A case with its truth. */
export type LabelledVolume = DenseCase & { readonly id: string; readonly label: Uint8Array };

/** One case's scores. */
export interface CaseScore {
  readonly id: string;
  readonly loss: number;
  /** Per class, background first; NaN where neither has the class. */
  readonly dice: readonly number[];
  /** Predicted classes [z][y][x] on the case's own grid. */
  readonly predicted: Uint8Array<ArrayBuffer>;
}

/**
 * Copies what [channel][z][y][x] grids of sizes `from` and `to` share at the near end of each axis into
 * `target`, which is returned: pads at the far ends where `to` is larger, crops there where it is smaller.
 */
export function copyGrid<T extends Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(
  target: T,
  source: Float32Array | Uint8Array,
  channels: number,
  from: Size3,
  to: Size3,
): T {
  const [x, y, z] = [0, 1, 2].map((axis) => Math.min(from[axis]!, to[axis]!)) as [number, number, number];
  for (let c = 0; c < channels; c++)
    for (let k = 0; k < z; k++)
      for (let j = 0; j < y; j++) {
        const at = ((c * from[2] + k) * from[1] + j) * from[0];
        target.set(source.subarray(at, at + x), ((c * to[2] + k) * to[1] + j) * to[0]);
      }
  return target;
}

const volume = ([x, y, z]: Size3): number => x * y * z;

interface Made {
  readonly planned: EvaluationPlan;
  readonly program: Program;
  readonly own: ReadonlyMap<string, GPUBuffer>;
}

/**
 * Evaluation of whole cases, padded with zeros that the loss ignores. Holds the plan of one size at a time. Of the
 * model it reads the weights only: what the loss takes and gives has buffers here, as a training has its own.
 */
export class Evaluator {
  #made: Made | undefined;

  /**
   * @param options.trained the size of the training, at which cases are looked at that fit; see `wholeSize`
   * @param options.averaged use the running average of the weights
   */
  constructor(
    readonly state: ModelState,
    readonly loss: Loss,
    readonly options: { readonly trained?: Size3 | undefined; readonly averaged?: boolean } = {},
  ) {}

  async run(item: DenseCase, signal?: AbortSignal): Promise<EvaluationResult> {
    const { shape, image, label } = item;
    const { state } = this;
    const size = wholeSize(state.config, shape, this.options.trained);
    const { planned, program } = await this.#for(size);
    const channels = planned.image.channels;
    const whole = volume(size);
    const paddedImage = copyGrid(new Float32Array(whole * channels), image, channels, shape, size);
    const paddedLabel = new Uint8Array(whole).fill(255);
    if (label) copyGrid(paddedLabel, label, 1, shape, size);
    program.write(planned.image, toStored(planned.image, paddedImage));
    program.write(planned.labels, labelsToStored(planned.labels, paddedLabel));
    await program.run({ signal });
    const [results, predicted] = await Promise.all([
      program.read(planned.results, 0, resultWords(state.config.classes) * 4),
      program.read(planned.predicted),
    ]);
    const dense = labelsToDense(planned.predicted, new Uint8Array(predicted));
    return {
      loss: new Float32Array(results)[0]!,
      predicted: copyGrid(new Uint8Array(volume(shape)), dense, 1, size, shape),
    };
  }

  /** Loss, Dice and labels as the network gives them. */
  async score(item: LabelledVolume, signal?: AbortSignal): Promise<CaseScore> {
    const { loss, predicted } = await this.run(item, signal);
    return { id: item.id, loss, dice: dice(predicted, item.label, this.state.config.classes), predicted };
  }

  async #for(size: Size3): Promise<Made> {
    if (this.#made?.planned.image.size.join() === size.join()) return this.#made;
    this.dispose();
    const { config, gpu, precision, limits } = this.state;
    const shape = { config, size, batch: 1, limits, precision, loss: lossShape(this.loss, config.classes) };
    const planned = planEvaluation(shape);
    const { averaged = false } = this.options;
    const weights = this.state.shared(['parameters', 'statistics'], { averaged });
    const own = this.#lossBuffers();
    try {
      const program = await Program.create(gpu, planned.plan, new Map([...weights, ...own]));
      return (this.#made = { planned, program, own });
    } catch (error) {
      this.#free(own);
      throw error;
    }
  }

  #lossBuffers(): Map<string, GPUBuffer> {
    const { gpu, config } = this.state;
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const contents = {
      results: new Float32Array(resultWords(config.classes)),
      classWeights: classWeights(this.loss, config.classes),
      lossScale: new Float32Array([1, 0]),
    };
    return new Map(
      Object.entries(contents).map(([name, values]) => {
        const buffer = gpu.createBuffer(name, alignUp(values.byteLength, alignment), usage);
        gpu.device.queue.writeBuffer(buffer, 0, values);
        return [name, buffer];
      }),
    );
  }

  #free(buffers: ReadonlyMap<string, GPUBuffer>): void {
    for (const buffer of buffers.values()) this.state.gpu.destroyBuffer(buffer);
  }

  dispose(): void {
    this.#made?.program.dispose();
    if (this.#made) this.#free(this.#made.own);
    this.#made = undefined;
  }
}
