/** What `predict --uncertainty` leaves and tells: where a network is unsure, and which case is worth annotating next. */
import { writeNifti } from '../data/nifti.ts';
import { uncertaintySuffix } from '../data/volume-names.ts';
import type { Uncertainty } from '../infer/uncertainty.ts';
import type { WrittenFile } from './results-there.ts';
import { table } from './text.ts';

/** CASE_uncertainty.nii.gz beside CASE.nii.gz. */
export const uncertaintyPath = (target: string): string =>
  target.replace(/(\.nii(\.gz)?)$/i, `${uncertaintySuffix}$1`);

/** The map of a case as a file, and what of it goes into a line of JSON. */
export async function uncertaintyFile(
  { volume, ...facts }: Uncertainty,
  target: string,
): Promise<{
  readonly file: WrittenFile;
  readonly told: Omit<Uncertainty, 'volume'> & { readonly output: string };
}> {
  const path = uncertaintyPath(target);
  const bytes = await writeNifti(volume, { gzip: /\.gz$/i.test(path) });
  return { file: { path, bytes }, told: { output: path, ...facts } };
}

/** The cases, the most uncertain first, each with its slices and its voxel to begin at. */
export function annotateNext(
  cases: readonly (Omit<Uncertainty, 'volume'> & { readonly name: string })[],
): string[] {
  const shown = (numbers: readonly number[], digits = 0): string =>
    numbers.map((n) => n.toFixed(digits)).join(', ');
  const rows = [...cases].sort((a, b) => b.mean - a.mean);
  return table([
    ['to annotate next', 'uncertainty', 'slices x, y, z', 'voxel', 'mm'],
    ...rows.map(({ name, mean, slices, voxel, millimetres }) => [
      name,
      mean.toFixed(4),
      shown(slices),
      shown(voxel),
      shown(millimetres, 1),
    ]),
  ]);
}
