/** The model that users hold: create or load it, train it, evaluate it, segment with it, save it. */
import {
  batchSource,
  caseList,
  createEntries,
  type CreateOptions,
  type TakeOptions,
  describeEntries,
  evaluateEntries,
  planEntries,
  predictEntries,
  preparedCase,
  probabilityEntries,
  segmentEntries,
  takeEntries,
  trainingEntries,
} from './call-options.ts';
import { assertLabelled, type LabelledCase } from './data/labelled-case.ts';
import type { PreparedCase } from './data/prepare.ts';
import { sourceList, type Source } from './data/source.ts';
import { openRanges } from './data/byte-ranges.ts';
import { InvalidOption } from './errors.ts';
import { deviceEntries, type DeviceOptions } from './gpu/device-options.ts';
import { Gpu } from './gpu/device.ts';
import type { Plan } from './gpu/plan.ts';
import type { Precision } from './gpu/precision.ts';
import type { CaseScore, DenseCase } from './infer/evaluator.ts';
import type { SegmentOptions } from './infer/inference.ts';
import type { Description, Model } from './infer/model.ts';
import {
  assertNoMeanOfLogits,
  readSources,
  withUncertainty,
  type PredictOptions,
  type Segmentation,
} from './infer/predict.ts';
import { Predictor, type EvaluateOptions } from './infer/predictor.ts';
import type { ProbabilityOptions } from './infer/probabilities.ts';
import type { PostprocessingChoice } from './metrics/components.ts';
import { fastestFirst } from './interop/nnunet/pipeline/axes.ts';
import { readImage } from './interop/nnunet/pipeline/image.ts';
import { networkOn, windowResult } from './interop/nnunet/pipeline/network.ts';
import { headsOf } from './interop/nnunet/labels.ts';
import { assertWindowFits } from './interop/nnunet/pipeline/predictor.ts';
import { optionsForNnunet, segmentAsNnunet } from './interop/nnunet/pipeline/segment.ts';
import { trainableModel } from './interop/nnunet/go-on.ts';
import { compareFiles, rulesOf, type NnunetRules } from './interop/nnunet/rules.ts';
import { defaultBudget } from './model/budget.ts';
import { completeConfig } from './model/complete-config.ts';
import { paddedSize } from './model/sizes.ts';
import type { UNet3DConfig } from './model/config.ts';
import { lossOfHeads, lossShape, weightedDice, type Loss } from './model/losses.ts';
import { planTraining } from './model/plan.ts';
import { ModelState } from './model/state.ts';
import { summarise } from './model/summary.ts';
import { Turns } from './model/turns.ts';
import { assertOptions, assertValue, shown } from './options.ts';
import type { Size3 } from './size.ts';
import { mirroredAxes } from './train/augmentation.ts';
import type { TrainingEvent, TrainingRun } from './train/events.ts';
import type { BatchSource } from './train/fit.ts';
import { adam } from './train/optimizers.ts';
import { startRun } from './train/run.ts';
import type { Asking } from './train/step-batches.ts';
import { isBatchSource, trainModel, type TrainingOptions } from './train/training.ts';
import { openModel, readModel, requireConsistent, writeModel } from './weights/model-file.ts';
import { takeOver } from './weights/take-over.ts';
import { uploadWeights } from './weights/upload.ts';

export type { CreateOptions, EvaluateOptions, LabelledCase, TakeOptions, TrainingOptions };

/**
 * A network on a GPU. Its calls take turns in the order they came, so that several may be on their way at once: each
 * gives what it would if they had been awaited one by one.
 * @example
 * ```js
 * const model = await UNet3D.create({ inChannels: 1, classes: 6, features: [4, 8], norm: 'instance' });
 * await model.fit(cases, { epochs: 1 });
 * const segmentation = await model.predict('scan.nii.gz');
 * const bytes = await model.save();
 * model.dispose();
 * ```
 */
export class UNet3D {
  readonly #model: Model;
  readonly #predictor: Predictor;
  readonly #turns = new Turns();
  /** What calls of `describe` that wait will add. */
  readonly #additions = new Set<Partial<Description>>();
  #training = false;

  private constructor(state: ModelState, description: Description, options: DeviceOptions) {
    const { memoryBudget: budget = defaultBudget(state.gpu), limits, precision = 'f32' } = options;
    this.#model = { state, description, precision, budget, limits };
    this.#predictor = new Predictor(this.#model);
    state.precision = precision;
    state.budget = budget;
  }

