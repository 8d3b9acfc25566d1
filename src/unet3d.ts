/** The model that users hold: create or load it, train it, evaluate it, segment with it, save it. */
import type { Preprocessing, PreparedCase } from './data/prepare.ts';
import type { Source } from './data/source.ts';
import { requireClasses } from './data/prepare-checks.ts';
import { casesInMemory, commonShape, trainingBatches, type BatchOptions } from './data/patches.ts';
import { Aborted, InvalidDataset, InvalidOption } from './errors.ts';
import { Gpu } from './gpu/device.ts';
import type { Plan, PlanLimits, Precision, Size3 } from './gpu/plan.ts';
import { Evaluator, type CaseScore, type DenseCase } from './infer/evaluator.ts';
import { Inference, notFinite, type SegmentOptions } from './infer/inference.ts';
import {
  assertPredictOptions,
  readSources,
  segmentVolumes,
  type PredictOptions,
  type Segmentation,
} from './infer/predict.ts';
import {
  argmax,
  mirrorings,
  segmentProbabilities,
  type MirrorOptions,
  type ProbabilityOptions,
} from './infer/probabilities.ts';
import { tiles } from './infer/window.ts';
import {
  choosePostprocessing,
  componentDice,
  postprocessed,
  type ComponentDice,
  type Postprocessing,
  type PostprocessingChoice,
} from './metrics/components.ts';
import { dice } from './metrics/dice.ts';
import { assertAugmentation, augmentationMargin } from './train/augmentation.ts';
import type { TrainingEvent, TrainingResult, TrainingRun } from './train/events.ts';
import { startRun } from './train/run.ts';
import type { BatchSource, FitOptions } from './train/fit.ts';
import { fitThroughLosses, type Trainee } from './train/recovery.ts';
import { lossShape, weightedDice, type Loss } from './model/losses.ts';
import { adam } from './train/optimizers.ts';
import { oneCycle } from './train/schedules.ts';
import { assertOptions, assertValue, shown } from './options.ts';
import {
  batchSource,
  caseList,
  createEntries,
  describeEntries,
  deviceEntries,
  evaluateEntries,
  planEntries,
  predictEntries,
  preparedCase,
  probabilityEntries,
  segmentEntries,
  trainingEntries,
} from './call-options.ts';
import { readModel, requireConsistent, writeModel } from './weights/model-file.ts';
import { assertFits, defaultBudget, concede, describeWish, type Concession } from './model/budget.ts';
import { completeConfig, paddedSize, sizeMultiple, type UNet3DConfig } from './model/config.ts';
import { planTraining } from './model/plan.ts';
import { ModelState } from './model/state.ts';
import { summarise } from './model/summary.ts';
import { Turns } from './model/turns.ts';

export interface DeviceOptions {
  /** A device of the caller's: used as it is, never destroyed. */
  readonly device?: GPUDevice;
  /** Lower limits than the device's, for tests and shared machines. */
  readonly limits?: Partial<PlanLimits>;
  /**
   * Bytes that a plan may take on the GPU. Default: four fifths of the device's memory where it tells, else 4 GiB, on
   * software adapters 8 GiB.
   */
  readonly memoryBudget?: number;
  /**
   * How volumes are stored: `f16` takes half the memory, natively or packed. Arithmetic, weights, statistics and
   * losses are float32 either way. Default `f32`.
   */
  readonly precision?: Precision;
}

/**
 * What a network is made of; all but `inChannels` and `classes` have defaults: features 16, 32, 64, 128, batch norm,
 * ReLU, no deep supervision, strides of 2. (The command line's `train` takes features 8, 16, 32, 64 and instance norm.)
 */
export interface CreateOptions extends Partial<UNet3DConfig>, DeviceOptions {
  readonly inChannels: number;
  readonly classes: number;
  /** Of the initial weights. Default 0. */
  readonly seed?: number;
  /** Names by label value, background first. Default: none. */
  readonly labels?: readonly string[];
  /** Names of the input channels. Default: none. */
  readonly channels?: readonly string[];
  /** What `predict` does to a volume first, as training did. Default: canonical axes, own spacing, z-score. */
  readonly preprocessing?: Preprocessing;
}

