/** A bundle of MONAI on a GPU. */
import * as v from 'valibot';
import { arrayFor } from '../../data/allocation.ts';
import type { FileEntry } from '../../data/case.ts';
import { requireFinite, requireOneGrid } from '../../data/prepare-checks.ts';
import { affineAsWritten } from '../../data/nifti-affine.ts';
import { readNifti } from '../../data/nifti.ts';
import { sourceList, sourceName, type Source } from '../../data/source.ts';
import { spacingOf, spatialShape, type Volume } from '../../data/volume.ts';
import { InvalidModel, InvalidOption } from '../../errors.ts';
import { deviceEntries, type DeviceOptions } from '../../gpu/device-options.ts';
import { OpenNetwork } from '../../infer/opened.ts';
import { Segmentation } from '../../infer/predict.ts';
import type { WindowProgress } from '../../infer/window.ts';
import type { UNet3DConfig } from '../../model/config.ts';
import { paddedSize } from '../../model/sizes.ts';
import { assertOptions, assertValue } from '../../options.ts';
import type { Size3 } from '../../size.ts';
import { callback, flag, signal, withParts } from '../../schema.ts';
import { uploadWeights } from '../../weights/upload.ts';
import { openMonai, type MonaiModel } from './open.ts';
import type { Pipeline } from './pipeline.ts';
import { segmentAsBundle } from './segment.ts';

/** How images are segmented. */
export interface MonaiPredictOptions {
  /** Whether probabilities on the image's grid are given beside the labels. Default false. */
  readonly probabilities?: boolean | undefined;
  /** Ends the prediction between two windows with `Aborted`. */
  readonly signal?: AbortSignal | undefined;
  /** Of the windows that are done. */
  readonly onProgress?: ((progress: WindowProgress) => void) | undefined;
}

const predictEntries = {
  probabilities: v.optional(flag),
  signal,
  onProgress: callback,
} satisfies Record<keyof MonaiPredictOptions, unknown>;

/**
 * Segments as a bundle of MONAI does: its transforms, its sliding window, and probabilities brought back to the image's
 * own grid, of which the largest counts. Channels that may overlap, each with a sigmoid, give labels of one volume of 0 and 1
 * per channel, as MONAI saves them; one channel alone gives labels of 0 and 1. Calls take turns.
 * @example
 * ```js
 * const predictor = await MonaiPredictor.load(monaiFiles);
 * const { labels } = await predictor.predict('scan.nii.gz');
 * predictor.dispose();
 * ```
 */
export class MonaiPredictor {
  readonly #network: OpenNetwork;
  readonly #pipeline: Pipeline;

  private constructor(
    /** What the bundle says. */
    readonly model: MonaiModel,
    pipeline: Pipeline,
    network: OpenNetwork,
  ) {
    this.#pipeline = pipeline;
    this.#network = network;
  }

  /**
   * Reads a bundle and opens it on this platform's GPU, or on the device given.
   * @param files of the bundle, with `/` in their paths, or a zip archive of them
   * @throws InvalidModel as `openMonai`, and for a network without a bundle's transforms; OutOfMemory if its window
   *   exceeds the budget; InvalidOption; UnsupportedDevice
   */
  static async load(
    files: readonly FileEntry[] | Source,
    options: DeviceOptions = {},
  ): Promise<MonaiPredictor> {
    assertOptions('MonaiPredictor.load', deviceEntries, options);
    return MonaiPredictor.of(await openMonai(files), options);
  }

  /** Of a bundle that is open already. @throws as `load` */
  static async of(model: MonaiModel, options: DeviceOptions = {}): Promise<MonaiPredictor> {
    assertValue('MonaiPredictor.of', withParts('a model of openMonai', 'network', 'weights'), model);
    assertOptions('MonaiPredictor.of', deviceEntries, options);
    const { network, weights } = model;
    requirePipeline(model);
    const { size } = model.pipeline.windows;
    const opened = await OpenNetwork.open(network.config, options, (opening) => {
      if (size) requireWindow(opening, network.config, size);
      return uploadWeights(opening.state, weights);
    });
    return new MonaiPredictor(model, model.pipeline, opened);
  }

  /**
   * Segments one image: a file per channel, or one 4-D file of all.
   * @throws InvalidVolume or InvalidDataset if files cannot be read or do not fit together; InvalidOption for another
   *   number of channels; OutOfMemory; Aborted; NotFinite; DeviceLost
   */
  async predict(
    sources: Source | readonly Source[],
    options: MonaiPredictOptions = {},
  ): Promise<Segmentation<Uint8Array>> {
    assertOptions('MonaiPredictor.predict', predictEntries, options);
    const { signal, onProgress, probabilities = false } = options;
    const files = sourceList(sources);
    const ahead = () => readImage(files);
    return this.#network.turns.take({ name: 'prediction', signal, ahead }, async ({ data, first }) => {
      const { affine, header } = first;
      const shape = spatialShape(first.shape);
      const { config } = this.model.network;
      const run = (image: Float32Array, window: Size3) => {
        requireWindow(this.#network, config, window);
        const how = { window, ...(signal && { signal }) };
        return this.#network.inference.logits({ image, shape: window }, {}, how);
      };
      const network = { ...config, run, onProgress };
      const written = affineAsWritten(affine, header); // MONAI reads NIfTI by nibabel
      const found = await segmentAsBundle({ data, shape, affine: written }, this.#pipeline, network, {
        probabilities,
      });
      const grid = { affine, spacing: spacingOf(affine), header };
      return new Segmentation(
        {
          ...grid,
          data: found.labels,
          shape: areMaps(this.model) ? [...shape, config.classes] : shape,
        },
        found.probabilities && {
          ...grid,
          data: found.probabilities,
          shape: [...shape, config.classes],
        },
        undefined,
        [],
      );
    });
  }

  /** Frees everything on the GPU; the device too, unless the caller brought it. */
  dispose(): void {
    this.#network.dispose();
  }

  /** As `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** A bundle's own window, or an image that it takes at once. @throws OutOfMemory if its plan exceeds the budget */
const requireWindow = ({ inference }: OpenNetwork, config: UNet3DConfig, size: Size3): void =>
  inference.requireWindow(paddedSize(config, size), 'logits', 'which this bundle takes at once');

/** @throws InvalidModel for a network without a bundle's transforms */
export function requirePipeline(model: MonaiModel): asserts model is MonaiModel & { pipeline: Pipeline } {
  if (model.pipeline) return;
  throw new InvalidModel(
    'the network comes without the transforms of a bundle, so nothing says how images are prepared for it: give ' +
      'a bundle with configs/metadata.json and configs/inference.json, or train it on (train --init, convertMonai)',
  );
}

/** Whether labels are a volume of 0 and 1 for each channel: those of one alone are labels as usual. */
export const areMaps = ({ pipeline, network }: Pick<MonaiModel, 'pipeline' | 'network'>): boolean =>
  pipeline?.threshold !== undefined && network.config.classes > 1;

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
  const count = volumes.reduce((sum, volume) => sum + volume.data.length, 0);
  const data = arrayFor(Float32Array, count, `the image of ${names.join(', ')}`);
  let at = 0;
  for (const volume of volumes) {
    data.set(volume.data, at);
    at += volume.data.length;
  }
  return { data, first };
}