  /**
   * A network with seeded initial weights on this platform's GPU, or on the device given.
   * @throws InvalidOption for options that are unknown or out of range; UnsupportedDevice without a GPU adapter;
   *   OutOfMemory where the GPU has no room for its weights
   */
  static async create(options: CreateOptions): Promise<UNet3D> {
    assertOptions('UNet3D.create', createEntries, options);
    const { seed = 0, initialWeights, labels = [], regions, channels = [], preprocessing } = options;
    const config = completeConfig(options);
    const description = structuredClone({ labels, ...(regions && { regions }), channels, preprocessing });
    requireConsistent(
      { config, ...description },
      (problem) => new InvalidOption(`UNet3D.create: ${problem}`),
    );
    const { device, limits, matrixUnits } = options;
    const gpu = await Gpu.open({ device, limits, matrixUnits });
    const state = await ModelState.create(gpu, config, seed, initialWeights);
    return new UNet3D(state, description, options);
  }

  /**
   * A saved network, with everything inference needs.
   * @param model model.safetensors: in Node its path, in a browser a File, Blob or URL, of which, but for what is fetched,
   *   no more is in memory at a time than a tensor; or its content
   * @throws InvalidModel for a file that is damaged, newer, or of another network; InvalidOption for what is no model
   *   file and for unknown options; UnsupportedDevice without a GPU adapter; OutOfMemory where the GPU has no room for
   *   its weights
   */
  static async load(model: Uint8Array | Blob | string | URL, options: DeviceOptions = {}): Promise<UNet3D> {
    assertOptions('UNet3D.load', deviceEntries, options);
    const isFile = model instanceof Blob || typeof model === 'string' || model instanceof URL;
    if (!isFile) assertBytes('UNet3D.load', model);
    const source = isFile ? await openRanges(model) : model;
    const name = isFile && !(model instanceof Blob) ? String(model) : undefined;
    const { description, tensors } = await openModel(source, name);
    rulesOf(description);
    const { device, limits, matrixUnits } = options;
    const gpu = await Gpu.open({ device, limits, matrixUnits });
    const state = await ModelState.create(gpu, description.config);
    try {
      await uploadWeights(state, tensors, name);
    } catch (error) {
      gpu.dispose();
      state.dispose();
      throw error;
    }
    return new UNet3D(state, description, options);
  }

