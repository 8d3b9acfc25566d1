/**
 * `UNet3D` for pages: the same methods, with the network, its GPU device and all work in a worker. Results arrive
 * by transfer; what is given is copied, or moved with `transfer: true`.
 */
import type { Source } from '../data/source.ts';
import { DeviceLost } from '../errors.ts';
import type { Plan, PlanLimits } from '../gpu/plan.ts';
import type { Precision } from '../gpu/precision.ts';
import type { Size3 } from '../size.ts';
import type { CaseScore, DenseCase } from '../infer/evaluator.ts';
import type { SegmentOptions } from '../infer/inference.ts';
import { Segmentation, type PredictOptions } from '../infer/predict.ts';
import type { ProbabilityOptions } from '../infer/probabilities.ts';
import type { WindowProgress } from '../infer/window.ts';
import type { PostprocessingChoice } from '../metrics/components.ts';
import {
  batchSource,
  caseList,
  describeEntries,
  evaluateEntries,
  planEntries,
  predictEntries,
  probabilityEntries,
  segmentEntries,
  takeEntries,
  workerCreateEntries,
  workerEntries,
  workerTrainingEntries,
} from '../call-options.ts';
import { assertOptions, assertValue } from '../options.ts';
import { paddedSize } from '../model/sizes.ts';
import type { UNet3DConfig } from '../model/config.ts';
import { planTraining } from '../model/plan.ts';
import { summarise } from '../model/summary.ts';
import type {
  CreateOptions,
  EvaluateOptions,
  LabelledCase,
  TakeOptions,
  TrainingOptions,
  UNet3D as Local,
} from '../unet3d.ts';
import type { TrainingEvent, TrainingResult, TrainingRun } from '../train/events.ts';
import type { BatchSource } from '../train/fit.ts';
import { startRun } from '../train/run.ts';
import { lossOfHeads, lossShape, weightedDice, type Loss } from '../model/losses.ts';
import { adam } from '../train/optimizers.ts';
import { Connection } from './connection.ts';
import { buffersOf, toPlainSource, withoutFiles, type ModelFacts, type Question } from './protocol.ts';
import type { PlainFit, PlainTraining } from './thread.ts';

/** Which worker a model lives in, and in how much memory. */
export interface WorkerOptions {
  /**
   * A worker made by the caller from `unet3d-gpu/worker/thread`, for bundlers that must see it made; it serves one
   * model at a time and is not ended by `dispose`. By default the package starts its own.
   */
  readonly worker?: Worker;
  /** Lower limits than the device's. */
  readonly limits?: Partial<PlanLimits>;
  /** Bytes that a plan may take on the GPU. Default: as for the local model. */
  readonly memoryBudget?: number;
  /** How volumes are stored. Default `f32`. */
  readonly precision?: Precision;
  /** Whether convolutions may run on matrix units. Default: as for the local model. */
  readonly matrixUnits?: boolean;
}

/** The network, its seed, and the worker it is made in. */
export type WorkerCreateOptions = Omit<CreateOptions, 'device'> & WorkerOptions;

/** How `UNet3D.fit` trains in a worker. */
export interface WorkerTrainingOptions extends Omit<TrainingOptions, 'through' | 'ranks'> {
  /** Move the cases, or the batches that one's own source makes, to the worker; the caller's arrays are then empty. Default: copy. */
  readonly transfer?: boolean;
}

type PlainSegmentation = Pick<
  Segmentation,
  'labels' | 'probabilities' | 'logits' | 'warnings' | 'uncertainty'
>;

/** A network in a worker. Methods reject with `DeviceLost` when the worker dies, and as the local ones do. */
export class UNet3D {
  readonly #connection: Connection;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** A network with seeded initial weights, in a worker. @throws as the local `create`; DeviceLost without a worker */
  static async create(given: WorkerCreateOptions): Promise<UNet3D> {
    assertOptions('UNet3D.create', workerCreateEntries, given);
    const { worker, ...options } = given;
    return UNet3D.#open(worker, (connection) => connection.call('create', [options]));
  }

