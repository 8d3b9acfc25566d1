/** A model folder of nnU-Net on a GPU. */
import * as v from 'valibot';
import type { FileEntry } from '../../../data/case.ts';
import { sourceList, sourceSchema, type Source } from '../../../data/source.ts';
import type { Volume } from '../../../data/volume.ts';
import { deviceEntries, type DeviceOptions } from '../../../gpu/device-options.ts';
import type { Inference } from '../../../infer/inference.ts';
import { OpenNetwork } from '../../../infer/opened.ts';
import { assertOptions, assertValue } from '../../../options.ts';
import { callback, flag, limit, signal, withParts } from '../../../schema.ts';
import { uploadWeights } from '../../../weights/upload.ts';
import {
  nnunetEntries,
  openNnunet,
  type NnunetFold,
  type NnunetModel,
  type NnunetOptions,
} from '../folder.ts';
import { fastestFirst } from './axes.ts';
import { nnunetImage, readImage, reorients, type NnunetImage } from './image.ts';
import type { WindowNetwork } from './logits.ts';
import { networkOn, windowResult } from './network.ts';
import { labelsBefore, previousStage } from './previous.ts';
import {
  requireStages,
  segmentAsNnunet,
  type NnunetSegmentation,
  type NnunetSegmentOptions,
} from './segment.ts';

/** Which folds, and where they run. */
export interface NnunetLoadOptions extends NnunetOptions, DeviceOptions {}

/** How images are segmented. */
export interface NnunetPredictOptions extends Omit<NnunetSegmentOptions, 'previous'> {
  /**
   * Of the second network of a cascade: the labels of the first on the image's own grid. Where the folder of the first
   * is there, too, it makes them if they are not given.
   */
  readonly previousStage?: Source | undefined;
}

const loadEntries = {
  ...deviceEntries,
  ...nnunetEntries,
} satisfies Record<keyof NnunetLoadOptions, unknown>;

const fraction = 'a number above 0 and up to 1';
const sharedEntries = {
  step: v.optional(v.pipe(limit(fraction), v.maxValue(1, fraction))),
  mirror: v.optional(flag),
  probabilities: v.optional(flag),
  logitBytes: v.optional(limit('bytes above 0')),
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
 * to the image's own grid. Of a cascade the first network goes first. The device holds one fold of each at a time. Calls
 * take turns.
 * @example
 * ```js
 * const predictor = await NnunetPredictor.load(nnunetFiles);
 * const { labels } = await predictor.predict('scan.nii.gz');
 * predictor.dispose();
 * ```
 */
export class NnunetPredictor {
  readonly #network: OpenNetwork;
  /** One per fold. */
  readonly networks: readonly WindowNetwork[];

  private constructor(
    /** What the folder says. */
    readonly model: NnunetModel,
    network: OpenNetwork,
    /** Of a cascade, on the same device. */
    readonly previous: NnunetPredictor | undefined,
  ) {
    this.#network = network;
    this.networks = foldNetworks(model, network);
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
    const { folds, checkpoint, folder, configuration, ...device } = options;
    return NnunetPredictor.of(await openNnunet(files, { folds, checkpoint, folder, configuration }), device);
  }

  /** Of a model folder that is open already. @throws as `load` */
  static async of(model: NnunetModel, options: DeviceOptions = {}): Promise<NnunetPredictor> {
    assertValue('NnunetPredictor.of', withParts('a model of openNnunet', 'plans', 'labels', 'folds'), model);
    assertOptions('NnunetPredictor.of', deviceEntries, options);
    reorients(model.plans); // of an unknown reader rather now than at the first image
    const opened = await OpenNetwork.open(model.config, options, ({ inference }) =>
      assertWindowFits(model, inference, model.folds.length),
    );
    try {
      const { device } = opened.state.gpu;
      const previous = model.previous && (await NnunetPredictor.of(model.previous, { ...options, device }));
      return new NnunetPredictor(model, opened, previous);
    } catch (error) {
      opened.dispose();
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
    const files = sourceList(sources);
    const turn = { name: 'prediction', signal: options.signal };
    if (this.previous && earlier === undefined)
      return this.#network.turns.take(turn, () =>
        this.#throughBoth(
          rest,
          (first, more) => first.predict(files, more),
          () => readImage(files, plans),
        ),
      );
    const ahead = async () => {
      const image = await readImage(files, plans);
      if (earlier === undefined) return { image };
      requireStages(plans.configuration, true);
      return { image, previous: await previousStage(earlier, image, labels) };
    };
    return this.#network.turns.take({ ...turn, ahead }, ({ image, previous }) =>
      segmentAsNnunet(this.model, image, this.networks, { ...rest, previous }),
    );
  }

  /** A cascade: of the two networks, one plan at a time is on the device. */
  async #throughBoth(
    options: NnunetSegmentOptions,
    segment: (first: NnunetPredictor, options: NnunetSegmentOptions) => Promise<NnunetSegmentation>,
    read: () => Promise<NnunetImage> | NnunetImage,
  ): Promise<NnunetSegmentation> {
    const first = this.previous!;
    const { onProgress, probabilities, ...shared } = options;
    this.#network.inference.release();
    // How many windows the second takes is not known yet: each of the two is half of it.
    const { labels } = await segment(first, {
      ...shared,
      onProgress: ({ loaded, total }) => onProgress?.({ loaded, total: 2 * total }),
    }).finally(() => first.#network.inference.release());
    const image = await read();
    const previous = labelsBefore(labels.data, image, this.model.labels);
    return segmentAsNnunet(this.model, image, this.networks, {
      ...{ ...shared, probabilities, previous },
      onProgress: ({ loaded, total }) => onProgress?.({ loaded: total + loaded, total: 2 * total }),
    });
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
    const image = () => nnunetImage(names, volumes, this.model.plans);
    return this.#network.turns.take({ name: 'prediction', signal: options.signal }, () =>
      this.previous && !options.previous
        ? this.#throughBoth(options, (first, more) => first.segment(names, volumes, more), image)
        : segmentAsNnunet(this.model, image(), this.networks, options),
    );
  }

  /** Frees everything on the GPU; the device too, unless the caller brought it. */
  dispose(): void {
    this.previous?.dispose();
    this.#network.dispose();
  }

  /** As `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @throws OutOfMemory if the plan of a window exceeds the budget */
export function assertWindowFits(
  { plans, config }: Pick<NnunetModel, 'plans' | 'config'>,
  inference: Pick<Inference, 'requireWindow'>,
  folds = 1,
): void {
  const size = fastestFirst(plans.configuration.patch);
  inference.requireWindow(size, windowResult(config, folds).kind, 'the patch of this model');
}

/** One network per fold on the same buffers: a fold's weights are read and written when its turn comes. */
function foldNetworks({ plans, config, folds }: NnunetModel, network: OpenNetwork): WindowNetwork[] {
  const size = fastestFirst(plans.configuration.patch);
  const result = windowResult(config, folds.length);
  let written: NnunetFold | undefined;
  return folds.map((fold) =>
    networkOn(network, size, result, async () => {
      if (written === fold) return;
      written = undefined;
      await uploadWeights(network.state, fold.weights, fold.path);
      written = fold;
    }),
  );
}
