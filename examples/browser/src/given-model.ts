/** Models that a person gives as files: those of this package and those of other tools, and what has to be asked about them. */
import { foldersToChoose, isOnePart, type FileEntry } from 'unet3d-gpu/worker';
import { ask } from './ask.ts';
import { ForeignModel } from './foreign-model.ts';
import { KeptModel } from './kept-model.ts';
import { besideModel, foreignAmong, type ModelSource } from './model-source.ts';
import type { OpenModel } from './state.ts';

export interface GivenModel {
  readonly name: string;
  /** Undefined where the person does not say which one. */
  readonly load: (signal: AbortSignal) => Promise<OpenModel | undefined>;
  /** What was given beside it. */
  readonly others: readonly FileEntry[];
}

/** The model among some files, if there is one. */
export function modelAmong(entries: readonly FileEntry[]): GivenModel | undefined {
  const files = foreignAmong(entries);
  if (files)
    return { name: nameOf(files), load: (signal) => foreign(files, signal), others: besideModel(entries) };
  const own = entries.find(({ path }) => path.endsWith('.safetensors'));
  if (!own) return undefined;
  const file = own.source as File;
  return {
    name: file.name,
    load: () => KeptModel.open(() => Promise.resolve(file)),
    others: entries.filter((entry) => entry !== own),
  };
}

async function foreign(files: ModelSource, signal: AbortSignal): Promise<ForeignModel | undefined> {
  const folders = await foldersToChoose(files);
  const isPart = await isOnePart(files);
  if (folders.length < 2 && !isPart) return ForeignModel.open(files, folders[0], signal);
  const chosen = isPart
    ? await ask(
        'This network is named after TotalSegmentator. How is it used?',
        [
          ['all', 'As TotalSegmentator does'],
          [folders[0]!, 'As nnU-Net does'],
        ],
        'TotalSegmentator turns and resamples images itself before nnU-Net does, and labels afterwards.',
      )
    : await ask(`There are ${folders.length} models of nnU-Net. Which one?`, [
        ...folders.map((folder) => [folder, folder] as const),
        ['all', 'All, as the parts of TotalSegmentator'],
      ]);
  if (chosen === undefined) return undefined;
  return ForeignModel.open(files, chosen === 'all' ? undefined : chosen, signal);
}

function nameOf(files: ModelSource): string {
  if (files instanceof File) return files.name;
  const tops = new Set(files.map(({ path }) => path.split('/')[0]!));
  return tops.size === 1 ? [...tops][0]! : `${files.length} files`;
}
