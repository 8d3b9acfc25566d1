/** The batches of each step, those of the next one made while the device works on this one. */
import { ownShare, type Ranks } from '../distributed/ranks.ts';
import { drawSample, type Augmentation } from './augmentation.ts';
import type { BatchSource } from './fit.ts';
import type { Batch } from './session.ts';

/**
 * Called before batches are asked for; what it gives waits for them, at a moment when the device is not used. Where others
 * use it meanwhile, `makeRoom` is called first.
 */
export type Asking = () => <T>(batches: Promise<T>, makeRoom: () => void) => Promise<T>;

interface Asked {
  readonly step: number;
  readonly wait: (makeRoom: () => void) => Promise<Batch[]>;
}

export class StepBatches {
  #ahead: Asked | undefined;

  constructor(
    readonly source: BatchSource,
    readonly options: {
      /** Batches of a step. */
      readonly accumulate: number;
      readonly augmentation: Augmentation | undefined;
      /** Of the augmentation. */
      readonly seed: number;
      /** Of an image. */
      readonly channels: number;
      /** Those that share out the batches of each step. */
      readonly ranks?: Ranks | undefined;
    },
    readonly asking: Asking,
  ) {}

  /** The last step of an epoch may have fewer batches. */
  get stepsPerEpoch(): number {
    return Math.ceil(this.source.batchesPerEpoch / this.options.accumulate);
  }

  /** How many batches a step has, those of all ranks. */
  count(step: number): number {
    const { accumulate } = this.options;
    return Math.min(accumulate, this.source.batchesPerEpoch - (step % this.stepsPerEpoch) * accumulate);
  }

  /**
   * This rank's batches of a step, counted over the whole training, with what the augmentation draws for their samples.
   */
  async #of(step: number): Promise<Batch[]> {
    const { batchesPerEpoch } = this.source;
    const { accumulate, ranks = { rank: 0, size: 1 } } = this.options;
    const epoch = Math.floor(step / this.stepsPerEpoch);
    const first = (step % this.stepsPerEpoch) * accumulate;
    const batches: Batch[] = [];
    for (const index of ownShare(ranks, this.count(step)).map((own) => first + own))
      batches.push({
        ...(await this.source.batch(epoch, index)),
        draws: this.#draws(epoch * batchesPerEpoch + index),
      });
    return batches;
  }

  /** Begins to make the batches of a step that `take` will ask for. */
  prepare(step: number): void {
    this.#ahead = this.#ask(step);
  }

  /**
   * The batches of a step, of any once more; waits for the caller's code at a moment when the device is not used.
   * @param makeRoom frees memory for what that code asks of the device
   */
  async take(step: number, makeRoom: () => void): Promise<Batch[]> {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    if (ahead?.step === step) return ahead.wait(makeRoom);
    await ahead?.wait(makeRoom).catch(() => undefined); // it may be in the way of those that are asked for now
    return this.#ask(step).wait(makeRoom);
  }

  /** Waits for the batches of a step that `take` will be asked for. */
  async ready(step: number, makeRoom: () => void): Promise<void> {
    const batches = await this.take(step, makeRoom);
    this.#ahead = { step, wait: () => Promise.resolve(batches) };
  }

  #ask(step: number): Asked {
    const wait = this.asking();
    const batches = this.#of(step);
    batches.catch(() => undefined); // thrown when its turn comes
    return { step, wait: (makeRoom) => wait(batches, makeRoom) };
  }

  #draws(batch: number): Batch['draws'] {
    const { batchSize, size } = this.source;
    const { augmentation, seed, channels } = this.options;
    return (
      augmentation &&
      Array.from({ length: batchSize }, (_, sample) =>
        drawSample(augmentation, { size, channels, seed, position: batch * batchSize + sample }),
      )
    );
  }
}
