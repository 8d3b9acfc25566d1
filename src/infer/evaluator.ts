/** Loss and labels of cases with the inference statistics, one case at a time. */
import { copyGrid } from '../data/copy-grid.ts';
import { copyWindow } from '../data/boxes.ts';
import { ignored, isKnownIn } from '../data/patches.ts';
import { labelsToDense, labelsToStored, toStored } from '../gpu/layout.ts';
import { alignUp, alignment } from '../gpu/plan.ts';
import type { Size3 } from '../size.ts';
import { assertCame, awaited, Program } from '../gpu/program.ts';
import { planEvaluation, type EvaluationPlan } from '../model/plan.ts';
import { resultWords } from '../model/shared-tensors.ts';
import type { PlanShape } from '../model/plan-shape.ts';
import { meanDefined } from '../metrics/dice.ts';
import { scoredDice } from '../metrics/region-dice.ts';
import { bytesOf } from '../model/budget.ts';
import { chooseWindow, type Trained } from './choose-window.ts';
import { tiles } from './window.ts';
import { wholeSize } from '../model/sizes.ts';
import type { ModelState } from '../model/state.ts';
import { classWeights, lossShape, type Loss } from '../model/losses.ts';
import { regionTable } from '../ops/region-loss.ts';

/** A dense volume [channel][z][y][x] with, possibly, its labels [z][y][x]; shape x, y, z. */
export interface DenseCase {
  /** Voxels along x, y, z. */
  readonly shape: Size3;
  /** [channel][z][y][x] */
  readonly image: Float32Array;
  /** [z][y][x]; 255 where it is not known. */
  readonly label?: Uint8Array | undefined;
}

export interface EvaluationResult {
  readonly loss: number;
  /** Predicted labels [z][y][x] on the case's own grid. */
  readonly predicted: Uint8Array<ArrayBuffer>;
}

/** A case with its truth. */
export type LabelledVolume = DenseCase & { readonly label: Uint8Array };

/** Windows of a case: their size, x, y, z, and their near corners. */
export interface Windows {
  readonly size: Size3;
  readonly starts: readonly Size3[];
}

/** One case's scores. */
export interface CaseScore {
  /** Of the case. */
  readonly id: string;
  /** Of the whole case, as the training defines it; the mean of windows where the case is looked at through these. */
  readonly loss: number;
  /** Per class or region, background first; NaN where neither has it. */
  readonly dice: readonly number[];
  /** Predicted labels [z][y][x] on the case's own grid. */
  readonly predicted: Uint8Array<ArrayBuffer>;
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
   * @param options.trained what it was trained on, at the size of which cases are looked at that fit; see `wholeSize`
   * @param options.averaged use the running average of the weights
   */
  constructor(
    readonly state: ModelState,
    readonly loss: Loss,
    readonly options: { readonly trained?: Trained | undefined; readonly averaged?: boolean } = {},
  ) {}

  async run(item: DenseCase, signal?: AbortSignal): Promise<EvaluationResult> {
    const { shape, image, label } = item;
    const { state } = this;
    const size = wholeSize(state.config, shape, this.options.trained?.inputSize);
    const { planned, program } = await this.#for(size);
    const channels = planned.image.channels;
    const whole = volume(size);
    const paddedImage = copyGrid(new Float32Array(whole * channels), image, channels, shape, size);
    const paddedLabel = new Uint8Array(whole).fill(255);
    if (label) copyGrid(paddedLabel, label, 1, shape, size);
    program.write(planned.image, toStored(planned.image, paddedImage));
    program.write(planned.labels, labelsToStored(planned.labels, paddedLabel));
    program.write(planned.results, awaited);
    await program.run({ signal });
    const [results, predicted] = await Promise.all([
      program.read(planned.results, 0, resultWords(state.config.classes) * 4),
      program.read(planned.predicted),
    ]);
    assertCame('evaluation', results);
    const dense = labelsToDense(planned.predicted, new Uint8Array(predicted));
    return {
      loss: new Float32Array(results)[0]!,
      predicted: copyGrid(new Uint8Array(volume(shape)), dense, 1, size, shape),
    };
  }

