/** Public exports. */
export * from './errors.ts';
export { Ensemble, type EnsembleOptions, type EnsemblePredictOptions } from './ensemble.ts';
export { UNet3D } from './unet3d.ts';
export type { CreateOptions, EvaluateOptions, LabelledCase, TakeOptions, TrainingOptions } from './unet3d.ts';
export type { DeviceOptions } from './gpu/device-options.ts';
export type { CaseScore } from './infer/evaluator.ts';
export type { SegmentOptions } from './infer/inference.ts';
export { completeConfig } from './model/complete-config.ts';
export { defaultConfig, type UNet3DConfig } from './model/config.ts';
export { paddedSize, sizeMultiple } from './model/sizes.ts';
export { planEvaluation, planInference, planTraining } from './model/plan.ts';
export { alternatives, type Alternative } from './model/alternatives.ts';
export { assumedBudget, defaultBudget } from './model/budget.ts';
export { concede, concessions, type Concession } from './model/concessions.ts';
export type { Planner, TrainingWish } from './model/wish.ts';
export { formatBytes } from './format.ts';
export { summarise } from './model/summary.ts';
export { tune, type Measurement, type Tuning, type TuningOptions } from './model/tune.ts';
export { setTuningStore, type TuningStore } from './model/tuning-cache.ts';
export { adapterClassOf, Gpu, memoryOf, setAdapterProvider } from './gpu/device.ts';
export { defaultLimits, type Plan, type PlanLimits } from './gpu/plan.ts';
export type { Axis, Size3 } from './size.ts';
export {
  crossEntropy,
  diceCrossEntropy,
  lossShape,
  nnunetLoss,
  nnunetRegionLoss,
  weightedDice,
  type Loss,
} from './model/losses.ts';
export { adam, adamW, sgd, type Optimizer } from './train/optimizers.ts';
export { augmentationMargin, nnunetAugmentation, type Augmentation } from './train/augmentation.ts';
export { constant, cosine, oneCycle, poly, scheduleAt, type Schedule } from './train/schedules.ts';
export type { EpochRow, TrainingEvent, TrainingResult, TrainingRun } from './train/events.ts';
export type { Run } from './train/run.ts';
export type { BatchSource, FitOptions } from './train/fit.ts';
export type { Ranks } from './distributed/ranks.ts';
export type { EarlyStopping } from './train/selection.ts';
export type { CheckpointStore } from './train/checkpoint.ts';
export { readPytorch, PytorchTensor } from './weights/pytorch/read.ts';
export { readStateDict, type StateDict } from './weights/pytorch/state-dict.ts';
export { openNnunet, type NnunetModel } from './interop/nnunet/folder.ts';
export { convertNnunet } from './interop/nnunet/convert.ts';
export { trainableModel } from './interop/nnunet/go-on.ts';
export { NnunetPredictor, type NnunetPredictOptions } from './interop/nnunet/pipeline/predictor.ts';
export { segmentAsTotalSegmentator, type TotalSegmentatorPart } from './interop/totalsegmentator.ts';
export { openMonai, type MonaiModel } from './interop/monai/open.ts';
export { convertMonai } from './interop/monai/convert.ts';
export { MonaiPredictor, type MonaiPredictOptions } from './interop/monai/predictor.ts';
export { readSafetensors, writeSafetensors, type SafetensorsOptions } from './weights/safetensors.ts';
export { exportMonai, type MonaiExport } from './export/monai.ts';
export { exportNnunet, type NnunetExport, type NnunetExportOptions } from './export/nnunet.ts';
export { exportOnnx, type OnnxOptions } from './export/onnx.ts';
export { exportPytorch } from './export/pytorch.ts';
export { exportSafetensors, type SafetensorsExportOptions } from './export/safetensors.ts';
export { phantom, phantomLabels, phantoms, type Phantom, type PhantomOptions } from './data/phantom.ts';
export { dice, meanDefined } from './metrics/dice.ts';
export { readNifti, writeNifti } from './data/nifti.ts';
export { voxelVolume, type Volume } from './data/volume.ts';
export type { FilePair, Source } from './data/source.ts';
export { defaultPreprocessing, type Preprocessing } from './data/preprocessing.ts';
export { fromArrays, prepareCase, type PreparedCase } from './data/prepare.ts';
export type { Case } from './data/case.ts';
export { labelRules, openDataset, pairDataset, type Dataset } from './data/dataset.ts';
export { foldCases, splitCases, type Split } from './data/split.ts';
export { casesInMemory, ignored, trainingBatches } from './data/patches.ts';
export { checkDataset, type DatasetReport } from './data/check.ts';
export type { Fingerprint } from './data/fingerprint.ts';
export { nnunetPreprocessing, type PreprocessingDecision } from './data/decide.ts';
export { nnunetPatch, type PatchDecision } from './model/patch.ts';
export type { Normalization } from './data/normalize.ts';
export type { MirrorOptions } from './infer/probabilities.ts';
export { Segmentation, type PredictOptions, type PredictOutput } from './infer/predict.ts';
export type { Uncertainty } from './infer/uncertainty.ts';
export { evaluateCase, evaluateRegions } from './metrics/evaluate.ts';
export type { Region } from './data/regions.ts';
export { largestComponents, type Postprocessing, type PostprocessingChoice } from './metrics/components.ts';
export { selfTest, type SelfTestOptions } from './self-test/index.ts';
export type { SelfTestReport, TimingRow } from './self-test/report.ts';
export type { KernelRow } from './self-test/kernels.ts';
export type { TrainingRow } from './self-test/training.ts';
export { version } from './version.ts';
