/** Cases with their truth. */
import { InvalidDataset } from '../errors.ts';
import { requireClasses, requireKnown } from './prepare-checks.ts';
import type { PreparedCase } from './prepare.ts';
import { labelCount, type Region } from './regions.ts';

/** A case with its truth, in memory: what `prepareCase` gives for a case with a label. */
export type LabelledCase = PreparedCase & { readonly label: Uint8Array };

/**
 * @param network with names by label value, for the message; classes, background included, or regions of label values
 * @throws InvalidDataset for a case with other channels than the network's, without a label, with label values outside
 *   the classes or with no known voxel
 */
export function assertLabelled(
  cases: readonly PreparedCase[],
  {
    config: { inChannels, classes: heads },
    labels: names,
    regions,
  }: {
    readonly config: { readonly inChannels: number; readonly classes: number };
    readonly labels: readonly string[];
    readonly regions?: readonly Region[] | undefined;
  },
): asserts cases is readonly LabelledCase[] {
  const classes = regions ? Math.max(names.length, labelCount(regions)) : heads;
  for (const { id, label, channels, image, shape } of cases) {
    const found = image.length / (shape[0] * shape[1] * shape[2]);
    if (channels !== found)
      throw new InvalidDataset(
        `Case "${id}": channels is ${channels}, and its image holds ${found}; give the case as prepareCase gives it.`,
      );
    if (found !== inChannels)
      throw new InvalidDataset(
        `Case "${id}" has ${found} channel(s), and the network takes ${inChannels}: give cases of that many, or create the network with inChannels ${found}.`,
      );
    if (!label) throw new InvalidDataset(`Case "${id}" has no label; training and evaluation need one.`);
    requireClasses(`Case "${id}"`, label, classes, names);
    requireKnown(id, label);
  }
}
