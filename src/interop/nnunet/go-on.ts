/** What a training here goes on from of a model of nnU-Net's: its network along the axes of volumes, and their preparation. */
import * as v from 'valibot';
import type { Normalization } from '../../data/normalize.ts';
import type { Preprocessing } from '../../data/preprocessing.ts';
import type { UNet3DConfig } from '../../model/config.ts';
import { layoutParameters } from '../../model/parameters.ts';
import { assertOptions } from '../../options.ts';
import { bytes, text, withParts } from '../../schema.ts';
import { allAxes, type Size3 } from '../../size.ts';
import { readModel, writeModel } from '../../weights/model-file.ts';
import { withKernelAxes } from '../mapping.ts';
import { alongVolumes, backFrom } from './network.ts';
import type { NnunetNormalization } from './plans.ts';
import { rulesOf, type NnunetRules } from './rules.ts';
import { configOf } from './weights.ts';

const startEntries = { model: withParts('a model as openNnunet gives it', 'plans', 'config') };
const fileEntries = { model: bytes, name: v.optional(text) };

/**
 * nnU-Net's network, preparation and patch in this package's words: the same crop, normalisation, spacing and cubic
 * resampling; axes are canonical instead. Where plans turn the axes of volumes, kernels, strides and the patch are turned
 * back.
 */
export function trainingStart(model: Pick<NnunetRules, 'plans' | 'config'>): {
  readonly config: UNet3DConfig;
  readonly preprocessing: Preprocessing;
  /** x, y, z */
  readonly patch: Size3;
} {
  assertOptions('trainingStart', startEntries, { model });
  const { plans, config } = model;
  const { patch, spacing, network } = alongVolumes(plans, plans.configuration);
  const normalization = plans.configuration.normalization.map(normalizationFor);
  const { data } = plans.configuration.resampling;
  const isCubic = data.method === 'spline' && data.order === 3;
  // Of a cascade's second network, labels of the first are channels, too.
  const labels = Array.from({ length: config.inChannels - normalization.length }, () => 'none' as const);
  return {
    config: configOf(network, config.inChannels, config.classes),
    preprocessing: {
      orientation: 'RAS',
      crop: 'non-zero',
      spacing: data.method === 'none' ? null : spacing,
      ...(isCubic && { resampling: 'cubic' }),
      normalization: [...normalization, ...labels],
      padding: 'zeros at the far end',
    },
    patch,
  };
}

/**
 * A model file that follows nnU-Net's rules, as `convertNnunet` makes it, as one that trainings here go on from: network,
 * preparation and patch as `trainingStart` says, weights turned alike. One that follows this package's is given back.
 * @param model the content of model.safetensors
 * @param name what messages call it
 * @throws InvalidOption for what is not bytes; InvalidModel for a file that is damaged, newer or of another network
 * @example
 * ```js
 * const converted = await convertNnunet(await openNnunet(nnunetFiles));
 * const bytes = await trainableModel(converted); // for `UNet3D.load` and `takeWeights`
 * ```
 */
export async function trainableModel(model: Uint8Array, name?: string): Promise<Uint8Array> {
  assertOptions('trainableModel', fileEntries, { model, name });
  const { description, weights } = await readModel(model, name);
  const rules = rulesOf(description, name);
  if (!rules) return model;
  const { config, preprocessing, patch } = trainingStart(rules);
  const [given, own] = [layoutParameters(rules.config), layoutParameters(config)];
  const parameters = new Float32Array(own.parameterWords);
  const axes = backFrom(rules.plans.transpose);
  for (const entry of given.parameters.values()) {
    const data = weights.parameters.subarray(entry.offset, entry.offset + entry.length);
    const turned = entry.shape.length === 5 ? withKernelAxes(data, entry.shape, axes) : data;
    parameters.set(turned, own.parameters.get(entry.name)!.offset);
  }
  const mirrorAxes = allAxes.filter((_, axis) => rules.mirrorAxes.includes(axes[2 - axis]!));
  return writeModel(
    { ...description, config, preprocessing, inputSize: patch, patches: true, mirrorAxes, nnunet: undefined },
    { ...weights, parameters },
  );
}

function normalizationFor(given: NnunetNormalization): Normalization {
  if (given.scheme === 'CTNormalization') {
    const { clip, mean, deviation } = given;
    return { clip, mean, deviation };
  }
  if (given.scheme === 'ZScoreNormalization') return given.masked ? 'z-score inside' : 'z-score';
  if (given.scheme === 'RescaleTo01Normalization') return 'min-max';
  return given.scheme === 'NoNormalization' ? 'none' : { clip: [0, 255], mean: 0, deviation: 255 };
}