/** One entry for each option. */
type Entries<Options> = Readonly<Record<keyof Options, unknown>>;

/** A case with its truth, in memory: what `prepareCase` gives for a case with a label. */
export type LabelledCase = PreparedCase & { readonly label: Uint8Array };

function assertLabelled(
  cases: readonly PreparedCase[],
  { classes }: UNet3DConfig,
  { labels }: Description,
): asserts cases is readonly LabelledCase[] {
  for (const { id, label } of cases) {
    if (!label) throw new InvalidDataset(`Case "${id}" has no label; training and evaluation need one.`);
    requireClasses(`Case "${id}"`, label, classes, labels);
  }
}

export interface TrainingOptions
  extends Partial<Omit<FitOptions, 'validation' | 'preview'>>, Pick<BatchOptions, 'patch' | 'oversample'> {
  /** Volumes or patches per step. Default 2. */
  readonly batchSize?: number;
  /** Of the order of the cases, the places of patches and the augmentation. Default 0. */
  readonly seed?: number;
  /** Cases for the end of each epoch. Default: none; then the last weights are kept. */
  readonly validation?: readonly PreparedCase[];
  /** A case to segment after every epoch, for `preview` events. */
  readonly preview?: PreparedCase | undefined;
  /**
   * What may be given up where the step exceeds the memory budget, in the order float16, checkpointing,
   * accumulation, patches; `'auto'` for any. What is given up is told by an event. Default: checkpointing, which
   * changes no bit; `[]` for nothing.
   * Batches of the caller's own are neither divided nor cut.
   */
  readonly concessions?: 'auto' | readonly Concession[];
  /** In which volumes are stored during this training. Default: the model's. */
  readonly precision?: Precision;
  /** Stands between the batches and the training: what it gives is trained on. It may not wait for calls of the model. */
  readonly through?: (source: BatchSource) => BatchSource;
  /** Called with each event, besides the iteration. */
  readonly onEvent?: (event: TrainingEvent) => void;
}

export interface EvaluateOptions extends MirrorOptions {
  /** Default: weighted Dice with equal weights. */
  readonly loss?: Loss;
  /** Whether labels are cleaned as validation chose it for this model. Default true. */
  readonly postprocess?: boolean;
  readonly signal?: AbortSignal;
}

interface Description {
  readonly labels: readonly string[];
  readonly channels: readonly string[];
  readonly preprocessing?: Preprocessing | undefined;
  readonly postprocessing?: Postprocessing | undefined;
  readonly inputSize?: Size3 | undefined;
}

/**
 * A network on a GPU. Its calls take turns in the order they came, so that several may be on their way at once: each
 * gives what it would if they had been awaited one by one.
 */
export class UNet3D {
  #state: ModelState;
  /** As the call that has its turn finds it, and what those that wait will add to it. */
  #description: Description;
  readonly #additions: Partial<Description>[] = [];
  readonly #turns = new Turns();
  #inference: Inference | undefined;
  #training = false;
  readonly #precision: Precision;
  readonly #budget: number;
  readonly #limits: Partial<PlanLimits> | undefined;

  private constructor(state: ModelState, description: Description, options: DeviceOptions) {
    this.#state = state;
    this.#description = description;
    this.#budget = options.memoryBudget ?? defaultBudget(state.gpu);
    this.#limits = options.limits;
    this.#precision = state.precision = options.precision ?? 'f32';
  }

  /**
   * A network with seeded initial weights on this platform's GPU, or on the device given.
   * @throws InvalidOption for options that are unknown or out of range; UnsupportedDevice without a GPU adapter
   */
  static async create(options: CreateOptions): Promise<UNet3D> {
    assertOptions('UNet3D.create', createEntries satisfies Entries<CreateOptions>, options);
    const { seed = 0, labels = [], channels = [], preprocessing } = options;
    const config = completeConfig(options);
    const description = { labels, channels, preprocessing };
    requireConsistent(
      { config, ...description },
      (problem) => new InvalidOption(`UNet3D.create: ${problem}`),
    );
    const gpu = await Gpu.open(options);
    return new UNet3D(new ModelState(gpu, config, seed), description, options);
  }

