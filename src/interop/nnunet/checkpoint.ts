/** nnU-Net's checkpoint_final.pth: the weights under names of their own, and what a prediction needs besides. */
import type { Source } from '../../data/source.ts';
import { InvalidModel } from '../../errors.ts';
import { listed } from '../../listed.ts';
import { readPytorch } from '../../weights/pytorch/read.ts';
import { stateDictOf, type StateDict } from '../../weights/pytorch/state-dict.ts';

export interface NnunetCheckpoint {
  /** Read one by one when they are asked for; aliases are left out. */
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
export async function readCheckpoint(source: Source, name: string): Promise<NnunetCheckpoint> {
  const saved = await readPytorch(source, name);
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
  if (!Array.isArray(axes) || !axes.every((axis) => axis === 0 || axis === 1 || axis === 2))
    throw wrong('inference_allowed_mirroring_axes are no axes from 0 to 2');
  const weights = new Map(
    [...stateDictOf(saved, name)].filter(
      ([key]) => !key.includes('.all_modules.') && !key.startsWith('decoder.encoder.'),
    ),
  );
  return { weights, configuration, trainer, mirrorAxes: axes };
}

/**
 * @param shapes as `weightShapes` gives them
 * @param name what messages call the file
 * @throws InvalidModel naming weights that are missing, surplus or of another shape
 */
export function requireWeights(
  weights: StateDict,
  shapes: ReadonlyMap<string, readonly number[]>,
  name: string,
): void {
  const missing = [...shapes.keys()].filter((key) => !weights.has(key));
  if (missing.length > 0)
    throw new InvalidModel(
      `${name} lacks ${listed(missing)}: it is not of the network that plans.json describes`,
    );
  const surplus = [...weights.keys()].filter((key) => !shapes.has(key));
  if (surplus.length > 0)
    throw new InvalidModel(
      `${name} holds ${listed(surplus)}, for which the network that plans.json describes has no place`,
    );
  for (const [key, shape] of shapes) {
    const found = weights.get(key)!.shape;
    if (found.join() !== shape.join())
      throw new InvalidModel(
        `${name} has ${key} of shape [${found.join(', ')}]; expected [${shape.join(', ')}], as plans.json says`,
      );
  }
}
