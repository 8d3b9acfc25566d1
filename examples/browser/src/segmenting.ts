/** Segments volumes one after another, whatever view is shown. */
import {
  imagesByCase,
  InvalidDataset,
  looksLikeLabel,
  sourceName,
  volumesAmong,
  type FileEntry,
  type NamedVolume,
} from 'unet3d-gpu/worker';
import { dataJob } from './data-client.ts';
import { withoutDicom } from './dicom.ts';
import { fileProblem, leftOut } from './dom.ts';
import { changed, state, type OpenModel, type VolumeFile } from './state.ts';

export interface Segmented {
  readonly labels: File;
  /** By label value. */
  readonly millilitres: readonly number[];
  readonly warnings: readonly string[];
}

/** Labels of one volume on its own grid, as a file of that name. */
export async function segmented(
  model: OpenModel,
  sources: readonly VolumeFile[],
  name: string,
  options: {
    readonly signal?: AbortSignal;
    readonly onProgress?: (progress: { readonly loaded: number; readonly total: number }) => void;
  } = {},
): Promise<Segmented> {
  const { labels, warnings } = await model.predict([...sources], options);
  const { classes } = model.config;
  const written = await dataJob('write', { labels, name, classes }, undefined, undefined, [
    labels.data.buffer as ArrayBuffer,
  ]);
  return { ...written, warnings };
}

/** Names of the classes of a model by label value. */
export const namesOf = ({ config, description }: OpenModel): string[] =>
  Array.from(
    { length: config.classes },
    (_, value) => description.labels?.[value] ?? (value === 0 ? 'background' : `class ${value}`),
  );

const waiting: NamedVolume[] = [];
let controller: AbortController | undefined;

/** What the queue is at. */
export const queue = {
  /** Empty where it rests. */
  status: '',
  problems: [] as string[],
  /** Of the files that were added last. */
  notes: [] as readonly string[],
};

/** Adds the volumes among some files; labels beside them are no images. */
export async function enqueue(given: readonly FileEntry[]): Promise<void> {
  const { model } = state;
  if (!controller) queue.problems = [];
  if (!model) {
    queue.problems = ['Open a model first, or train a network here.'];
    return changed();
  }
  const { entries, notes } = await withoutDicom(given, (done, folders) => {
    queue.status = `Converting ${done} of ${folders} folders of DICOM files`;
    changed();
  });
  if (!controller) queue.status = '';
  queue.problems.push(...leftOut(entries));
  queue.notes = notes;
  const all = volumesAmong(entries);
  const isImage = ({ path }: FileEntry): boolean => !looksLikeLabel(path);
  const images = all.some(isImage) ? all.filter(isImage) : all;
  const labels = all.length - images.length;
  if (labels > 0)
    queue.problems.push(
      labels === 1
        ? 'One file is named as labels and left out.'
        : `${labels} files are named as labels and left out.`,
    );
  try {
    const { volumes } = await imagesByCase(images, model.config.inChannels);
    waiting.push(...volumes);
  } catch (error) {
    if (!(error instanceof InvalidDataset)) throw error;
    queue.problems.push(error.message);
  }
  changed();
  if (!controller) await work();
}

async function work(): Promise<void> {
  controller = new AbortController();
  const { signal } = controller;
  for (;;) {
    const next = waiting.shift();
    if (!next) break;
    await segmentNext(next, signal);
  }
  controller = undefined;
  queue.status = '';
  changed();
}

async function segmentNext({ name, files }: NamedVolume, signal: AbortSignal): Promise<void> {
  const { model, modelName } = state;
  if (!model) return;
  const group = files.map(({ source }) => source as VolumeFile);
  const [file] = group as [VolumeFile, ...VolumeFile[]];
  const shown = sourceName(file);
  const say = (more = ''): void => {
    const rest = waiting.length > 0 ? `; ${waiting.length} more to go` : '';
    queue.status = `Segmenting ${shown}${more}${rest}`;
    changed();
  };
  say();
  const begun = performance.now();
  try {
    const found = await segmented(model, group, `${name}_labels.nii.gz`, {
      signal,
      onProgress: ({ loaded, total }) => say(`: window ${loaded} of ${total}`),
    });
    state.results.push({
      modelName: 'kind' in model ? `${modelName} (${model.kind})` : modelName,
      classes: namesOf(model),
      name: shown,
      source: file,
      ...found,
      seconds: (performance.now() - begun) / 1000,
      saved: false,
    });
  } catch (error) {
    queue.problems.push(fileProblem(file, error));
  }
  changed();
}

/** Ends the volume at hand and forgets those that wait. */
export function stopQueue(why = 'it was stopped'): void {
  if (waiting.length > 0) queue.problems.push(`${waiting.length} volumes were not segmented: ${why}.`);
  waiting.length = 0;
  controller?.abort();
  changed();
}
