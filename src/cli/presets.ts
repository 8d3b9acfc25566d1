/** Recipes by name: defaults of `train` that explicit options override. */
import { phantomLabels } from '../data/phantom.ts';
import { InvalidOption } from '../errors.ts';
import { networkEntries } from './network-options.ts';
import { flagOf } from './text.ts';
import { plannerOf } from './planned.ts';
import type { presetNames, TrainOptions } from './train-options.ts';

/** nnU-Net's trainer, whatever its planner; `features` and `batchSize` are the planner's. */
const nnunet: Partial<TrainOptions> = {
  preprocessing: 'nnunet',
  augment: 'nnunet',
  loss: 'nnunet',
  initialWeights: 'he',
  optimizer: 'sgd',
  schedule: 'poly-by-epoch',
  learningRate: 0.01,
  clip: 12,
  epochs: 1000,
  stepsPerEpoch: 250,
  order: 'draws',
  oversample: 0.33,
  oversampling: 'places',
  concede: ['checkpointing', 'accumulation', 'patches'],
  features: undefined,
  batchSize: undefined,
};

const presets: Readonly<Record<(typeof presetNames)[number], Partial<TrainOptions>>> = {
  nnunet,
  'nnunet-resenc-m': nnunet,
  'nnunet-resenc-l': nnunet,
  'pelvis-mr': {
    subjectPattern: /Case_(\d+)_Week\d+_LFOV/,
    classNames: phantomLabels,
    spacing: 'own',
    patch: [256, 256, 128],
    placement: 'centre',
    features: [16, 32, 64, 128],
    norm: 'batch',
    loss: 'dice',
    classWeights: [1, 2, 3, 4, 5, 6].map((weight) => weight / 21),
    optimizer: 'adam',
    schedule: 'onecycle',
    learningRate: 0.01,
    finalDivFactor: 1e5,
    batchSize: 2,
    epochs: 50,
    memory: 6 * 2 ** 30, // a step takes 5.6 GiB
  },
};

export const presetHelp = `
--preset pelvis-mr: six classes of pelvic MR (background, body, bones, bladder,
rectum, prostate) in files such as semantic_MRs_anon/Case_004_Week0_LFOV.nii.gz
with semantic_labels_anon/Case_004_Week0_SEMANTIC_LFOV.nii.gz; DATASET is the
folder that holds both. It stands for:
  --subject-pattern "Case_(\\d+)_Week\\d+_LFOV" --split 70,15,15 --spacing own --patch 256,256,128 --placement centre
  --batch-size 2 --norm batch --loss dice --class-weights [1,2,3,4,5,6]/21 --optimizer adam --schedule onecycle
  --learning-rate 0.01 --final-div-factor 100000
as in the study it follows, and, chosen here, --features 16,32,64,128 --epochs
50 --memory 6GiB (a step takes 5.6 GiB; with --precision f16 2.8 GiB). Larger
volumes are trimmed in the middle for training; validation and predictions
cover all slices. Options that are given win over the preset.

--preset nnunet, nnunet-resenc-m, nnunet-resenc-l: nnU-Net's own recipe. Its
planner decides on network, patch and batch from the training cases (plan
DATASET --preset nnunet shows it; --features 8,16,32 takes fewer channels or
levels); trained with
  --preprocessing nnunet --augment nnunet --loss nnunet --initial-weights he --optimizer sgd --schedule poly-by-epoch
  --learning-rate 0.01 --clip 12 --epochs 1000 --steps-per-epoch 250 --order draws --oversample 0.33 --oversampling places
  --concede checkpointing,accumulation,patches
and deep supervision. What is not as in nnU-Net: axes are canonical; augmented
labels are those of the nearest voxel instead of the one that is strongest there
linearly; voxels outside of volumes count in no loss instead of as background,
and volumes smaller than a patch lie at its beginning instead of in its middle;
after augmentation nothing is set to 0 outside of a mask; each epoch validates
whole cases or windows that stay the same instead of 50 random patches, and the
best epoch is kept instead of the last; where names of classes tell left from
right, nothing is mirrored along x; steps are in float32 without --precision
f16; tests are not mirrored without --tta; a second resolution and a cascade are
not trained. With --init, network, patch and preprocessing are the model's.`;

/** What nnU-Net's planner decides; --features, --batch-size, --patch and --spacing may be given nevertheless. */
export const plannedOptions: readonly string[] = [
  ...networkEntries.filter((name) => name !== 'features'),
  'deepSupervision',
  'preprocessing',
];

/** The options with a preset's values for those that `isGiven` denies. @throws as `presetValues` */
export const withPreset = (options: TrainOptions, isGiven: (name: string) => boolean): TrainOptions => ({
  ...options,
  ...presetValues(options, isGiven),
});

/**
 * A preset's values for the options that `isGiven` denies.
 * @throws InvalidOption for one that is given and that the preset decides from the data
 */
export function presetValues(
  { preset, init }: Pick<TrainOptions, 'preset' | 'init'>,
  isGiven: (name: string) => boolean,
): Partial<TrainOptions> {
  if (preset === undefined) return {};
  const decided = plannerOf(preset) && init === undefined ? plannedOptions.find(isGiven) : undefined;
  if (decided !== undefined)
    throw new InvalidOption(
      `${flagOf(decided)} is decided from the data under --preset ${preset}: leave it out, or leave out the preset`,
    );
  const values = Object.entries(presets[preset]).filter(
    ([name]) => !isGiven(name) && !(name === 'subjectPattern' && isGiven('subjects')),
  );
  return Object.fromEntries(values);
}
