/** What a model finds, and under which names and values. */
import type { Region } from 'unet3d-gpu/worker';
import type { OpenModel } from './state.ts';

export const regionsOf = ({ description }: OpenModel): readonly Region[] | undefined =>
  'regions' in description ? description.regions : undefined;

/** What a model finds: regions, of which voxels may belong to several, or else its classes. */
export const findingsOf = (model: OpenModel): readonly Region[] =>
  regionsOf(model) ??
  namesOf(model)
    .map((name, value) => ({ name, labels: [value], written: value }))
    .slice(1);

/** Names by label value of what a model writes: of regions that overlap, that of the last one that holds a voxel. */
export const namesOf = (model: OpenModel): string[] => {
  const { labels } = model.description;
  const written = new Map(regionsOf(model)?.map((region) => [region.written, region.name]));
  return Array.from(
    { length: written.size > 0 ? Math.max(...written.keys()) + 1 : model.config.classes },
    (_, value) => written.get(value) ?? labels[value] ?? (value === 0 ? 'background' : `class ${value}`),
  );
};
