/** Recipes by name: defaults of `train` that explicit options override. */
import { phantomLabels } from '../data/phantom.ts';
import type { presetNames, TrainOptions } from './train-options.ts';

const presets: Readonly<Record<(typeof presetNames)[number], Partial<TrainOptions>>> = {
  'pelvis-mr': {
    subjectPattern: /Case_(\d+)_Week\d+_LFOV/,
    split: '70,15,15',
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
cover all slices. Options that are given win over the preset.`;

/** The options with a preset's values for those that `isGiven` denies. */
export function withPreset(options: TrainOptions, isGiven: (name: string) => boolean): TrainOptions {
  if (options.preset === undefined) return options;
  const values = Object.entries(presets[options.preset]).filter(
    ([name]) => !isGiven(name) && !(name === 'subjectPattern' && isGiven('subjects')),
  );
  return { ...options, ...Object.fromEntries(values) };
}
