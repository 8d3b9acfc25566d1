/** A training from the command line, as its stages hand it on. */
import type { PatchBatches } from '../data/patches.ts';
import type { Preprocessing } from '../data/preprocessing.ts';
import type { UNet3D } from '../unet3d.ts';
import { begunWith, type Begun } from './begun-with.ts';
import { version } from '../version.ts';
import type { InitModel } from './init-model.ts';
import type { HistoryWriter } from './history-writer.ts';
import type { Io } from './io.ts';
import type { OpenedData } from './open-data.ts';
import type { PlannedTraining } from './planned.ts';
import type { CommandRanks } from './ranks.ts';
import type { FileHashes, Stopwatch } from './provenance.ts';
import type { RunFolder } from './run-folder.ts';
import type { TrainOptions } from './train-options.ts';
import { protocolOf, type Settings } from './train-settings.ts';

export interface RunDetails {
  /** Stored in config.json for --resume. */
  readonly kept: unknown;
  /** The command that repeats the run. */
  readonly command: string;
  /** What was decided from the data when the run that is resumed began. */
  readonly decisions?: readonly string[] | undefined;
  /** How cases were prepared then. */
  readonly preprocessing?: Preprocessing | undefined;
  /** What they held, then or when others began that it belongs with. */
  readonly begun?: readonly Begun[] | undefined;
  /** Called before the first step, when nothing of the options was refused. */
  readonly onStart?: (() => Promise<void>) | undefined;
  /** The model that the training goes on from. */
  readonly init?: InitModel | undefined;
  /** Processes that train together with this one. */
  readonly ranks: CommandRanks | undefined;
}

/** A training whose data have been read and whose model is on the GPU. */
export interface Job extends OpenedData {
  readonly io: Io;
  readonly folder: RunFolder;
  readonly options: TrainOptions;
  readonly details: RunDetails;
  readonly model: UNet3D;
  /** What nnU-Net's planner has found, with a preset of its. */
  readonly planned: PlannedTraining | undefined;
  readonly history: HistoryWriter;
  /** Of the files, as they are read. */
  readonly hashes: FileHashes;
  readonly clock: Stopwatch;
}

/** The content of config.json. */
export function configOf(job: Job, settings: Settings, source: PatchBatches) {
  const { options, details, data, model } = job;
  const { epochs, patch, wish, loss, optimizer, schedule, augmentation } = settings;
  const { precision = 'f32', checkpointing = false, accumulate = 1 } = wish;
  const reasons = details.decisions ?? settings.reasons;
  return {
    version,
    command: details.command,
    network: model.config,
    training: {
      epochs,
      batchSize: wish.batch,
      accumulate,
      precision,
      checkpointing,
      size: source.size,
      patch: patch ?? null,
      ...(patch && { placement: options.placement }),
      ...(source.margin.some((n) => n > 0) && { margin: source.margin }),
      loss,
      optimizer,
      schedule,
      augmentation: augmentation ?? null,
      seed: options.seed,
      ...(details.init && { init: details.init.file }),
      ...protocolOf(options),
    },
    preprocessing: data.preprocessing,
    ...(details.init && { mirrorAxes: details.init.description.mirrorAxes }),
    ...(reasons.length > 0 && { decisions: reasons }),
    ...begunWith(job),
    adapter: model.adapter,
    arguments: details.kept,
  };
}
