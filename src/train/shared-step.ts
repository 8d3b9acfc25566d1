/**
 * A step whose batches are shared out among ranks. Each rank computes the gradients of its own; they are added up in
 * pieces, each as soon as the backward pass is done with it; then every rank makes the same update from the same bits.
 */
import { gradientPieces, updateBegins, type Piece } from '../distributed/pieces.ts';
import { ownShare, type Ranks } from '../distributed/ranks.ts';
import type { Gpu } from '../gpu/device.ts';
import type { Program, RunOptions } from '../gpu/program.ts';
import type { Frozen } from '../model/freeze.ts';
import { momentum } from '../model/layers/norm.ts';
import type { ParameterLayout } from '../model/parameters.ts';

/** What adding up the gradients has taken so far. */
export interface Exchanged {
  readonly steps: number;
  /** Of the gradients of one step. */
  readonly bytes: number;
  /** Milliseconds in which sums were under way, and of these, those in which the GPU was still computing gradients. */
  readonly milliseconds: number;
  readonly hidden: number;
}

/** A piece with what it takes to bring it to the host. */
interface Staged extends Piece {
  readonly staging: GPUBuffer;
  readonly values: Float32Array<ArrayBuffer>;
}

export interface SharedStepParts {
  readonly gpu: Gpu;
  readonly ranks: Ranks;
  readonly program: Program;
  readonly layout: ParameterLayout;
  readonly freeze: Frozen | undefined;
  /** Buffers by name. */
  readonly shared: ReadonlyMap<string, GPUBuffer>;
  /** Batches of a step, those of all ranks. */
  readonly accumulate: number;
  /** Words that the loss leaves of a batch. */
  readonly resultWords: number;
}

export class SharedStep {
  readonly #parts: SharedStepParts;
  readonly #pieces: readonly Staged[];
  /** The sum of gradients that the update reads. */
  readonly #gradients: GPUBuffer;
  /** The running statistics before the step, then of each own batch its results and the statistics as it moves them. */
  readonly #notes: GPUBuffer;
  readonly #statisticsWords: number;
  readonly #updateBegins: number;
  #exchanged: Exchanged;