  /**
   * A saved network, with everything inference needs.
   * @param bytes the content of model.safetensors: in Node `await readFile(path)`
   * @throws InvalidModel for a file that is damaged, newer, or of another network; InvalidOption for what is not bytes
   *   and for unknown options; UnsupportedDevice without a GPU adapter
   */
  static async load(bytes: Uint8Array, options: DeviceOptions = {}): Promise<UNet3D> {
    assertOptions('UNet3D.load', deviceEntries satisfies Entries<DeviceOptions>, options);
    // Callers without types give a path, or the ArrayBuffer of a file.
    if (!ArrayBuffer.isView(bytes))
      throw new InvalidOption(
        `UNet3D.load takes the bytes of model.safetensors as a Uint8Array, not ${shown(bytes)}: give ` +
          '`await readFile(path)` (of fs/promises), or in a browser `new Uint8Array(await file.arrayBuffer())`',
      );
    const { description, weights } = await readModel(bytes);
    const gpu = await Gpu.open(options);
    const state = new ModelState(gpu, description.config, 0);
    state.writeWeights(weights);
    return new UNet3D(state, description, options);
  }

  get config(): UNet3DConfig {
    return this.#state.config;
  }

  /** Label names, channel names, preprocessing and training size, as they are saved with the model. */
  get description(): Description {
    return Object.assign({}, this.#description, ...this.#additions) as Description;
  }

  /** Adds to what is saved with the model. Calls that came before still find it as it was. */
  describe(more: Partial<Description>): void {
    assertOptions('describe', describeEntries satisfies Entries<Description>, more);
    this.#additions.push(more);
    const add = (): void => this.#describeNow(this.#additions.shift()!);
    this.#turns.take({ name: 'describe' }, add).catch(() => undefined); // after `dispose` nobody asks any more
  }

  /** Within a turn. */
  #describeNow(more: Partial<Description>): void {
    this.#description = { ...this.#description, ...more };
  }

  /** How this model's volumes are stored. */
  get precision(): Precision {
    return this.#precision;
  }

  /** The adapter in one line. */
  get adapter(): string {
    return this.#state.gpu.describe;
  }

  get gpu(): Gpu {
    return this.#state.gpu;
  }

  /**
   * Trains on cases in memory or on the caller's batches. Await it for the result, or iterate over its
   * events; the model then holds the best weights. Defaults: weighted Dice with equal weights, Adam,
   * OneCycle to 0.01, batch 2, whole volumes, 20 epochs. (The command line's `train` takes Dice with cross-entropy and
   * about 600 steps.) With a checkpoint store, a lost device (driver reset,
   * watchdog) that this model had opened is opened again, and training goes on from the last checkpoint.
   * Calls that come meanwhile have their turn when the run has ended, and find the trained network; only those that
   * come while the caller's own batches are made, and are waited for there, are answered between two steps.
   * The run rejects with what is below.
   * @throws InvalidOption for options that are unknown, out of range or contradict each other, and while this model is
   *   training already; InvalidDataset for cases without a label or with label values outside the classes; OutOfMemory
   *   if the step exceeds the budget or the GPU's memory; NotFinite; Aborted; DeviceLost; InvalidModel for a checkpoint
   *   that does not fit
   */
  fit(training: readonly PreparedCase[] | BatchSource, options: TrainingOptions = {}): TrainingRun {
    const { validation = [], preview, signal, onEvent } = (options as TrainingOptions | null) ?? {};
    return startRun(async (emit: (event: TrainingEvent) => void) => {
      assertOptions('fit', trainingEntries satisfies Entries<TrainingOptions>, options);
      assertValue('fit', Array.isArray(training) ? caseList : batchSource, training);
      if (options.augmentation) assertAugmentation(options.augmentation);
      if (this.gpu.disposed) throw this.gpu.lossError(); // one that is merely lost may be opened again
      if (!isBatchSource(training)) assertLabelled(training, this.config, this.description);
      const previews = preview ? [preview] : [];
      assertLabelled(validation, this.config, this.description);
      assertLabelled(previews, this.config, this.description);
      if (this.#training) throw new InvalidOption('this model is training: wait for the run, or abort it');
      this.#training = true;
      try {
        return await this.#turns.take({ name: 'training', signal }, () =>
          this.#train(training, { ...options, validation, preview: previews[0] }, emit),
        );
      } finally {
        this.#training = false;
      }
    }, onEvent);
  }

