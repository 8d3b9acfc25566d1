/** What training tells while it runs and at its end. */
import type { CaseScore } from '../infer/evaluator.ts';
import type { Concession } from '../model/concessions.ts';
import type { Frozen } from '../model/freeze.ts';
import type { Weights } from '../model/state.ts';
import type { Run } from './run.ts';

/** One line of history.csv. */
export interface EpochRow {
  /** From 0. */
  readonly epoch: number;
  /** Mean training loss. */
  readonly loss: number;
  /** Mean validation loss; NaN without validation. */
  readonly validationLoss: number;
  /** Mean Dice per class over the validation cases, background first; empty without validation. */
  readonly validationDice: readonly number[];
  /** Running average of the mean foreground Dice, by which the best epoch is chosen; NaN without validation. */
  readonly smoothedDice: number;
  /** Of the epoch's last step. */
  readonly learningRate: number;
  /** Seconds that the epoch took. */
  readonly seconds: number;
}

/** What happens in a training, as `onEvent` and iterators get it; told apart by `type`. */
export type TrainingEvent =
  /** The step as wished exceeds the memory budget; this was given up, by the caller's leave. */
  | {
      readonly type: 'concessions';
      readonly taken: readonly Concession[];
      readonly budget: number;
      /** What runs instead, in words. */
      readonly step: string;
    }
  | {
      readonly type: 'start';
      readonly epochs: number;
      readonly stepsPerEpoch: number;
      /** Bytes that the plan and the shared buffers take on the GPU. */
      readonly gpuBytes: number;
      /** What computes, in words, and whether it is a software adapter: a program on the CPU, far slower than a GPU. */
      readonly adapter: string;
      readonly software: boolean;
      /** Step that training begins with; more than 0 after a resume. */
      readonly step: number;
      /** Epochs that were done before. */
      readonly history: readonly EpochRow[];
      /** Heads that begin anew, such as `head`, where weights were taken over from another model; else absent. */
      readonly anew?: readonly string[];
      /** Part of the network that is not trained, if there is one. */
      readonly freeze?: Frozen;
      /** Processes that share the batches of each step, where there are several. */
      readonly ranks?: number;
    }
  | {
      readonly type: 'step';
      readonly epoch: number;
      readonly step: number;
      readonly totalSteps: number;
      readonly loss: number;
      readonly dice: readonly number[];
      readonly learningRate: number;
      readonly gradientNorm: number;
      readonly etaMs: number;
    }
  /**
   * A step that was not finite and changed nothing. Where it `overflowed`, gradients times the loss scale exceeded
   * float16, and the scale is halved; else it was left out as `onNotFinite: 'skip'` asks.
   */
  | {
      readonly type: 'skip';
      readonly epoch: number;
      readonly step: number;
      readonly overflowed: boolean;
      readonly lossScale: number;
    }
  | { readonly type: 'validation'; readonly epoch: number; readonly loaded: number; readonly total: number }
  | { readonly type: 'epoch'; readonly row: EpochRow; readonly best: boolean; readonly etaMs: number }
  /** The case given as `preview` as the network segments it after the epoch. */
  | { readonly type: 'preview'; readonly epoch: number; readonly score: CaseScore }
  | { readonly type: 'checkpoint'; readonly step: number }
  /** Kernels are measured for `passes` convolution shapes that the cache does not know, `done` of them by now. */
  | { readonly type: 'tuning'; readonly done: number; readonly passes: number }
  /** What was chosen, from the cache or by measuring. */
  | {
      readonly type: 'tuned';
      /** Kernels by the key of a shape, where they are not the adapter's default. */
      readonly choices: Readonly<Record<string, string>>;
      /** Shapes in all; those that were measured now; those for which there was no time, which keep the default. */
      readonly passes: number;
      readonly measured: number;
      readonly left: number;
      readonly seconds: number;
    }
  /** Something the user should know, though training goes on. */
  | { readonly type: 'warning'; readonly message: string }
  /** The GPU was lost and opened again; training goes on from the last checkpoint. */
  | { readonly type: 'recovered'; readonly message: string }
  /** What adding up gradients with the other ranks has taken, at the end of a training of several. */
  | {
      readonly type: 'exchange';
      readonly steps: number;
      /** Of the gradients of one step. */
      readonly bytes: number;
      /** Of all steps: with sums under way; of that, while the GPU was still computing gradients. */
      readonly milliseconds: number;
      readonly hidden: number;
    }
  | { readonly type: 'end'; readonly result: TrainingResult };

/** What a training has come to. */
export interface TrainingResult {
  /** One row for each epoch. */
  readonly history: readonly EpochRow[];
  /** Epoch whose weights were kept: the best smoothed validation Dice, or the last. */
  readonly bestEpoch: number;
  /** Mean foreground Dice of that epoch. */
  readonly bestDice: number;
  /** Validation stopped getting better before the last epoch. */
  readonly stoppedEarly: boolean;
  /** Optimiser steps, those before a resume included. */
  readonly steps: number;
  /** Seconds of training, those before a resume included. */
  readonly seconds: number;
}

/** A running training: `await` it for the result, or iterate over its events. */
export type TrainingRun = Run<TrainingEvent, TrainingResult>;

/** Weights with where they come from. */
export interface BestWeights {
  readonly weights: Weights;
  readonly epoch: number;
  readonly dice: number;
}
