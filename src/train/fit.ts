/** What `fit` takes: batches, and how to train on them. */
import type { Ranks } from '../distributed/ranks.ts';
import type { LabelledVolume } from '../infer/evaluator.ts';
import type { Frozen } from '../model/freeze.ts';
import type { Loss } from '../model/losses.ts';
import type { Checkpointing } from '../model/plan-shape.ts';
import type { Size3 } from '../size.ts';
import type { Augmentation } from './augmentation.ts';
import type { CheckpointStore } from './checkpoint.ts';
import type { Optimizer } from './optimizers.ts';
import type { Schedule } from './schedules.ts';
import type { EarlyStopping } from './selection.ts';
import type { Batch } from './session.ts';
import type { ValidationCase } from './validation.ts';

/** Where batches come from. The same epoch and index always give the same batch. */
export interface BatchSource {
  /** x, y, z of what the network sees of every batch; multiples of the network's. */
  readonly size: Size3;
  /** Voxels that batches reach beyond it on both sides, for the augmentation to draw from; x in fours. Default: none. */
  readonly margin?: Size3;
  /** Samples in a batch. */
  readonly batchSize: number;
  /** Batches in an epoch. */
  readonly batchesPerEpoch: number;
  /** The batch of that index in that epoch, both from 0. */
  batch(epoch: number, index: number): Batch | Promise<Batch>;
  /** What must be the same for a resumed run, such as the seed and the case ids. */
  readonly identity: unknown;
}

/** How a network is trained. */
export interface FitOptions {
  /** Passes over the training batches, those before a resume included. */
  readonly epochs: number;
  /** What is minimised. */
  readonly loss: Loss;
  /** How gradients change the weights. */
  readonly optimizer: Optimizer;
  /** Of the learning rate. */
  readonly schedule: Schedule;
  /** Cases for the validation at the end of each epoch. */
  readonly validation?: readonly ValidationCase[];
  /**
   * Validation cases larger than this are looked at through windows of this size: through all that cover a case side
   * by side where these are at most eight; else through eight, the same in each epoch, among them for each foreground
   * class one that holds much of it (more than eight only where the classes lie in more). A case's Dice is that of all
   * voxels in its windows together, its loss the mean of theirs. Default: the size of patches, where `UNet3D.fit` cuts
   * them; else whole cases, or where these exceed the memory budget, the size that is trained on.
   */
  readonly validationWindow?: Size3 | undefined;
  /** Largest global gradient norm. */
  readonly maxGradientNorm?: number;
  /**
   * Part of the network whose weights stay as they are, to the bit: `encoder`, for fine-tuning on few cases. It costs no
   * gradients and no memory for them. Its batch norms use their running statistics and leave them alone, as PyTorch's
   * do in `eval()` with `requires_grad_(False)`. Default: all is trained.
   */
  readonly freeze?: Frozen;
  /** Keep the weights of the epoch with the best smoothed mean foreground Dice (default with validation). */
  readonly keepBest?: boolean;
  /** Stop where the validation no longer gets better. */
  readonly earlyStopping?: EarlyStopping | undefined;
  /**
   * Keep a running average of the weights, and validate and save it in their place. Batch norm's running statistics
   * are averaged with them. The decay rises from 0.1 as (1 + n) / (10 + n), n steps having been applied before, up to the
   * one given, such as 0.999.
   */
  readonly ema?: { readonly decay: number };
  /**
   * What happens after a step whose loss or gradients are NaN or infinite: training stops (default), or goes on without
   * it, up to 10 such steps in a row. Such a step changes nothing, whichever of its batches it was: weights, running
   * statistics, moments, averages and the count of applied steps stay as they were before it. (With PyTorch's scaler the
   * running statistics would have moved.) Only the schedule goes on. In float16, a step whose gradients overflow with a
   * finite loss is always left out; it also halves the loss scale, and does not count towards the 10.
   */
  readonly onNotFinite?: 'stop' | 'skip';
  /** Batches whose gradients are averaged for one step; batch norm's statistics are those of each batch. Default 1. */
  readonly accumulate?: number;
  /**
   * Computes outputs of layers again in the backward pass instead of keeping them: `true` for as little memory as is
   * worth the work, about a tenth more, or names such as `encoder.0.conv2`. The same bits. Default: only what is
   * nearly free.
   */
  readonly checkpointing?: Checkpointing;
  /** Of the training batches, on the GPU. Default: none. */
  readonly augmentation?: Augmentation | undefined;
  /** Of the augmentation. Default 0. */
  readonly seed?: number;
  /**
   * Measure kernels on the device before the first step and use the fastest; choices are kept for other runs. Default:
   * on GPUs, not on software adapters. A resumed training goes on with the kernels of its checkpoint.
   */
  readonly tune?: boolean;
  /** A case to segment after every epoch, through windows as the validation, for `preview` events. */
  readonly preview?: (LabelledVolume & { readonly id: string }) | undefined;
  /**
   * Looked at between steps; training then saves a checkpoint (if it has a store) and throws `Aborted`. Where it has fired
   * before the first step, nothing is changed or saved.
   */
  readonly signal?: AbortSignal;
  /** Where checkpoints are kept. Default: none are written. */
  readonly checkpoint?: CheckpointStore;
  /** Go on from the store's checkpoint, if there is one. */
  readonly resume?: boolean;
  /**
   * Processes that train together, each with its own model: the batches of a step (`accumulate` of them) are shared out
   * among them, gradients added up, and every process makes the same update. All are called with the same options and
   * data. Losses are those of one process, but for the order of sums (1e-6 relative); equal numbers of ranks give equal
   * bits. Cases of the validation are shared out, too; only rank 0 saves checkpoints. Default: this process alone.
   */
  readonly ranks?: Ranks | undefined;
}