  /**
   * A saved network, in a worker.
   * @param model model.safetensors as a File or Blob, which the worker reads as far as it goes, or its address; or its
   *   content, which is copied
   */
  static async load(model: Uint8Array | Blob | URL, given: WorkerOptions = {}): Promise<UNet3D> {
    assertOptions('UNet3D.load', workerEntries, given);
    const { worker, ...options } = given;
    return UNet3D.#open(worker, (connection) => connection.call('load', [toPlainSource(model), options]));
  }

  static async #open(
    worker: Worker | undefined,
    start: (connection: Connection) => Promise<unknown>,
  ): Promise<UNet3D> {
    const connection = new Connection(worker);
    try {
      await start(connection);
    } catch (error) {
      connection.close();
      throw error;
    }
    return new UNet3D(connection);
  }

  get #facts(): ModelFacts {
    const { facts } = this.#connection;
    if (!facts) throw new DeviceLost('the worker has not described its model: make a new one');
    return facts;
  }

  /** The network, with all defaults filled in. */
  get config(): UNet3DConfig {
    return this.#facts.config;
  }

  /** Label names, channel names, preprocessing and training size, as they are saved with the model. */
  get description(): Local['description'] {
    return this.#facts.description;
  }

  /** Adds to what is saved with the model. */
  async describe(more: Partial<Local['description']>): Promise<void> {
    assertOptions('describe', describeEntries, more);
    await this.#connection.call('describe', [more]);
  }

  /** Takes over the weights of a saved network but for heads that do not fit; gives back the heads that begin anew. */
  async takeWeights(bytes: Uint8Array, options: TakeOptions = {}): Promise<readonly string[]> {
    assertOptions('takeWeights', takeEntries, options);
    return this.#connection.call('takeWeights', [bytes, options]);
  }

  /** The adapter in one line. */
  get adapter(): string {
    return this.#facts.adapter;
  }

  /** What plans respect on the worker's device. */
  get limits(): PlanLimits {
    return this.#facts.limits;
  }

  /**
   * Trains as the local `fit` does, with the same options and events. A checkpoint store stays on the page: its
   * bytes come over by transfer. With one, a lost device is replaced and training goes on by itself.
   */
  fit(training: readonly LabelledCase[] | BatchSource, options: WorkerTrainingOptions = {}): TrainingRun {
    const { onEvent } = (options as WorkerTrainingOptions | null) ?? {};
    // Sent at once, so that calls that follow come after it.
    return startRun(async (emit: (event: TrainingEvent) => void) => {
      assertOptions('fit', workerTrainingEntries, options);
      assertValue('fit', Array.isArray(training) ? caseList : batchSource, training);
      return this.#train(training, options, emit);
    }, onEvent);
  }

  #train(
    training: readonly LabelledCase[] | BatchSource,
    { signal, checkpoint, onEvent: _, transfer = false, ...rest }: WorkerTrainingOptions,
    emit: (event: TrainingEvent) => void,
  ): Promise<TrainingResult> {
    const source = 'batchesPerEpoch' in training ? training : undefined;
    const plain: PlainTraining = source
      ? {
          size: source.size,
          ...(source.margin && { margin: source.margin }),
          batchSize: source.batchSize,
          batchesPerEpoch: source.batchesPerEpoch,
          identity: source.identity,
        }
      : withoutFiles(training as readonly LabelledCase[]);
    const { validation, preview } = rest;
    const settings: PlainFit = {
      ...rest,
      ...(validation && { validation: withoutFiles(validation) }),
      ...(preview && { preview: withoutFiles(preview) }),
      hasCheckpoint: checkpoint !== undefined,
    };
    let held: Promise<Disposable | undefined> | undefined;
    let saving: Promise<void> | undefined;
    const answer = async (what: Question, args: readonly unknown[]): Promise<unknown> => {
      if (what === 'batch') return source?.batch(args[0] as number, args[1] as number);
      if (what === 'holdCheckpoint') {
        held = Promise.resolve(checkpoint?.hold?.());
        await held;
        return undefined;
      }
      if (what === 'loadCheckpoint') return checkpoint?.load(args[0] as string);
      saving = checkpoint?.save(args[0] as string, args[1] as Uint8Array<ArrayBuffer>);
      return saving;
    };
    const result: Promise<TrainingResult> = this.#connection.call('fit', [plain, settings], {
      signal,
      answer,
      transfer: transfer ? buffersOf([plain, settings.validation, settings.preview]) : [],
      movesBatches: transfer,
      onEvent: (event) => emit(event as TrainingEvent),
    });
    // Also a store that is held, or written, only when the call has ended, as by a worker that died meanwhile.
    const letGo = async (): Promise<void> => {
      const [lock] = await Promise.allSettled([held, saving]);
      if (lock.status === 'fulfilled') lock.value?.[Symbol.dispose]();
    };
    return result.finally(() => void letGo());
  }

  /** Loss, Dice and prediction of each case. */
  async evaluate(cases: readonly LabelledCase[], options: EvaluateOptions = {}): Promise<CaseScore[]> {
    assertOptions('evaluate', evaluateEntries, options);
    const { signal, ...rest } = options;
    return this.#connection.call('evaluate', [withoutFiles(cases), rest], { signal });
  }

  /** Decides on validation cases which classes keep their largest component only, and adopts that. */
  async choosePostprocessing(
    validation: readonly LabelledCase[],
    options: ProbabilityOptions = {},
  ): Promise<PostprocessingChoice> {
    assertOptions('choosePostprocessing', probabilityEntries, options);
    const { signal, onProgress, ...rest } = options;
    return this.#connection.call('choosePostprocessing', [withoutFiles(validation), rest], {
      signal,
      onEvent: (event) => onProgress?.(event as WindowProgress),
    });
  }

  /** Logits [class][z][y][x] of a prepared volume [channel][z][y][x]. */
  async logits(volume: DenseCase, options: SegmentOptions = {}): Promise<Float32Array<ArrayBuffer>> {
    assertOptions('logits', segmentEntries, options);
    const { signal, onProgress, ...rest } = options;
    return this.#connection.call('logits', [withoutFiles(volume), rest], {
      signal,
      onEvent: (event) => onProgress?.(event as WindowProgress),
    });
  }

  /** Segments one volume: a File, Blob, URL or bytes, or one of these per channel. */
  async predict(sources: Source | readonly Source[], options: PredictOptions = {}): Promise<Segmentation> {
    assertOptions('predict', predictEntries, options);
    const { signal, onProgress, ...rest } = options;
    const files = (Array.isArray(sources) ? sources : [sources]) as readonly Source[];
    const plainSources = files.map(toPlainSource);
    const { labels, probabilities, logits, warnings, uncertainty } =
      await this.#connection.call<PlainSegmentation>('predict', [plainSources, rest], {
        signal,
        onEvent: (event) => onProgress?.(event as WindowProgress),
      });
    return new Segmentation(labels, probabilities, logits, warnings, uncertainty);
  }

  /** The bytes of model.safetensors. */
  save(): Promise<Uint8Array<ArrayBuffer>> {
    return this.#connection.call('save', []);
  }

  /** The plan of a training step for the worker's device, made here without it. */
  plan(given: { size: Size3; batch?: number; loss?: Loss }): Plan {
    assertOptions('plan', planEntries, given);
    const { size, batch = 2, loss = weightedDice() } = given;
    const { config, description, limits, precision } = this.#facts;
    const shape = { config, size: paddedSize(config, size), batch, limits, precision };
    const ofHeads = lossShape(lossOfHeads(loss, description.regions), config.classes);
    return planTraining({ ...shape, loss: ofHeads, optimizer: adam() }).plan;
  }

  /** The plan of a training step as text. */
  summary(shape: { size: Size3; batch?: number }): string {
    const plan = this.plan(shape);
    const size = paddedSize(this.config, shape.size);
    return summarise(this.config, plan, { size, batch: shape.batch ?? 2 });
  }

  /** Frees everything on the GPU and ends the worker, unless the caller made it. Pending calls are rejected. */
  dispose(): void {
    this.#connection.close();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
