/** What `predict` asks of a model, whatever kind it is of. */
import type { FileEntry } from '../data/case.ts';
import type { Precision } from '../gpu/precision.ts';
import type { PredictOutput } from '../infer/predict.ts';
import type { Uncertainty } from '../infer/uncertainty.ts';
import type { WindowProgress } from '../infer/window.ts';
import type { Axis, Size3 } from '../size.ts';
import type { Zoom } from '../interop/totalsegmentator.ts';
import { gpuWishes, type GpuArguments } from './gpu.ts';

export interface PredictOptions extends GpuArguments {
  readonly output: PredictOutput;
  readonly overlap: number;
  readonly window?: readonly [number, number, number];
  readonly tta?: boolean;
  readonly mirrorAxes?: readonly Axis[];
  readonly postprocess: boolean;
  readonly uncertainty?: boolean;
  readonly memory?: number;
  readonly precision?: Precision;
  readonly folds?: readonly string[];
  readonly checkpoint?: string;
  readonly configuration?: string;
  readonly step?: number;
  readonly mirror: boolean;
  /** A file, or a folder with one for each volume. */
  readonly previousStage?: string;
  readonly pipeline?: 'totalsegmentator';
  readonly zoom?: Zoom;
}

/** A model as it was found, before a GPU is looked for. */
export interface FoundModel {
  /** Files that belong together for one volume. */
  readonly inChannels: number;
  /** Their names in order; empty where the model does not tell. */
  readonly channels: readonly string[];
  /** Files that no result may replace. */
  readonly files: readonly string[];
  /** Those that its results depend on, where these are not all. */
  readonly parts?: readonly string[];
  /** What the user should know, one sentence each. */
  readonly notes: readonly string[];
  /** Opens it on the GPU. */
  open(): Promise<OpenModel>;
}

export interface OpenModel {
  /** Of the windows, where they are known beforehand. */
  readonly window: Size3 | undefined;
  /** Bytes that a volume takes at most beside the GPU, and what for; where that is known beforehand. */
  memoryOf?(files: readonly string[]): Promise<{ readonly bytes: number; readonly text?: string }>;
  predict(
    files: readonly string[],
    more: {
      readonly signal: AbortSignal;
      readonly onProgress: (progress: WindowProgress) => void;
      /** Of a cascade: the file with the labels of its first network. */
      readonly previousStage?: string | undefined;
    },
  ): Promise<{
    readonly warnings: readonly string[];
    readonly uncertainty?: Uncertainty | undefined;
    toNifti(options: { readonly gzip: boolean }): Promise<Uint8Array>;
  }>;
  dispose(): void;
}

/** What may be a model of another tool: the files of a folder or an archive. */
export interface OthersFiles {
  /** Within, with `/`. */
  readonly paths: readonly { readonly path: string }[];
  /** As the functions that open models take them. */
  readonly given: readonly FileEntry[] | string;
  /** Files that no result may replace. */
  readonly onDisk: readonly string[];
}

/** Of files on the disk those that are parts of a model; an archive is one as a whole. */
export function partsOnDisk(
  { paths, onDisk }: OthersFiles,
  isPart: (file: { readonly path: string }) => boolean,
): readonly string[] {
  return onDisk.length === paths.length ? onDisk.filter((_, at) => isPart(paths[at]!)) : onDisk;
}

export const deviceOf = ({ memory, precision, ...options }: PredictOptions) => ({
  ...(memory === undefined ? {} : { memoryBudget: memory }),
  ...(precision && { precision }),
  ...gpuWishes(options),
});