  /**
   * Takes over the weights of a saved network, to go on learning from them. Names and shapes must be the same but for
   * heads: see `heads`. Those of a network of nnU-Net's are turned to the axes of volumes, as by `trainableModel`. The
   * next `fit` tells in its `start` event which heads began anew.
   * @param bytes as for `load`
   * @returns the heads that begin anew, with the weights that they have now
   * @throws InvalidModel for a file that is damaged, or of a network with other weights, which are named; InvalidOption;
   *   DeviceLost
   */
  async takeWeights(bytes: Uint8Array, options: TakeOptions = {}): Promise<readonly string[]> {
    assertOptions('takeWeights', takeEntries, options);
    assertBytes('takeWeights', bytes);
    const [file, { heads = 'auto' }] = [bytes.slice(), options];
    const ahead = async () => {
      const given = await readModel(file);
      return given.description.nnunet ? readModel(await trainableModel(file)) : given;
    };
    return this.#turns.take({ name: 'taking weights over', ahead }, async (from) => {
      const { state, description } = this.#model;
      const own = {
        description: { ...description, config: state.config },
        weights: await state.readWeights(),
      };
      const { weights, anew } = takeOver(own, from, heads, 'the model file');
      state.writeWeights(weights);
      this.#model.anew = anew;
      this.#predictor.release();
      return anew;
    });
  }

  /** The network, with all that was left to defaults. */
  get config(): UNet3DConfig {
    return this.#model.state.config;
  }

  /** Label names, channel names, preprocessing and training size, as they are saved with the model. */
  get description(): Description {
    return Object.assign({}, this.#model.description, ...this.#additions) as Description;
  }

  /**
   * Adds to what is saved with the model. Calls that came before still find it as it was.
   * @throws InvalidOption for entries that are unknown or not of their kind
   */
  describe(more: Partial<Description>): void {
    assertOptions('describe', describeEntries, more);
    const own = structuredClone(more);
    this.#additions.add(own);
    const add = (): void => {
      this.#additions.delete(own);
      this.#describeNow(own);
    };
    this.#turns.take({ name: 'describe' }, add).catch(() => undefined); // after `dispose` nobody asks any more
  }

  /** Within a turn. */
  #describeNow(more: Partial<Description>): void {
    this.#model.description = { ...this.#model.description, ...more };
  }

  /** How this model's volumes are stored. */
  get precision(): Precision {
    return this.#model.precision;
  }

  /** The adapter in one line. */
  get adapter(): string {
    return this.gpu.describe;
  }

  /** The device that the network is on; another one once a training has opened a lost one again. */
  get gpu(): Gpu {
    return this.#model.state.gpu;
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
   *   training already; InvalidDataset for cases with other channels, without a label or with label values outside the
   *   classes; OutOfMemory if the step exceeds the budget or the GPU's memory; NotFinite; Aborted; DeviceLost;
   *   InvalidModel for a checkpoint that does not fit
   */
  fit(training: readonly PreparedCase[] | BatchSource, options: TrainingOptions = {}): TrainingRun {
    const { validation = [], preview, signal, onEvent } = (options as TrainingOptions | null) ?? {};
    return startRun(async (emit: (event: TrainingEvent) => void) => {
      assertOptions('fit', trainingEntries, options);
      assertValue('fit', Array.isArray(training) ? caseList : batchSource, training);
      this.#assertOwnRules('fit', '`trainableModel` makes of its file one that trains here');
      if (this.gpu.disposed) throw this.gpu.lossError(); // one that is merely lost may be opened again
      const source = isBatchSource(training) ? training : this.#labelled(training);
      const { through } = options;
      const checked = {
        ...options,
        ...(through && {
          through: (batches: BatchSource) => {
            const given = through(batches);
            assertValue('fit: what through gives', batchSource, given);
            return given;
          },
        }),
        validation: this.#labelled(validation),
        preview: this.#labelled(preview ? [preview] : [])[0],
      };
      if (this.#training) throw new InvalidOption('this model is training: wait for the run, or abort it');
      this.#training = true;
      const changed = (inputSize: Size3, patches: boolean): void => {
        const { augmentation } = options;
        const mirrorAxes = augmentation && mirroredAxes(augmentation);
        this.#describeNow({
          inputSize,
          patches,
          postprocessing: undefined,
          ...(mirrorAxes && { mirrorAxes }),
        });
      };
      let work: Promise<unknown> | undefined;
      try {
        return await this.#turns.take({ name: 'training', signal }, () => {
          this.#predictor.release();
          const hooks = { emit, changed, asking: () => this.#lending() };
          return (work = trainModel(this.#model, source, checked, hooks));
        });
      } finally {
        await work?.catch(() => undefined); // after `dispose`, until its store is let go
        this.#training = false;
      }
    }, onEvent);
  }

  /** Cases that were prepared by the caller mean nothing to a network that prepares volumes by nnU-Net's rules. */
  #assertOwnRules(call: string, remedy: string): void {
    if (!this.description.nnunet) return;
    throw new InvalidOption(
      `${call}: this network follows nnU-Net's rules, by which \`predict\` prepares volumes itself: ${remedy}`,
    );
  }

  /** @throws InvalidDataset for a case with other channels, without a label or with label values outside the classes */
  #labelled(cases: readonly PreparedCase[]): readonly LabelledCase[] {
    assertLabelled(cases, { ...this.description, config: this.config });
    return [...cases];
  }

  /** The caller's code that makes batches may ask the model itself, such as for its hardest cases. */
  #lending(): ReturnType<Asking> {
    const { count } = this.#turns;
    return async (made, makeRoom) => {
      try {
        return await this.#turns.lend(count, made, makeRoom);
      } finally {
        this.#predictor.release();
      }
    };
  }

  /**
   * Loss, Dice and prediction of each case, at the training size, or the case's own where that is larger. The loss is
   * that of the network's plain output; Dice and prediction follow test-time augmentation and post-processing. A case
   * whose plan exceeds the memory budget goes through windows: labels as `predict` gives them, and the mean loss of
   * windows side by side.
   * @throws InvalidDataset for a case with other channels, without a label or with label values outside the classes;
   *   OutOfMemory; Aborted if the signal fires; DeviceLost
   */
  async evaluate(cases: readonly PreparedCase[], options: EvaluateOptions = {}): Promise<CaseScore[]> {
    assertOptions('evaluate', evaluateEntries, options);
    assertValue('evaluate', caseList, cases);
    this.#assertOwnRules('evaluate', compareFiles);
    const labelled = this.#labelled(cases);
    const own = { ...options };
    return this.#turns.take({ name: 'evaluation', signal: own.signal }, () =>
      this.#predictor.evaluate(labelled, own),
    );
  }

  /**
   * Decides on validation cases for which classes only the largest component is kept, and adopts that: `predict` and
   * `evaluate` apply it, and it is saved with the model. Returns the mean Dice before and after.
   * @throws InvalidOption for no case; InvalidDataset for one with other channels, without a label or with label values
   *   outside the classes; Aborted if the signal fires; NotFinite; DeviceLost
   */
  async choosePostprocessing(
    validation: readonly PreparedCase[],
    options: ProbabilityOptions = {},
  ): Promise<PostprocessingChoice> {
    assertOptions('choosePostprocessing', probabilityEntries, options);
    assertValue('choosePostprocessing', caseList, validation);
    this.#assertOwnRules('choosePostprocessing', 'what nnU-Net chose is for its own tools to apply');
    if (validation.length === 0)
      throw new InvalidOption('choosePostprocessing: there is no case to choose by; give one at least');
    const cases = this.#labelled(validation);
    const own = { ...options };
    return this.#turns.take({ name: 'choosing the post-processing', signal: own.signal }, async () => {
      const choice = await this.#predictor.choosePostprocessing(cases, own);
      this.#describeNow({ postprocessing: { largestComponent: choice.largestComponent } });
      return choice;
    });
  }

  /**
   * Logits [class][z][y][x] of a prepared volume [channel][z][y][x]. The whole volume at once where its
   * plan fits the device, otherwise through sliding windows of the training size.
   * @throws InvalidOption for another number of channels or an overlap out of range; OutOfMemory; Aborted; NotFinite if
   *   weights, image or results are not; DeviceLost
   */
  async logits(volume: DenseCase, options: SegmentOptions = {}): Promise<Float32Array<ArrayBuffer>> {
    assertOptions('logits', segmentEntries, options);
    assertValue('logits', preparedCase, volume);
    const [given, own] = [{ ...volume }, { ...options }];
    return this.#turns.take({ name: 'prediction', signal: own.signal }, () =>
      this.#predictor.logits(given, own),
    );
  }

  /**
   * Segments one volume: a file, URL, path (in Node) or buffer, or one per channel. Labels and probabilities
   * come back on the source's own grid; `toNifti()` writes them with its affine, codes and units. A network of nnU-Net's
   * segments by nnU-Net's rules; mirroring is on then unless `tta` is false.
   * @throws InvalidVolume or InvalidDataset if files cannot be read or do not fit together; InvalidOption for what is no
   *   source, another number of channels, or options out of range; OutOfMemory; Aborted; NotFinite if weights or results
   *   are not; DeviceLost
   */
  async predict(sources: Source | readonly Source[], options: PredictOptions = {}): Promise<Segmentation> {
    assertOptions('predict', predictEntries, options);
    const [files, own] = [sourceList(sources), { ...options }];
    const rules = rulesOf({ ...this.description, config: this.config }, 'the model');
    if (rules) return this.#predictAsNnunet(files, own, rules);
    assertNoMeanOfLogits(own);
    const ahead = () => readSources(files);
    return this.#turns.take({ name: 'prediction', signal: own.signal, ahead }, (read) =>
      this.#predictor.segment(read, own),
    );
  }

  #predictAsNnunet(
    files: readonly Source[],
    options: PredictOptions,
    rules: NnunetRules,
  ): Promise<Segmentation> {
    const how = optionsForNnunet(options);
    const ahead = () => readImage(files, rules.plans);
    return this.#turns.take({ name: 'prediction', signal: options.signal, ahead }, async (image) => {
      const { inference } = this.#predictor;
      assertWindowFits(rules, inference);
      const { state } = this.#model;
      const size = fastestFirst(rules.plans.configuration.patch);
      const network = networkOn({ state, inference }, size, windowResult(rules.config, 1));
      const found = await segmentAsNnunet(rules, image, [network], how);
      const { uncertainty, output } = options;
      return uncertainty ? withUncertainty(found, headsOf(rules.labels), output) : found;
    });
  }

  /** The bytes of model.safetensors. @throws DeviceLost, also after `dispose` */
  save(): Promise<Uint8Array<ArrayBuffer>> {
    return this.#turns.take({ name: 'save' }, async () =>
      writeModel({ config: this.config, ...this.#model.description }, await this.#model.state.readWeights()),
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
      limits: this.#model.state.limits,
      precision: this.precision,
      loss: lossShape(lossOfHeads(loss, this.description.regions), this.config.classes),
      optimizer: adam(),
    }).plan;
  }

  /** The plan of a training step as text. */
  summary(shape: { size: Size3; batch?: number }): string {
    const plan = this.plan(shape);
    const size = paddedSize(this.config, shape.size);
    return summarise(this.config, plan, { size, batch: shape.batch ?? 2 });
  }

  /**
   * Frees everything on the GPU; the device too, unless the caller brought it. Calls that run or wait reject with
   * `DeviceLost`, a training once it has let its checkpoint store go.
   */
  dispose(): void {
    this.gpu.dispose();
    this.#turns.close(this.gpu.lossError());
    this.#predictor.release();
    this.#model.state.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Callers without types give a path, or the ArrayBuffer of a file. */
function assertBytes(what: string, bytes: unknown): void {
  if (bytes instanceof Uint8Array) return;
  throw new InvalidOption(
    `${what} takes the bytes of model.safetensors as a Uint8Array, not ${shown(bytes)}: give ` +
      '`await readFile(path)` (of fs/promises), or in a browser `new Uint8Array(await file.arrayBuffer())`; `UNet3D.load` takes the path or the File itself, too',
  );
}
