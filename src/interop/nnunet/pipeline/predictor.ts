/** A model folder of nnU-Net on a GPU. */
import * as v from 'valibot';
import type { FileEntry } from '../../../data/case.ts';
import { sourceSchema, type Source } from '../../../data/source.ts';
import type { Volume } from '../../../data/volume.ts';
import { OutOfMemory } from '../../../errors.ts';
import { Gpu, deviceSchema } from '../../../gpu/device.ts';
import { formatBytes } from '../../../format.ts';
import { limitsSchema, type PlanLimits } from '../../../gpu/plan.ts';
import { precisionSchema, type Precision } from '../../../gpu/precision.ts';
import { Inference } from '../../../infer/inference.ts';
import { defaultBudget } from '../../../model/budget.ts';
import { planInference } from '../../../model/plan.ts';
import { ModelState } from '../../../model/state.ts';
import { Turns } from '../../../model/turns.ts';
import { assertOptions, assertValue } from '../../../options.ts';
import { callback, flag, limit, signal, text, withParts } from '../../../schema.ts';
import { uploadWeights } from '../../../weights/upload.ts';
import { openNnunet, type NnunetFold, type NnunetModel, type NnunetOptions } from '../folder.ts';
import { fastestFirst } from './axes.ts';
import { nnunetImage, readImage } from './image.ts';
import type { WindowLogits } from './logits.ts';
import { previousStage } from './previous.ts';
import { segmentAsNnunet, type NnunetSegmentation, type NnunetSegmentOptions } from './segment.ts';

/** Where a model runs. */
export interface NnunetDeviceOptions {
  /** A device of the caller's: used as it is, never destroyed. */
  readonly device?: GPUDevice;
  /** Lower limits than the device's, for tests and shared machines. */
  readonly limits?: Partial<PlanLimits>;
  /** Bytes that a window may take on the GPU. Default: as `UNet3D.load`. */
  readonly memoryBudget?: number;
  /** How volumes are stored. Default `f32`. */
  readonly precision?: Precision;
}

/** Which folds, and where they run. */
export interface NnunetLoadOptions extends NnunetOptions, NnunetDeviceOptions {}

/** How images are segmented. */
export interface NnunetPredictOptions extends Omit<NnunetSegmentOptions, 'previous'> {
  /** Labels of the previous stage on the image's own grid; for the second network of a cascade. */
  readonly previousStage?: Source | undefined;
}

const deviceEntries = {
  device: v.optional(deviceSchema),
  limits: v.optional(v.partial(limitsSchema)),
  memoryBudget: v.optional(limit('a number of bytes above 0, such as 4 * 2 ** 30')),
  precision: v.optional(precisionSchema),
} satisfies Record<keyof NnunetDeviceOptions, unknown>;

const loadEntries = {
  ...deviceEntries,
  folds: v.optional(v.array(text, "a list of folds, such as ['0', '3'] or ['all']")),
  checkpoint: v.optional(text),
} satisfies Record<keyof NnunetLoadOptions, unknown>;

const share = 'a number above 0 and up to 1';
const sharedEntries = {
  step: v.optional(v.pipe(limit(share), v.maxValue(1, share))),
  mirror: v.optional(flag),
  probabilities: v.optional(flag),
  signal,
  onProgress: callback,
};
const segmentEntries = {
  ...sharedEntries,
  previous: v.optional(withParts('labels of a previous stage', 'labels', 'values')),
} satisfies Record<keyof NnunetSegmentOptions, unknown>;
const predictEntries = {
  ...sharedEntries,
  previousStage: v.optional(sourceSchema),
} satisfies Record<keyof NnunetPredictOptions, unknown>;

/**
 * Segments as nnU-Net does: its preparation, its windows and mirroring, the mean of the folds' logits, and its way back
 * to the image's own grid. The device holds one fold at a time. Calls take turns.
 */
export class NnunetPredictor {
  readonly #turns = new Turns();
  readonly #state: ModelState;
  readonly #inference: Inference;
  /** One per fold; see `logitPlanes`. */
  readonly networks: readonly WindowLogits[];

  private constructor(
    /** What the folder says. */
    readonly model: NnunetModel,
    state: ModelState,
    inference: Inference,
  ) {
    this.#state = state;
    this.#inference = inference;
    this.networks = foldNetworks(model, state, inference);
  }

  /**
   * Reads a model folder and opens it on this platform's GPU, or on the device given.
   * @param files of a model folder, with `/` in their paths, or a zip archive of them
   * @throws InvalidModel as `openNnunet`; OutOfMemory if a window exceeds the budget; InvalidOption; UnsupportedDevice
   */
  static async load(
    files: readonly FileEntry[] | Source,
    options: NnunetLoadOptions = {},
  ): Promise<NnunetPredictor> {
    assertOptions('NnunetPredictor.load', loadEntries, options);
    const { folds, checkpoint, ...device } = options;
    return NnunetPredictor.of(await openNnunet(files, { folds, checkpoint }), device);
  }

