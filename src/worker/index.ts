/**
 * `unet3d-gpu/worker`, for pages: everything of `unet3d-gpu`, with the `UNet3D` whose work runs in a worker, and
 * checkpoints in the origin's private file system.
 */
export * from '../index.ts';
export { UNet3D } from './client.ts';
export type { WorkerCreateOptions, WorkerOptions, WorkerTrainingOptions } from './client.ts';
export { privateStore, QuotaExceeded, type PrivateStore } from '../files/private.browser.ts';
export { bestModel, lastModel } from '../train/best-model.ts';
export { checkpointName, progressOf } from '../train/checkpoint.ts';
export type { Progress } from '../train/progress.ts';
export { checkCase, checkDataset, reportOf, type CaseCheck, type DatasetReport } from '../data/check.ts';
export type { Problem } from '../data/problem.ts';
export type { FileEntry } from '../data/case.ts';
export { volumesAmong } from '../data/dataset.ts';
export { sidedName } from '../data/sides.ts';
export { labelOf } from '../data/label-values.ts';
export { sourceName, type FilePair } from '../data/source.ts';
export { looksLikeLabel, stemOf, volumePattern } from '../data/volume-names.ts';
export { readHeader } from '../data/nifti.ts';
export { closestCanonical } from './closest-canonical.ts';
export { imagesByCase, type NamedVolume } from '../data/volumes-by-case.ts';
export { classColor, cssColor } from '../report/colors.ts';
export { greyWindow, mostTelling, sliceValues, viewOf, type Plane, type View } from '../report/view.ts';
export { lossShape } from '../model/losses.ts';
export { metadataPath } from '../interop/monai/open.ts';
export { filesInZip } from '../interop/model-files.ts';
export { foldersToChoose, modelFolders } from '../interop/nnunet/folder.ts';
export { overlappingRegions } from '../interop/monai/convert.ts';
export { trainingStart } from '../interop/nnunet/go-on.ts';
export { isOnePart, mergedNames, totalSegmentatorParts } from '../interop/totalsegmentator.ts';
export type { Source } from '../data/source.ts';
export type { NnunetModel } from '../interop/nnunet/folder.ts';