  /**
   * Loss, Dice and labels of a case as the network gives them window by window; through smaller ones side by side where
   * these exceed the memory budget.
   */
  async score(
    item: LabelledVolume & { readonly id: string },
    windows: Windows,
    signal?: AbortSignal,
  ): Promise<CaseScore> {
    const smaller = this.windowFor(windows.size, this.state.budget);
    const fitting = smaller ? tiles(item.shape, smaller) : windows;
    const { loss, predicted } = await this.runThrough(item, fitting, { signal, everywhere: true });
    return { id: item.id, loss, dice: this.dice(predicted, item.label), predicted };
  }

  /** Of labels that the network gave. */
  dice(predicted: Uint8Array, truth: Uint8Array): number[] {
    return scoredDice(predicted, truth, { ...this.state.config, regions: this.loss.regions });
  }

  /**
   * A case through windows of one size, each looked at by itself, but for those without a known voxel: their mean loss,
   * and the labels of all voxels that lie in one (0 elsewhere, where `truth` is 255). Ends early if the signal fires.
   * @param options.everywhere labels of windows without a known voxel, too
   */
  async runThrough(
    { shape, image, label }: LabelledVolume,
    { size, starts }: Windows,
    {
      signal,
      everywhere = false,
    }: { readonly signal?: AbortSignal | undefined; readonly everywhere?: boolean },
  ): Promise<EvaluationResult & { readonly truth: Uint8Array<ArrayBuffer> }> {
    const channels = image.length / label.length;
    const voxels = volume(size);
    const losses: number[] = [];
    const predicted = new Uint8Array(label.length);
    const truth = new Uint8Array(label.length).fill(ignored);
    for (const start of starts) {
      if (signal?.aborted) break;
      const window = { start, size };
      const isKnown = isKnownIn(label, shape, window);
      if (!isKnown && !everywhere) continue;
      const part = {
        shape: size,
        image: copyWindow({ data: image, shape, channels }, window, new Float32Array(channels * voxels)),
        label: copyWindow({ data: label, shape }, window, new Uint8Array(voxels)),
      };
      const result = await this.run(part, signal);
      if (isKnown) losses.push(result.loss);
      const back = { start: start.map((at) => -at) as unknown as Size3, size: shape };
      copyWindow({ data: part.label, shape: size }, back, truth);
      copyWindow({ data: result.predicted, shape: size }, back, predicted);
    }
    return { loss: meanDefined(losses), predicted, truth };
  }

  /** The window through which a case must go where the plan of the whole exceeds the budget; undefined where it fits. */
  windowFor(shape: Size3, budget: number): Size3 | undefined {
    const { config, limits, precision } = this.state;
    const { trained } = this.options;
    const plan = (given: PlanShape) => this.#plan(given);
    const whole = wholeSize(config, shape, trained?.inputSize);
    const size = chooseWindow({ config, whole, trained }, budget, { limits, precision, plan });
    return size.join() === whole.join() ? undefined : size;
  }

  /** Bytes that it takes to look at a volume of this shape whole; Infinity where no buffer holds one of its tensors. */
  bytesFor(shape: Size3): number {
    const { config, limits, precision } = this.state;
    const size = wholeSize(config, shape, this.options.trained?.inputSize);
    return bytesOf(() => this.#plan({ config, size, batch: 1, limits, precision }));
  }

  #plan(shape: PlanShape): EvaluationPlan {
    return planEvaluation({ ...shape, loss: lossShape(this.loss, this.state.config.classes) });
  }

  async #for(size: Size3): Promise<Made> {
    if (this.#made?.planned.image.size.join() === size.join()) return this.#made;
    this.dispose();
    const { config, gpu, precision, limits } = this.state;
    const planned = this.#plan({ config, size, batch: 1, limits, precision });
    const { averaged = false } = this.options;
    const weights = await this.state.shared(['parameters', 'statistics'], { averaged });
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
      ...(this.loss.regions && { regions: regionTable(this.loss.regions) }),
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

  /** Frees the device's memory; what is looked at afterwards has it made anew. */
  dispose(): void {
    this.#made?.program.dispose();
    if (this.#made) this.#free(this.#made.own);
    this.#made = undefined;
  }
}