  /** Within a turn: what is given up for memory is settled, then steps are taken. */
  async #train(
    training: readonly PreparedCase[] | BatchSource,
    options: Omit<TrainingOptions, 'validation' | 'preview'> & Pick<FitOptions, 'validation' | 'preview'>,
    emit: (event: TrainingEvent) => void,
  ): Promise<TrainingResult> {
    const {
      batchSize = 2,
      seed = 0,
      concessions = ['checkpointing'],
      patch,
      oversample,
      through,
      ...rest
    } = options;
    const { config } = this.#state;
    const settings: FitOptions & { precision: Precision } = {
      epochs: 20,
      loss: weightedDice(),
      optimizer: adam(),
      schedule: oneCycle({ maxLearningRate: 0.01 }),
      precision: this.#precision,
      seed,
      ...rest,
    };
    const { augmentation, accumulate, checkpointing } = settings;
    const margin = isBatchSource(training)
      ? () => training.margin ?? ([0, 0, 0] as const)
      : augmentation &&
        ((size: Size3) =>
          augmentationMargin(augmentation, size, commonShape(training.map(({ shape }) => shape))));
    const batches = (size: Size3 | undefined, batch: number): BatchSource =>
      isBatchSource(training)
        ? checkedBatches(training, config)
        : trainingBatches(casesInMemory(training), {
            batchSize: batch,
            seed,
            multiple: sizeMultiple(config),
            ...(size && { patch: size }),
            ...(oversample !== undefined && { oversample }),
            ...(margin && { margin }),
          });
    const whole = batches(patch, batchSize);
    const { size, batchSize: batch } = whole;
    const planner = {
      limits: this.gpu.limits, // what is conceded does not depend on what was tuned
      loss: lossShape(settings.loss, config.classes),
      optimizer: settings.optimizer,
      augment: augmentation !== undefined,
      margin,
      averaging: settings.ema !== undefined,
    };
    const { wish, taken } = concede(
      { config, size, batch, precision: settings.precision, accumulate, checkpointing },
      this.#budget,
      planner,
      isBatchSource(training) ? ownBatches(concessions) : concessions,
    );
    assertFits(wish, this.#budget, planner);
    if (taken.length > 0)
      emit({ type: 'concessions', taken, budget: this.#budget, step: describeWish(wish, planner) });
    const patched = taken.includes('patches') ? wish.size : patch;
    const source = taken.some((name) => !ownBatches('auto').includes(name))
      ? batches(patched, wish.batch)
      : whole;
    this.#describeNow({ inputSize: source.size, postprocessing: undefined });
    this.#release();
    const { accumulate: parts = 1, checkpointing: again = false } = wish;
    const validationWindow = settings.validationWindow ?? (patched && source.size);
    const steps = { ...settings, validationWindow, accumulate: parts, checkpointing: again };
    this.#state.precision = wish.precision ?? this.#precision;
    try {
      const asking = () => (isBatchSource(training) ? this.#lending() : <T>(made: Promise<T>) => made);
      return await fitThroughLosses(this.#trainee(), through?.(source) ?? source, steps, emit, asking);
    } finally {
      this.#state.precision = this.#precision;
    }
  }

  /** The caller's code that makes batches may ask the model itself, such as for its hardest cases. */
  #lending(): <T>(made: Promise<T>) => Promise<T> {
    const { count } = this.#turns;
    return async (made) => {
      try {
        return await this.#turns.lend(count, made);
      } finally {
        this.#release();
      }
    };
  }

  #trainee(): Trainee {
    const state = () => this.#state;
    return {
      get state() {
        return state();
      },
      openAgain: async () => {
        const { gpu, config, precision } = this.#state;
        const opened = await Gpu.open(this.#limits ? { limits: this.#limits } : {});
        if (gpu.disposed) {
          opened.dispose();
          throw gpu.lossError();
        }
        this.#state = new ModelState(opened, config, 0);
        this.#state.precision = precision;
        gpu.dispose();
      },
    };
  }

  /**
   * Loss, Dice and prediction of each case, at the training size, or the case's own where that is larger. The loss is
   * that of the network's plain output; Dice and prediction follow test-time augmentation and post-processing. A case
   * whose plan exceeds the memory budget goes through windows: labels as `predict` gives them, and the mean loss of
   * windows side by side.
   * @throws InvalidDataset for a case without a label or with label values outside the classes; OutOfMemory; Aborted if
   *   the signal fires; DeviceLost
   */
  async evaluate(cases: readonly PreparedCase[], options: EvaluateOptions = {}): Promise<CaseScore[]> {
    assertOptions('evaluate', evaluateEntries satisfies Entries<EvaluateOptions>, options);
    assertValue('evaluate', caseList, cases);
    const { loss = weightedDice(), postprocess = true, signal } = options;
    const mirrored = mirrorings(options).length > 1;
    assertLabelled(cases, this.config, this.description);
    return this.#turns.take({ name: 'evaluation', signal }, async () => {
      const { inputSize: trained, postprocessing } = this.#description;
      const evaluator = new Evaluator(this.#state, loss, { trained });
      const scores: CaseScore[] = [];
      try {
        for (const item of cases) {
          if (signal?.aborted)
            throw new Aborted(`evaluation was stopped after ${scores.length} of ${cases.length} cases`);
          const window = evaluator.windowFor(item.shape, this.#budget);
          const plain = await (window
            ? this.#evaluateThrough(window, item, loss, signal)
            : evaluator.run(item, signal));
          if (!Number.isFinite(plain.loss)) throw await notFinite(this.#state, item.image);
          const found = mirrored || window ? await this.#labelsOf(item, options) : plain.predicted;
          const predicted = postprocess ? postprocessed(found, item.shape, postprocessing) : found;
          const { id, label } = item;
          scores.push({ id, loss: plain.loss, dice: dice(predicted, label, this.config.classes), predicted });
        }
      } finally {
        evaluator.dispose();
      }
      return scores;
    });
  }

  async #evaluateThrough(window: Size3, item: LabelledCase, loss: Loss, signal: AbortSignal | undefined) {
    this.#release();
    const evaluator = new Evaluator(this.#state, loss, { trained: window });
    try {
      return await evaluator.runThrough(item, tiles(item.shape, window), signal);
    } finally {
      evaluator.dispose();
    }
  }

  /**
   * Decides on validation cases for which classes only the largest component is kept, and adopts that: `predict` and
   * `evaluate` apply it, and it is saved with the model. Returns the mean Dice before and after.
   * @throws InvalidDataset for a case without a label or with label values outside the classes; Aborted if the signal
   *   fires; NotFinite; DeviceLost
   */
  async choosePostprocessing(
    validation: readonly PreparedCase[],
    options: ProbabilityOptions = {},
  ): Promise<PostprocessingChoice> {
    assertOptions('choosePostprocessing', probabilityEntries satisfies Entries<ProbabilityOptions>, options);
    assertValue('choosePostprocessing', caseList, validation);
    assertLabelled(validation, this.config, this.description);
    const { classes } = this.config;
    return this.#turns.take({ name: 'choosing the post-processing', signal: options.signal }, async () => {
      const scores: ComponentDice[] = [];
      for (const item of validation)
        scores.push(componentDice(await this.#labelsOf(item, options), item.label, item.shape, classes));
      const choice = choosePostprocessing(scores, classes);
      this.#describeNow({ postprocessing: { largestComponent: choice.largestComponent } });
      return choice;
    });
  }

  /** Within a turn: classes of a prepared case as the network gives them, windows and flips included. */
  async #labelsOf(item: DenseCase, options: ProbabilityOptions): Promise<Uint8Array<ArrayBuffer>> {
    const { classes } = this.config;
    return argmax(await segmentProbabilities(this.#logits, item, classes, options), classes);
  }

  /** Within a turn. */
  readonly #logits = (volume: DenseCase, options: SegmentOptions): Promise<Float32Array<ArrayBuffer>> => {
    this.#inference ??= new Inference(this.#state, this.#budget);
    return this.#inference.logits(volume, this.#description.inputSize, options);
  };

  /**
   * Logits [class][z][y][x] of a prepared volume [channel][z][y][x]. The whole volume at once where its
   * plan fits the device, otherwise through sliding windows of the training size.
   * @throws InvalidOption for another number of channels or an overlap out of range; OutOfMemory; Aborted; NotFinite if
   *   weights, image or results are not; DeviceLost
   */
  async logits(volume: DenseCase, options: SegmentOptions = {}): Promise<Float32Array<ArrayBuffer>> {
    assertOptions('logits', segmentEntries satisfies Entries<SegmentOptions>, options);
    assertValue('logits', preparedCase, volume);
    return this.#turns.take({ name: 'prediction', signal: options.signal }, () =>
      this.#logits(volume, options),
    );
  }

  /**
   * Segments one volume: a file, URL, path (in Node) or buffer, or one per channel. Labels and probabilities
   * come back on the source's own grid; `toNifti()` writes them with its affine, codes and units.
   * @throws InvalidVolume or InvalidDataset if files cannot be read or do not fit together; InvalidOption for what is no
   *   source, another number of channels, or options out of range; OutOfMemory; Aborted; NotFinite if weights or results
   *   are not; DeviceLost
   */
  async predict(sources: Source | readonly Source[], options: PredictOptions = {}): Promise<Segmentation> {
    assertOptions('predict', predictEntries satisfies Entries<PredictOptions>, options);
    assertPredictOptions(options);
    const ahead = () => readSources(sources);
    return this.#turns.take({ name: 'prediction', signal: options.signal, ahead }, (read) =>
      segmentVolumes(
        { config: this.config, description: this.#description, logits: this.#logits },
        read,
        options,
      ),
    );
  }

  /** Frees what predictions hold on the GPU. */
  #release(): void {
    this.#inference?.release();
    this.#inference = undefined;
  }

  /** The bytes of model.safetensors. @throws DeviceLost, also after `dispose` */
  save(): Promise<Uint8Array<ArrayBuffer>> {
    return this.#turns.take({ name: 'save' }, async () =>
      writeModel({ config: this.config, ...this.#description }, await this.#state.readWeights()),
    );
  }

  /**
   * The plan of a training step: tensors, lifetimes, bytes and dispatches as plain data.
   * @throws InvalidOption for a size, batch or loss that the network cannot take; OutOfMemory where one row exceeds the
   *   device's limits
   */
  plan(shape: { size: Size3; batch?: number; loss?: Loss }): Plan {
    assertOptions('plan', planEntries, shape);
    const { size, batch = 2, loss = weightedDice() } = shape;
    return planTraining({
      config: this.config,
      size: paddedSize(this.config, size),
      batch,
      limits: this.#state.limits,
      precision: this.#precision,
      loss: lossShape(loss, this.config.classes),
      optimizer: adam(),
    }).plan;
  }

  /** The plan of a training step as text. */
  summary(shape: { size: Size3; batch?: number }): string {
    const size = paddedSize(this.config, shape.size);
    return summarise(this.config, this.plan(shape), { size, batch: shape.batch ?? 2 });
  }

  /**
   * Frees everything on the GPU; the device too, unless the caller brought it. Calls that run or wait reject with
   * `DeviceLost`.
   */
  dispose(): void {
    this.gpu.dispose();
    this.#turns.close(this.gpu.lossError());
    this.#release();
    this.#state.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** What may be given up without touching the caller's batches. */
const ownBatches = (allowed: 'auto' | readonly Concession[]): Concession[] =>
  (['float16', 'checkpointing'] as const).filter((name) => allowed === 'auto' || allowed.includes(name));

/** The caller's batches, whose labels are looked at as they come. */
function checkedBatches(source: BatchSource, { classes }: UNet3DConfig): BatchSource {
  return {
    size: source.size,
    ...(source.margin && { margin: source.margin }),
    batchSize: source.batchSize,
    batchesPerEpoch: source.batchesPerEpoch,
    identity: source.identity,
    async batch(epoch, index) {
      const batch = await source.batch(epoch, index);
      requireClasses(`Batch ${index} of epoch ${epoch}`, batch.label, classes);
      return batch;
    },
  };
}

function isBatchSource(value: readonly PreparedCase[] | BatchSource): value is BatchSource {
  return 'batchesPerEpoch' in value;
}
