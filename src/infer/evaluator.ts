/** Runs the network with inference statistics on one volume at a time: loss, labels or logits. */
import { labelsToDense, labelsToStored, toDense, toStored } from '../gpu/layout.ts';
import type { Size3 } from '../gpu/plan.ts';
import { Program } from '../gpu/program.ts';
import {
  planEvaluation,
  planInference,
  resultWords,
  type EvaluationPlan,
  type InferencePlan,
} from '../model/plan.ts';
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

/** Evaluation of whole cases, padded with zeros that the loss ignores. Holds the plan of one size at a time. */
export class Evaluator {
  readonly #weights: Float32Array<ArrayBuffer>;
  #made: { readonly planned: EvaluationPlan; readonly program: Program } | undefined;

  /**
   * @param options.trained the size of the training, at which cases are looked at that fit; see `wholeSize`
   * @param options.averaged use the running average of the weights
   */
  constructor(
    readonly state: ModelState,
    readonly loss: Loss,
    readonly options: { readonly trained?: Size3 | undefined; readonly averaged?: boolean } = {},
  ) {
    this.#weights = classWeights(loss, state.config.classes);
  }

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
    state.write('classWeights', this.#weights);
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

  async #for(size: Size3): Promise<{ planned: EvaluationPlan; program: Program }> {
    if (this.#made?.planned.image.size.join() === size.join()) return this.#made;
    this.dispose();
    const { config, gpu, precision, limits } = this.state;
    const shape = { config, size, batch: 1, limits, precision, loss: lossShape(this.loss, config.classes) };
    const planned = planEvaluation(shape);
    const names = ['parameters', 'statistics', 'results', 'classWeights', 'lossScale'];
    const { averaged = false } = this.options;
    const program = await Program.create(gpu, planned.plan, this.state.shared(names, { averaged }));
    return (this.#made = { planned, program });
  }

  dispose(): void {
    this.#made?.program.dispose();
    this.#made = undefined;
  }
}

/** Logits of windows of one size. */
export class LogitsRunner {
  private constructor(
    readonly planned: InferencePlan,
    readonly program: Program,
  ) {}

  static async create(state: ModelState, size: Size3): Promise<LogitsRunner> {
    const { config, gpu, precision, limits } = state;
    const planned = planInference({ config, size, batch: 1, limits, precision });
    const program = await Program.create(gpu, planned.plan, state.shared(['parameters', 'statistics']));
    return new LogitsRunner(planned, program);
  }

  /** Dense image [channel][z][y][x] of the window's size → dense logits [class][z][y][x]. */
  async run(image: Float32Array, signal?: AbortSignal): Promise<Float32Array<ArrayBuffer>> {
    const { planned, program } = this;
    program.write(planned.image, toStored(planned.image, image));
    await program.run({ signal });
    return toDense(planned.logits, await program.read(planned.logits));
  }

  dispose(): void {
    this.program.dispose();
  }
}
