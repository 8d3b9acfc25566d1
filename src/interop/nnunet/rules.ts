/**
 * What a model of nnU-Net follows in place of this package's own preprocessing and windows. A saved model carries
 * nnU-Net's own files for it, word for word, and they are read again each time.
 */
import { labelCount, labelNames } from '../../data/regions.ts';
import { InvalidModel } from '../../errors.ts';
import { completeConfig } from '../../model/complete-config.ts';
import { paddedSize } from '../../model/sizes.ts';
import type { UNet3DConfig } from '../../model/config.ts';
import type { ModelDescription, NnunetOrigin } from '../../weights/model-file.ts';
import { foregroundLabels, readLabels, type NnunetLabels } from './labels.ts';
import type { Axes } from './network.ts';
import { readPlans, type NnunetPlans } from './plans.ts';
import { configOf } from './weights.ts';

/** What nnU-Net's files say of a model. */
export interface NnunetRules {
  /** Of plans.json: the network, spacing, patch and normalisation of its configuration. */
  readonly plans: NnunetPlans;
  /** Of dataset.json: channels, classes or regions, and the value of unknown voxels. */
  readonly labels: NnunetLabels;
  /** The network as this package has it; its channels are the image's and one per foreground label of a previous stage. */
  readonly config: UNet3DConfig;
  /** The class that trained it, such as `nnUNetTrainer`. */
  readonly trainer: string;
  /** Axes of nnU-Net's arrays along which windows are mirrored; none if empty. */
  readonly mirrorAxes: readonly number[];
}

/** @throws InvalidModel with what is wrong, does not go together or is not supported */
export function readRules(origin: NnunetOrigin): NnunetRules {
  const { trainer, mirrorAxes } = origin;
  const labels = readLabels(origin.dataset);
  const plans = readPlans(origin.plans, origin.configuration);
  const { network, normalization, previousStage, patch } = plans.configuration;
  if (normalization.length !== labels.channels.length)
    throw new InvalidModel(
      `plans.json normalises ${normalization.length} channels and dataset.json names ${labels.channels.length}: they belong to different data sets`,
    );
  const inChannels =
    labels.channels.length + (previousStage === undefined ? 0 : foregroundLabels(labels).length);
  const config = configOf(network, inChannels, labels.heads.length);
  const size = patchSize(plans);
  if (paddedSize(config, size).join() !== size.join())
    throw new InvalidModel(
      `plans.json has patch_size [${patch.join(', ')}], which the network's strides do not divide`,
    );
  return { plans, labels, config, trainer, mirrorAxes };
}

/** What files of saved models say, read once for each. */
const known = new WeakMap<NnunetOrigin, NnunetRules>();

/**
 * Of a saved model; undefined where it follows this package's own. The same object again for the same `nnunet`.
 * @throws InvalidModel as `readRules`, and where they are those of another network
 */
export function rulesOf(
  { nnunet, config }: Pick<ModelDescription, 'nnunet' | 'config'>,
  name = 'the model file',
): NnunetRules | undefined {
  if (!nnunet) return undefined;
  const rules = known.get(nnunet) ?? readRules(nnunet);
  known.set(nnunet, rules);
  if (JSON.stringify(rules.config) !== JSON.stringify(completeConfig(config)))
    throw new InvalidModel(
      `${name} carries nnU-Net's plans of another network than its own; take another copy of the file`,
    );
  return rules;
}

/** x, y, z of the windows: nnU-Net's last axis runs fastest. */
const patchSize = ({ configuration }: NnunetPlans): readonly [number, number, number] => {
  const [d0, d1, d2]: Axes = configuration.patch;
  return [d2, d1, d0];
};

/** In place of scoring prepared cases. */
export const compareFiles = 'predict the files, and compare with the command `evaluate`';

/** What is saved with the network. */
export function descriptionOf(
  { plans, labels, config }: NnunetRules,
  origin: NnunetOrigin,
): Omit<ModelDescription, 'format' | 'packageVersion'> {
  const { previousStage } = plans.configuration;
  const earlier = previousStage === undefined ? [] : foregroundLabels(labels);
  return {
    config,
    ...labelsOf(labels),
    channels: [...labels.channels, ...earlier.map((label) => `label ${label} of ${previousStage}`)],
    inputSize: patchSize(plans),
    nnunet: origin,
  };
}

/** Names by label value, and regions where heads find these; of labels beyond a byte nothing is said. */
function labelsOf({ heads, regions }: NnunetLabels): Pick<ModelDescription, 'labels' | 'regions'> {
  if (!regions) return { labels: heads.map(({ name }) => name) };
  if (labelCount(heads) > 255) return { labels: [] };
  return { labels: labelNames(heads), regions: heads };
}
