/** What has to be asked about data before they are the cases of the page. */
import { volumePattern, type FileEntry } from 'unet3d-gpu/worker';
import { ask } from './ask.ts';
import { dataJob } from './data-client.ts';
import { rivals, withoutSides } from './datasets.ts';
import { counted } from './dom.ts';
import { setMade } from './kept/data.ts';
import { timesIn } from './segmenting.ts';
import { state, type PageCase } from './state.ts';

/**
 * What is to become of the cases that are there; undefined where the person wants no others after all.
 * @param lost what would go with them
 */
export function askWhatStays(lost: readonly string[]): Promise<'replace' | 'add' | undefined> {
  const { length } = state.cases;
  const cases = length === 1 ? 'a case' : `${length} cases`;
  return ask(
    `There ${length === 1 ? 'is' : 'are'} ${cases} of ${state.name} already`,
    [
      ['replace', 'Replace them'],
      ['add', 'Add to them'],
    ],
    lost.length > 0 ? `Who replaces them loses ${lost.join(', ')}.` : '',
  );
}

/** Whether what no file holds may go. */
export const mayBeLost = async (what: readonly string[]): Promise<boolean> =>
  (await ask(
    'Begin with nothing?',
    [['go', 'Begin without them']],
    `No file holds what would be lost: ${what.join(', ')}.`,
  )) !== undefined;

/** Of several folders with labels of the same images, the one that the person wants; undefined for none of them. */
export async function oneLabelEach(files: readonly FileEntry[]): Promise<readonly FileEntry[] | undefined> {
  const folders = rivals(files.filter(({ path }) => volumePattern.test(path)));
  if (folders.size === 0) return files;
  const chosen = await ask(
    'Which labels are to be learnt?',
    [...folders].map(([folder, count]) => [folder, `${folder}: ${counted(count, 'label')}`] as const),
    'Several folders hold labels of the same images.',
  );
  if (chosen === undefined) return undefined;
  return withoutSides(
    files,
    [...folders.keys()].filter((folder) => folder !== chosen),
  );
}

/**
 * Asks whether files with several volumes are channels of an image or moments in time; of those one volume is made.
 * @returns what the channels are called, or the cases that take the places of others; undefined where there is no answer
 */
export async function aboutSeries(
  signal: AbortSignal,
  onProgress: (loaded: number, total: number) => void,
): Promise<
  { readonly channels?: string[] } | { readonly cases: ReadonlyMap<PageCase, PageCase> } | undefined
> {
  const several = new Map(
    state.report?.cases.filter(({ intensities }) => intensities.length > 1).map((item) => [item.id, item]),
  );
  const cases = state.cases.filter(({ id, images }) => several.has(id) && images.length === 1);
  if (state.channels.length > 0 || cases.length === 0) return {};
  const count = several.get(cases[0]!.id)!.intensities.length;
  const answer = await ask(
    `Files hold ${count} volumes each. What are they?`,
    [
      ['channels', `${count} channels of one image`],
      ['first', 'Moments in time: use the first'],
      ['mean', 'Moments in time: use their mean'],
    ],
    'Channels, such as T1 and T2 of one scan, are read all at once by the network, also when it is used.',
  );
  if (answer === undefined) return undefined;
  if (answer === 'channels')
    return { channels: Array.from({ length: count }, (_, channel) => `channel ${channel + 1}`) };
  // What a network that learns from these is to find in others has to be the same.
  const waiting: PageCase[] = [];
  for (const item of state.cases)
    if (!item.label && item.images.length === 1 && (await timesIn(item.images[0]!)) > 1) waiting.push(item);
  const made = new Map<PageCase, PageCase>();
  for (const [done, item] of [...cases, ...waiting].entries()) {
    try {
      const [file] = await dataJob('reduce', { images: item.images, to: answer }, { signal });
      setMade(file!);
      made.set(item, { ...item, images: [file!] });
    } catch (error) {
      if (signal.aborted || item.label) throw error;
      // It stays as it is, and is told of where it is segmented.
    }
    onProgress(done + 1, cases.length + waiting.length);
  }
  return { cases: made };
}