  /** Of a model folder that is open already. @throws as `load` */
  static async of(model: NnunetModel, options: NnunetDeviceOptions = {}): Promise<NnunetPredictor> {
    assertValue('NnunetPredictor.of', withParts('a model of openNnunet', 'plans', 'labels', 'folds'), model);
    assertOptions('NnunetPredictor.of', deviceEntries, options);
    const { device, limits, precision = 'f32' } = options;
    const gpu = await Gpu.open({ device, limits });
    try {
      const state = new ModelState(gpu, model.config);
      state.precision = precision;
      const { memoryBudget = defaultBudget(gpu) } = options;
      assertWindowFits(model, state, memoryBudget);
      return new NnunetPredictor(model, state, new Inference(state, memoryBudget));
    } catch (error) {
      gpu.dispose();
      throw error;
    }
  }

  /**
   * Segments one image: a file per channel, or one 4-D file of all.
   * @throws InvalidVolume or InvalidDataset if files cannot be read or do not fit together; InvalidOption; OutOfMemory;
   *   Aborted; NotFinite; DeviceLost
   */
  async predict(
    sources: Source | readonly Source[],
    options: NnunetPredictOptions = {},
  ): Promise<NnunetSegmentation> {
    assertOptions('NnunetPredictor.predict', predictEntries, options);
    const { previousStage: earlier, ...rest } = options;
    const { plans, labels } = this.model;
    const files = Array.isArray(sources) ? (sources as readonly Source[]) : [sources as Source];
    const ahead = async () => {
      const image = await readImage(files, plans);
      if (earlier === undefined) return { image };
      return { image, previous: await previousStage(earlier, image, labels) };
    };
    return this.#turns.take({ name: 'prediction', signal: options.signal, ahead }, ({ image, previous }) =>
      segmentAsNnunet(this.model, image, this.networks, { ...rest, previous }),
    );
  }

  /**
   * The same of volumes in memory, one per channel, as their files hold them.
   * @param names what messages call them
   */
  async segment(
    names: readonly string[],
    volumes: readonly Volume[],
    options: NnunetSegmentOptions = {},
  ): Promise<NnunetSegmentation> {
    assertOptions('NnunetPredictor.segment', segmentEntries, options);
    return this.#turns.take({ name: 'prediction', signal: options.signal }, () =>
      segmentAsNnunet(this.model, nnunetImage(names, volumes, this.model.plans), this.networks, options),
    );
  }

  /** Frees everything on the GPU; the device too, unless the caller brought it. */
  dispose(): void {
    this.#state.gpu.dispose();
    this.#turns.close(this.#state.gpu.lossError());
    this.#inference.release();
    this.#state.dispose();
  }

  /** As `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @throws OutOfMemory if the plan of a window exceeds the budget */
export function assertWindowFits(
  { plans, config }: Pick<NnunetModel, 'plans' | 'config'>,
  { limits, precision }: Pick<ModelState, 'limits' | 'precision'>,
  budget: number,
): void {
  const size = fastestFirst(plans.configuration.patch);
  const { peakBytes } = planInference({ config, size, batch: 1, limits, precision }).plan;
  if (peakBytes <= budget) return;
  throw new OutOfMemory(
    `a window of ${size.join(' x ')} voxels, the patch of this model, needs ${formatBytes(peakBytes)}; the memory budget ` +
      `is ${formatBytes(budget)}: raise it, or store volumes in float16 (precision 'f16')`,
    peakBytes,
    budget,
  );
}

/** One network per fold on the same buffers: a fold's weights are written when its turn comes. */
function foldNetworks(model: NnunetModel, state: ModelState, inference: Inference): WindowLogits[] {
  const size = fastestFirst(model.plans.configuration.patch);
  let written: NnunetFold | undefined;
  return model.folds.map((fold): WindowLogits => {
    // Of several folds, which take turns again and again, each is read once.
    const weights = model.folds.length > 1 ? inMemory(fold.weights) : fold.weights;
    return async (window, signal) => {
      const run = await inference.at(size);
      if (written !== fold) {
        written = undefined;
        await uploadWeights(state, weights);
        written = fold;
      }
      return run(window, signal);
    };
  });
}

/** Tensors that are kept once they are read. */
function inMemory(tensors: NnunetFold['weights']): NnunetFold['weights'] {
  return new Map(
    [...tensors].map(([name, tensor]) => {
      let data: Promise<Float32Array> | undefined;
      return [name, { shape: tensor.shape, read: () => (data ??= tensor.read()) }];
    }),
  );
}
