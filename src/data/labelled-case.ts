/** Cases with their truth. */
import { InvalidDataset } from '../errors.ts';
import { requireClasses, requireKnown } from './prepare-checks.ts';
import type { PreparedCase } from './prepare.ts';

/** A case with its truth, in memory: what `prepareCase` gives for a case with a label. */
export type LabelledCase = PreparedCase & { readonly label: Uint8Array };

/**
 * @param classes their number, background included
 * @param names by label value, for the message
 * @throws InvalidDataset for a case without a label, with label values outside the classes or with no known voxel
 */
export function assertLabelled(
  cases: readonly PreparedCase[],
  classes: number,
  names: readonly string[],
): asserts cases is readonly LabelledCase[] {
  for (const { id, label } of cases) {
    if (!label) throw new InvalidDataset(`Case "${id}" has no label; training and evaluation need one.`);
    requireClasses(`Case "${id}"`, label, classes, names);
    requireKnown(id, label);
  }
}
