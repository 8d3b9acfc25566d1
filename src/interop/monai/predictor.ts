/** A bundle of MONAI on a GPU. */
import * as v from 'valibot';
import type { FileEntry } from '../../data/case.ts';
import { requireFinite, requireOneGrid } from '../../data/prepare-checks.ts';
import { readNifti } from '../../data/nifti.ts';
import { sourceName, type Source } from '../../data/source.ts';
import { spacingOf, spatialShape, type Volume } from '../../data/volume.ts';
import { InvalidModel, InvalidOption } from '../../errors.ts';
import { deviceSchema, Gpu } from '../../gpu/device.ts';
import { limitsSchema, type PlanLimits } from '../../gpu/plan.ts';
import { precisionSchema, type Precision } from '../../gpu/precision.ts';
import { Inference } from '../../infer/inference.ts';
import { Segmentation } from '../../infer/predict.ts';
import type { WindowProgress } from '../../infer/window.ts';
import { defaultBudget } from '../../model/budget.ts';
import { ModelState } from '../../model/state.ts';
import { Turns } from '../../model/turns.ts';
import { assertOptions, assertValue } from '../../options.ts';
import { callback, flag, limit, signal, withParts } from '../../schema.ts';
import { uploadWeights } from '../../weights/upload.ts';
import { openMonai, type MonaiModel } from './open.ts';
import type { Pipeline } from './pipeline.ts';
import { segmentAsBundle } from './segment.ts';

/** Where a bundle runs. */
export interface MonaiDeviceOptions {
  /** A device of the caller's: used as it is, never destroyed. */
  readonly device?: GPUDevice;
  /** Lower limits than the device's, for tests and shared machines. */
  readonly limits?: Partial<PlanLimits>;
  /** Bytes that a window may take on the GPU. Default: as `UNet3D.load`. */
  readonly memoryBudget?: number;
  /** How volumes are stored. Default `f32`. */
  readonly precision?: Precision;
}

/** How images are segmented. */
export interface MonaiPredictOptions {
  /** Whether probabilities on the image's grid are given beside the labels. Default false. */
  readonly probabilities?: boolean | undefined;
  /** Ends the prediction between two windows with `Aborted`. */
  readonly signal?: AbortSignal | undefined;
  /** Of the windows that are done. */
  readonly onProgress?: ((progress: WindowProgress) => void) | undefined;
}

const deviceEntries = {
  device: v.optional(deviceSchema),
  limits: v.optional(v.partial(limitsSchema)),
  memoryBudget: v.optional(limit('a number of bytes above 0, such as 4 * 2 ** 30')),
  precision: v.optional(precisionSchema),
} satisfies Record<keyof MonaiDeviceOptions, unknown>;

const predictEntries = {
  probabilities: v.optional(flag),
  signal,
  onProgress: callback,
} satisfies Record<keyof MonaiPredictOptions, unknown>;

/**
 * Segments as a bundle of MONAI does: its transforms, its sliding window, and probabilities brought back to the image's
 * own grid, of which the largest counts. Calls take turns.
 */
export class MonaiPredictor {
  readonly #turns = new Turns();
  readonly #state: ModelState;
  readonly #inference: Inference;
  readonly #pipeline: Pipeline;

  private constructor(
    /** What the bundle says. */
    readonly model: MonaiModel,
    pipeline: Pipeline,
    state: ModelState,
    inference: Inference,
  ) {
    this.#pipeline = pipeline;
    this.#state = state;
    this.#inference = inference;
  }

  /**
   * Reads a bundle and opens it on this platform's GPU, or on the device given.
   * @param files of the bundle, with `/` in their paths, or a zip archive of them
   * @throws InvalidModel as `openMonai`, and for a network without a bundle's transforms; InvalidOption;
   *   UnsupportedDevice
   */
  static async load(
    files: readonly FileEntry[] | Source,
    options: MonaiDeviceOptions = {},
  ): Promise<MonaiPredictor> {
    assertOptions('MonaiPredictor.load', deviceEntries, options);
    return MonaiPredictor.of(await openMonai(files), options);
  }

  /** Of a bundle that is open already. @throws as `load` */
  static async of(model: MonaiModel, options: MonaiDeviceOptions = {}): Promise<MonaiPredictor> {
    assertValue('MonaiPredictor.of', withParts('a model of openMonai', 'network', 'weights'), model);
    assertOptions('MonaiPredictor.of', deviceEntries, options);
    const { network, weights, pipeline } = model;
    if (!pipeline)
      throw new InvalidModel(
        'the network comes without the transforms of a bundle, so nothing says how images are prepared for it: give ' +
          'a bundle with configs/metadata.json and configs/inference.json, or convert it (convertMonai) and train it on',
      );
    const { device, limits, precision = 'f32' } = options;
    const gpu = await Gpu.open({ device, limits });
    try {
      const state = new ModelState(gpu, network.config);
      state.precision = precision;
      await uploadWeights(state, weights);
      const { memoryBudget = defaultBudget(gpu) } = options;
      return new MonaiPredictor(model, pipeline, state, new Inference(state, memoryBudget));
    } catch (error) {
      gpu.dispose();
      throw error;
    }
  }

  /**
   * Segments one image: a file per channel, or one 4-D file of all.
   * @throws InvalidVolume or InvalidDataset if files cannot be read or do not fit together; InvalidOption for another
   *   number of channels; OutOfMemory; Aborted; NotFinite; DeviceLost
   */
  async predict(
    sources: Source | readonly Source[],
    options: MonaiPredictOptions = {},
  ): Promise<Segmentation> {
    assertOptions('MonaiPredictor.predict', predictEntries, options);
    const { signal, onProgress, probabilities = false } = options;
    const files = Array.isArray(sources) ? (sources as readonly Source[]) : [sources as Source];
    const ahead = () => readImage(files);
    return this.#turns.take({ name: 'prediction', signal, ahead }, async ({ data, first }) => {
      const { affine, header } = first;
      const shape = spatialShape(first.shape);
      const { config } = this.model.network;
      const found = await segmentAsBundle({ data, shape, affine }, this.#pipeline, {
        ...config,
        run: (image, size) => this.#inference.logits({ image, shape: size }, size, signal ? { signal } : {}),
        onProgress,
      });
      const grid = { affine, spacing: spacingOf(affine), header };
      return new Segmentation(
        { ...grid, data: found.labels, shape },
        probabilities ? { ...grid, data: found.probabilities, shape: [...shape, config.classes] } : undefined,
        undefined,
        [],
      );
    });
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

/** The channels of an image on the axes of its first file. */
async function readImage(
  files: readonly Source[],
): Promise<{ readonly data: Float32Array; readonly first: Volume }> {
  const volumes: Volume[] = [];
  for (const file of files)
    volumes.push(await readNifti(file, { statistics: true, ...(volumes[0] && { onto: volumes[0] }) }));
  const [first] = volumes;
  if (!first) throw new InvalidOption('there is no file to predict; give at least one');
  const names = files.map(sourceName);
  volumes.forEach((volume, index) => requireFinite(names[index]!, volume));
  requireOneGrid({ id: names[0]!, images: volumes, files: { images: names } });
  if (volumes.length === 1) return { data: first.data, first };
  const data = new Float32Array(volumes.reduce((sum, volume) => sum + volume.data.length, 0));
  let at = 0;
  for (const volume of volumes) {
    data.set(volume.data, at);
    at += volume.data.length;
  }
  return { data, first };
}
