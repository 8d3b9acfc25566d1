/** For which classes or regions the largest component alone is better, by label files beside their truth. */
import { filled } from '../data/allocation.ts';
import { labelOf } from '../data/label-values.ts';
import type { Region } from '../data/regions.ts';
import type { Volume } from '../data/volume.ts';
import {
  choosePostprocessing,
  chooseRegionPostprocessing,
  componentDice,
  type ComponentDice,
  type LabelPair,
  type PostprocessingChoice,
} from '../metrics/components.ts';
import { comparedMaps } from '../metrics/label-maps.ts';

/** A case, its truth on the axes of its prediction. */
export interface HeldVolumes {
  readonly id: string;
  readonly truth: Volume;
  readonly prediction: Volume;
}

/**
 * The largest component for those classes or regions whose mean Dice rises with it.
 * @param each looks at one case after the other; with regions once for each of them
 * @param classes label values
 */
export async function postprocessingFor(
  each: <T>(look: (item: HeldVolumes) => T) => Promise<readonly T[]>,
  {
    classes,
    ignore,
    regions,
  }: { classes: number; ignore: number | undefined; regions?: readonly Region[] | undefined },
): Promise<PostprocessingChoice> {
  const pair = ({ id, truth, prediction }: HeldVolumes): LabelPair => {
    const maps = comparedMaps(truth, prediction, { classes, ignore, name: id });
    // As it is post-processed: unknown voxels are left out of scores, and cut no component.
    const predicted = filled(new Uint8Array(maps.truth.length), prediction.data, labelOf);
    return { truth: maps.truth, prediction: predicted, shape: maps.shape };
  };
  if (regions) return chooseRegionPostprocessing((look) => each((item) => look(pair(item))), regions);
  const scores = await each((item): ComponentDice => {
    const { truth, prediction, shape } = pair(item);
    return componentDice(prediction, truth, shape, classes);
  });
  return choosePostprocessing(scores, classes);
}
