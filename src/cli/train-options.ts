/** The options of `train`, as its command line gives them. */
import type { Precision } from '../gpu/precision.ts';
import type { HeadsChoice } from '../weights/take-over.ts';
import type { Frozen } from '../model/freeze.ts';
import type { Concession } from '../model/concessions.ts';
import type { Checkpointing } from '../model/plan-shape.ts';
import type { InitialWeights } from '../model/parameters.ts';
import type { Axis, Size3 } from '../size.ts';
import type { DatasetArguments, SplitArguments } from './dataset-options.ts';
import type { GpuArguments } from './gpu.ts';
import type { NetworkOptions } from './network-options.ts';
import { nnunetPresets } from './planned.ts';
import type {
  augmentationNames,
  lossNames,
  OneCycleOptions,
  optimizerNames,
  PreprocessingName,
  scheduleNames,
} from './recipe.ts';

/** Recipes by name: defaults of other options. */
export const presetNames = ['pelvis-mr', ...nnunetPresets] as const;

export interface TrainOptions
  extends DatasetArguments, SplitArguments, GpuArguments, Omit<NetworkOptions, 'features'>, OneCycleOptions {
  /** Absent where a planner decides. */
  readonly features?: readonly number[] | undefined;
  readonly out: string;
  /** Numbers of folds, or `all`. */
  readonly folds?: readonly string[] | undefined;
  readonly decideFrom?: 'train' | 'all';
  readonly preset?: (typeof presetNames)[number];
  readonly init?: string;
  readonly configuration?: string;
  /** Of several in `init`. */
  readonly initFold?: string | undefined;
  readonly initHeads?: HeadsChoice;
  readonly initialWeights: InitialWeights;
  readonly freeze?: Frozen;
  readonly epochs?: number;
  /** Absent where a planner decides. */
  readonly batchSize?: number | undefined;
  readonly classes?: number;
  readonly classNames?: readonly string[];
  readonly patch?: Size3 | 'whole';
  readonly placement: 'random' | 'centre';
  readonly oversample: number;
  readonly oversampling: 'chance' | 'places';
  readonly order: 'passes' | 'draws';
  readonly stepsPerEpoch?: number;
  readonly preprocessing: PreprocessingName;
  readonly spacing?: Size3 | 'median' | 'own';
  readonly loss: (typeof lossNames)[number];
  readonly classWeights?: readonly number[];
  readonly optimizer: (typeof optimizerNames)[number];
  readonly schedule: (typeof scheduleNames)[number];
  readonly learningRate: number;
  readonly clip?: number;
  readonly ema?: number;
  readonly earlyStopping?: number;
  readonly onNotFinite: 'stop' | 'skip';
  readonly memory?: number;
  readonly augment: (typeof augmentationNames)[number];
  readonly mirror?: readonly Axis[] | 'none';
  readonly precision: Precision;
  readonly checkpointing?: Checkpointing;
  readonly accumulate: number;
  readonly concede: 'auto' | readonly Concession[];
  readonly postprocess: boolean;
  readonly tune?: boolean;
  readonly tta?: boolean;
  readonly cache: number;
  readonly allowDuplicates?: boolean;
  readonly overwrite?: boolean;
  readonly resume?: boolean;
  /** Go on if there is something to go on with, else begin; as the training began, whatever is given now. */
  readonly continue?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}
