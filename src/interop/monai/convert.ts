/** A model of MONAI as a model file of this package. */
import { assertOptions } from '../../options.ts';
import { soleRegion, type Region } from '../../data/regions.ts';
import { withParts } from '../../schema.ts';
import { writeModel } from '../../weights/model-file.ts';
import { weightsOf } from '../mapping.ts';
import type { MonaiModel } from './open.ts';
import { areMaps } from './predictor.ts';

const entries = {
  model: withParts('a model as openMonai gives it', 'network', 'weights', 'labels', 'channels'),
};

/**
 * The bytes of model.safetensors, to go on learning from: the network, its weights, and the names of its labels and
 * channels; one output channel alone finds a region, and of channels that may overlap each does, under the next value. What a bundle does with an image first is not in it; see
 * `MonaiModel.pipeline`.
 * @throws InvalidModel if the weights cannot be read
 * @example
 * ```js
 * const bytes = await convertMonai(await openMonai(monaiFiles)); // a model.safetensors, to go on learning from
 * ```
 */
export async function convertMonai(model: MonaiModel): Promise<Uint8Array<ArrayBuffer>> {
  assertOptions('convertMonai', entries, { model });
  const {
    network: { config },
    weights,
    labels,
    channels,
  } = model;
  const apart = overlappingRegions(model);
  const regions = apart ?? (config.classes === 1 ? soleRegion(labels[1]) : undefined);
  const description = { config, labels: apart ? [] : labels, regions, channels };
  return writeModel(description, await weightsOf(config, weights));
}

/** Of a bundle whose labels are a volume of 0 and 1 for each channel, the channels, each under a value of its own. */
export function overlappingRegions(
  model: Pick<MonaiModel, 'pipeline' | 'network' | 'labels'>,
): readonly Region[] | undefined {
  if (!areMaps(model)) return undefined;
  return Array.from({ length: model.network.config.classes }, (_, channel) => {
    const value = channel + 1;
    return { name: model.labels[channel] ?? `channel ${channel}`, labels: [value], written: value };
  });
}
