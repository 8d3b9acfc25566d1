/** nnU-Net's checkpoint_final.pth: the weights under names of their own, and what a prediction needs besides. */
import type { ByteRanges } from '../../data/byte-ranges.ts';
import { InvalidModel } from '../../errors.ts';
import { readSaved } from '../../weights/pytorch/read.ts';
import { stateDictOf, type StateDict } from '../../weights/pytorch/state-dict.ts';

export interface NnunetCheckpoint {
  /** Under nnU-Net's names and aliases; read one by one when they are asked for. */
  readonly weights: StateDict;
  /** Such as `3d_fullres`. */
  readonly configuration: string;
  /** Such as `nnUNetTrainer`. */
  readonly trainer: string;
  /** Axes of nnU-Net's arrays along which windows are mirrored; none if empty. */
  readonly mirrorAxes: readonly number[];
}

/**
 * @param name what messages call the file
 * @throws InvalidModel as `readPytorch`, and for a file that is no checkpoint of nnU-Net
 */
export async function readCheckpoint(file: ByteRanges, name: string): Promise<NnunetCheckpoint> {
  const saved = (await readSaved(file, name)).value;
  const entry = (from: unknown, key: string): unknown => (from instanceof Map ? from.get(key) : undefined);
  const wrong = (what: string): InvalidModel =>
    new InvalidModel(
      `${name} is no checkpoint of nnU-Net v2: ${what}; give the checkpoint_final.pth of one of its folds`,
    );
  const configuration = entry(entry(saved, 'init_args'), 'configuration');
  if (typeof configuration !== 'string') throw wrong('init_args.configuration is missing');
  const trainer = entry(saved, 'trainer_name');
  if (typeof trainer !== 'string') throw wrong('trainer_name is missing');
  const axes = entry(saved, 'inference_allowed_mirroring_axes') ?? [];
  if (
    !Array.isArray(axes) ||
    !axes.every((axis) => axis === 0 || axis === 1 || axis === 2) ||
    new Set(axes).size < axes.length
  )
    throw wrong('inference_allowed_mirroring_axes are no axes from 0 to 2, each once');
  return { weights: stateDictOf(saved, name), configuration, trainer, mirrorAxes: axes };
}