  constructor(parts: SharedStepParts) {
    const { gpu, program, layout, freeze, shared, ranks, accumulate } = parts;
    this.#parts = parts;
    this.#updateBegins = updateBegins(program.plan);
    this.#gradients = shared.get('accumulated') ?? shared.get('gradients')!;
    this.#statisticsWords = shared.has('moved.statistics') ? layout.statisticsWords : 0;
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    this.#pieces = gradientPieces(program.plan, layout, freeze).map((piece, index) => {
      const values = new Float32Array(piece.to - piece.from);
      return { ...piece, values, staging: gpu.createBuffer(`gradients ${index}`, values.byteLength, usage) };
    });
    const words = this.#statisticsWords + Math.ceil(accumulate / ranks.size) * this.#noteWords;
    this.#notes = gpu.createBuffer('notes of batches', 4 * words, usage);
    const bytes = this.#pieces.reduce((sum, { values }) => sum + values.byteLength, 0);
    this.#exchanged = { steps: 0, bytes, milliseconds: 0, hidden: 0 };
  }

  get exchanged(): Exchanged {
    return this.#exchanged;
  }

  get #noteWords(): number {
    return this.#parts.resultWords + this.#statisticsWords;
  }

  /**
   * Computes and adds up the gradients of a step's batches, and leaves their sum where the update reads it; so it does
   * with the running statistics, moved by one batch after the other as accumulation has them.
   * @param own batches of this rank
   * @param count batches of all ranks
   * @param submit brings an own batch to the device
   * @returns the results of every batch, in their order
   */
  async gradients(
    own: number,
    count: number,
    submit: (index: number) => void,
    run: RunOptions,
  ): Promise<Float32Array<ArrayBuffer>[]> {
    this.#copy('statistics', 0, this.#notes, 0, this.#statisticsWords);
    const last = own - 1;
    for (let index = 0; index < last; index++) {
      this.#begin(index, submit);
      await this.#parts.program.run({ ...run, to: this.#updateBegins });
      this.#note(index);
    }
    if (own > 0) this.#begin(last, submit);
    const { sums } = await this.#sum(own > 0, run);
    if (own > 0) this.#note(last);
    const notes = await this.#gathered(own, count, sums);
    const { gpu, shared, resultWords } = this.#parts;
    gpu.assertAlive();
    if (this.#statisticsWords > 0) {
      const [before, ...batches] = notes;
      const moved = movedBy(
        before!,
        batches.map((words) => words.subarray(resultWords)),
      );
      gpu.device.queue.writeBuffer(shared.get('moved.statistics')!, 0, moved);
    }
    return notes.slice(1).map((words) => words.slice(0, resultWords));
  }

  /** The rest of the plan. */
  async update(run: RunOptions): Promise<void> {
    await this.#parts.program.run({ ...run, from: this.#updateBegins });
  }

  #begin(index: number, submit: (index: number) => void): void {
    submit(index);
    const moved = this.#parts.shared.get('moved.statistics');
    if (moved) this.#copy('statistics', 0, moved, 0, this.#statisticsWords);
  }

  /** Copies words of a shared buffer. */
  #copy(name: string, from: number, target: GPUBuffer, to: number, words: number): void {
    if (words === 0) return;
    const { gpu, shared } = this.#parts;
    gpu.assertAlive();
    const encoder = gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(shared.get(name)!, 4 * from, target, 4 * to, 4 * words);
    gpu.device.queue.submit([encoder.finish()]);
  }

  #note(index: number): void {
    const at = this.#statisticsWords + index * this.#noteWords;
    this.#copy('results', 0, this.#notes, at, this.#parts.resultWords);
    this.#copy('moved.statistics', 0, this.#notes, at + this.#parts.resultWords, this.#statisticsWords);
  }

  /**
   * Sends the last own batch to the device, and each piece of the gradients to the other ranks once it is whole.
   * @returns when all is sent to the device, with the sums that are still under way
   */
  async #sum(computes: boolean, run: RunOptions): Promise<{ sums: Promise<void> }> {
    const { gpu, program, ranks } = this.#parts;
    const spans: { from: number; to: number }[] = [];
    let before: Promise<unknown> = Promise.resolve();
    let done = 0;
    const sums: Promise<void>[] = [];
    for (const piece of this.#pieces) {
      if (computes) {
        await program.run({ ...run, from: done, to: piece.after });
        done = Math.max(done, piece.after);
        const encoder = gpu.device.createCommandEncoder();
        const { staging, values } = piece;
        encoder.copyBufferToBuffer(this.#gradients, 4 * piece.from, staging, 0, values.byteLength);
        gpu.device.queue.submit([encoder.finish()]);
      }
      const read = computes ? this.#read(piece.staging, piece.values) : undefined;
      if (!computes) piece.values.fill(0);
      // Ranks add up the pieces in one order, whichever is read first.
      const turn = before;
      const sum = (async () => {
        await Promise.all([read, turn]);
        const from = performance.now();
        await ranks.sum(piece.values);
        spans.push({ from, to: performance.now() });
        gpu.assertAlive();
        gpu.device.queue.writeBuffer(this.#gradients, 4 * piece.from, piece.values);
      })();
      before = sum;
      sum.catch(() => undefined); // thrown when all are waited for
      sums.push(sum);
    }
    if (computes) await program.run({ ...run, from: done, to: this.#updateBegins });
    const computed = gpu.device.queue.onSubmittedWorkDone().then(() => performance.now());
    const all = Promise.all(sums).then(async () => this.#count(spans, await computed));
    // Whoever waits is told; where something else fails first, nobody does.
    for (const promise of [computed, all]) promise.catch(() => undefined);
    return { sums: all };
  }

  #count(spans: readonly { from: number; to: number }[], computed: number): void {
    let { steps, milliseconds, hidden } = this.#exchanged;
    for (const { from, to } of spans) {
      milliseconds += to - from;
      hidden += Math.max(0, Math.min(to, computed) - from);
    }
    this.#exchanged = { ...this.#exchanged, steps: ++steps, milliseconds, hidden };
  }

  /** The statistics before the step, then the notes of every batch; `sums` come first. */
  async #gathered(own: number, count: number, sums: Promise<void>): Promise<Float32Array<ArrayBuffer>[]> {
    const { ranks } = this.#parts;
    const words = this.#noteWords;
    const noted = new Float32Array(this.#statisticsWords + own * words);
    await Promise.all([this.#read(this.#notes, noted), sums]);
    const all = new Float32Array(count * words);
    for (const [index, batch] of ownShare(ranks, count).entries()) {
      const at = this.#statisticsWords + index * words;
      all.set(noted.subarray(at, at + words), batch * words);
    }
    await ranks.sum(all); // of zeros and one batch each: as they are
    return [
      noted.slice(0, this.#statisticsWords),
      ...Array.from({ length: count }, (_, batch) => all.slice(batch * words, (batch + 1) * words)),
    ];
  }

  /** The beginning of a staging buffer. */
  async #read(staging: GPUBuffer, target: Float32Array<ArrayBuffer>): Promise<void> {
    if (target.length === 0) return;
    try {
      await staging.mapAsync(GPUMapMode.READ, 0, target.byteLength);
    } catch (error) {
      this.#parts.gpu.assertAlive();
      throw error;
    }
    target.set(new Float32Array(staging.getMappedRange(0, target.byteLength)));
    staging.unmap();
    this.#parts.gpu.assertAlive();
  }

  dispose(): void {
    for (const { staging } of this.#pieces) this.#parts.gpu.destroyBuffer(staging);
    this.#parts.gpu.destroyBuffer(this.#notes);
  }
}

/**
 * Running statistics that batches have moved, each from the same values, as if they had come one after the other. What
 * none of them moves stays as it is, to the bit.
 */
function movedBy(
  before: Float32Array<ArrayBuffer>,
  batches: readonly Float32Array[],
): Float32Array<ArrayBuffer> {
  return before.map((value, i) =>
    batches.reduce((moved, batch) => (1 - momentum) * moved + (batch[i]! - (1 - momentum) * value), value),
  );
}
