/** Segments volumes one after another, whatever view is shown. */
import {
  imagesByCase,
  InvalidDataset,
  looksLikeLabel,
  readHeader,
  sourceName,
  stemOf,
  volumesAmong,
  type FileEntry,
  type NamedVolume,
  type Segmentation,
} from 'unet3d-gpu/worker';
import { ask } from './ask.ts';
import { dataJob } from './data-client.ts';
import { withoutDicom } from './dicom.ts';
import { counted, problemOf, leftOut, messageOf, noVolume, unsaid } from './dom.ts';
import { listed, type Listing } from './dropped.ts';
import { findingsOf, namesOf } from './findings.ts';
import { KeptModel } from './kept-model.ts';
import {
  addResult,
  changed,
  inTraining,
  onChange,
  state,
  type MeasuredVolume,
  type OpenModel,
  type VolumeFile,
} from './state.ts';

export interface Segmented {
  readonly labels: File;
  /** The same, or of volumes of 0 and 1 that overlap what can be drawn of them: a value for each voxel. */
  readonly overlay: File;
  readonly volumes: readonly MeasuredVolume[];
  readonly warnings: readonly string[];
  readonly uncertainty: Segmentation['uncertainty'];
}

/** Labels of one volume on its own grid, as a file of that name. */
export async function segmented(
  model: OpenModel,
  sources: readonly VolumeFile[],
  name: string,
  options: {
    readonly signal?: AbortSignal;
    readonly onProgress?: (progress: { readonly loaded: number; readonly total: number }) => void;
    /** Networks of this package tell how unsure they are. */
    readonly uncertainty?: boolean;
  } = {},
): Promise<Segmented> {
  const { labels, warnings, uncertainty } =
    model instanceof KeptModel
      ? await model.predict([...sources], options)
      : { ...(await model.predict([...sources], options)), uncertainty: undefined };
  const { millilitres, ...files } = await dataJob(
    'write',
    { labels, name, classes: namesOf(model).length },
    { transfer: [labels.data.buffer as ArrayBuffer], signal: options.signal },
  );
  const sum = (values: readonly number[]): number =>
    values.reduce((total, value) => total + (millilitres[value] ?? 0), 0);
  const volumes = findingsOf(model).map((found) => ({ ...found, millilitres: sum(found.labels) }));
  return { ...files, volumes, warnings, uncertainty };
}

const waiting: NamedVolume[] = [];
/** The model that they are given to. */
let theirModel: OpenModel | undefined;
/** Of models, in the order in which they have found something. */
const numbers = new WeakMap<OpenModel, number>();
let models = 0;

/** Of the volume that is being segmented. */
let controller: AbortController | undefined;

/** Ends the reading of files that are to be segmented. */
let conversion = new AbortController();

/** What the queue is at. */
export const queue = {
  /** Empty where it rests. */
  status: '',
  /** How far the volume at hand is. */
  progress: '',
  problems: [] as string[],
  /** Of the files that were added last. */
  notes: [] as readonly string[],
};

function tell(status: string, progress = ''): void {
  Object.assign(queue, { status, progress });
  changed();
}

/** What was dropped to be segmented, or to segment with; undefined where that was stopped. */
export function filesOf(list: Listing): Promise<File[] | undefined> {
  return listed(list, conversion.signal, (text) => tell(text)).finally(() => controller || tell(''));
}

/** Adds the volumes among some files; labels beside them are no images. */
export async function enqueue(given: readonly FileEntry[]): Promise<void> {
  const { model } = state;
  if (!controller) queue.problems = [];
  if (!model || inTraining()) {
    const why = model
      ? 'The network is training: segment when that is paused or done.'
      : 'Open a model first, or train a network here.';
    queue.problems = [why];
    return changed();
  }
  try {
    waiting.push(...(await volumesOf(given, model)));
  } finally {
    if (controller) changed();
    else tell('');
  }
  if (!controller) await work();
}

/** The volumes among some files, as the model reads them; what is left out is said. */
async function volumesOf(
  given: readonly FileEntry[],
  { config, description }: OpenModel,
): Promise<readonly NamedVolume[]> {
  const { signal } = conversion;
  const say = (text: string): void => {
    if (!signal.aborted) tell(text);
  };
  const soon = setTimeout(() => controller || say('Looking at the files'), unsaid);
  const converted = await withoutDicom(given, {
    signal,
    onFolder: (done, folders) => say(`Converting ${done} of ${folders} folders of DICOM files`),
  }).finally(() => clearTimeout(soon));
  if (!converted) return [];
  const { entries, notes } = converted;
  queue.problems.push(...leftOut(entries));
  queue.notes = notes;
  const all = volumesAmong(entries);
  if (all.length === 0) queue.problems.push(noVolume);
  const isImage = ({ path }: FileEntry): boolean => !looksLikeLabel(path);
  const images = all.some(isImage) ? all.filter(isImage) : all;
  const labels = all.length - images.length;
  if (labels > 0)
    queue.problems.push(
      `${counted(labels, 'file')} named as labels ${labels === 1 ? 'is' : 'are'} left out.`,
    );
  let count = images.length;
  try {
    const { inChannels } = config;
    const found = await imagesByCase(images, inChannels, description.channels ?? []);
    count = found.volumes.length;
    const volumes = inChannels > 1 ? found.volumes : await oneImageEach(found.volumes, signal, say);
    signal.throwIfAborted();
    return volumes;
  } catch (error) {
    if (signal.aborted) queue.problems.push(notSegmented(count, String(signal.reason)));
    else if (error instanceof InvalidDataset) queue.problems.push(messageOf(error));
    else throw error;
    return [];
  }
}

/** What is an image of its own: of files with several volumes, one is made as the person says. */
async function oneImageEach(
  volumes: readonly NamedVolume[],
  signal: AbortSignal,
  say: (text: string) => void,
): Promise<readonly NamedVolume[]> {
  const several: NamedVolume[] = [];
  let count = 1;
  for (const volume of volumes) {
    const times = await timesIn(sourceOf(volume));
    if (times > 1) several.push(volume);
    count = Math.max(count, times);
  }
  if (several.length === 0) return volumes;
  const what = several.length === 1 ? `${several[0]!.name} holds` : `${several.length} files hold up to`;
  const to = await ask(
    `${what} ${count} volumes, and this model reads one image. What are they?`,
    [
      ['first', 'Moments in time: use the first'],
      ['mean', 'Moments in time: use their mean'],
    ],
    'Channels, such as T1 and T2 of one scan, need a model that reads as many.',
  );
  if (!to) queue.problems.push(notSegmented(several.length, 'the model reads one image'));
  const made = new Map<NamedVolume, NamedVolume>();
  for (const [done, volume] of to ? several.entries() : []) {
    if (done > 0) say(`Reading ${done} of ${several.length} series`);
    try {
      const [source] = await dataJob('reduce', { images: [sourceOf(volume)], to: to! }, { signal });
      made.set(volume, { ...volume, files: [{ path: source!.name, source: source! }] });
    } catch (error) {
      signal.throwIfAborted();
      queue.problems.push(problemOf(shownName(volume), error)); // the others are none the worse
    }
  }
  return volumes.flatMap((volume) => (several.includes(volume) ? (made.get(volume) ?? []) : [volume]));
}

const sourceOf = ({ files }: NamedVolume): VolumeFile => files[0]!.source as VolumeFile;

/** Volumes in a file; 1 where it cannot be read, which is told when it is segmented. */
export const timesIn = (file: VolumeFile): Promise<number> =>
  readHeader('header' in file ? file.header : file).then(
    ({ shape }) => shape[3] ?? 1,
    () => 1,
  );

/** Segments what waits, until a training has the GPU. */
async function work(): Promise<void> {
  while (!inTraining()) {
    const next = waiting.shift();
    if (!next) break;
    controller = new AbortController(); // of its own: volumes that are added after a stop are segmented
    await segmentNext(next, controller.signal);
  }
  controller = undefined;
  tell(waiting.length > 0 ? `${counted(waiting.length, 'volume')} to segment after the training` : '');
}

/** What it is called where it is told of. */
function shownName({ name, files }: NamedVolume): string {
  const file = sourceName(files[0]!.source);
  // A folder tells it from others whose files have the same name.
  return [name, `${name}_0000`].includes(stemOf(file)) ? file : name;
}

async function segmentNext(volume: NamedVolume, signal: AbortSignal): Promise<void> {
  const { name, files } = volume;
  const { model, modelName } = state;
  if (!model) return;
  const group = files.map(({ source }) => source as VolumeFile);
  const [file] = group as [VolumeFile, ...VolumeFile[]];
  const shown = shownName(volume);
  const say = (progress = ''): void => {
    const rest = waiting.length > 0 ? `; ${waiting.length} more to go` : '';
    tell(`Segmenting ${shown}${rest}`, progress);
  };
  say();
  const begun = performance.now();
  try {
    const found = await segmented(model, group, `${name}_labels.nii.gz`, {
      signal,
      onProgress: ({ loaded, total }) => say(` (window ${loaded} of ${total})`),
    });
    const number = numbers.get(model) ?? ++models;
    numbers.set(model, number);
    addResult({
      model: number,
      modelName: 'kind' in model ? `${modelName} (${model.kind})` : modelName,
      classes: namesOf(model),
      name: shown,
      source: file,
      ...found,
      seconds: (performance.now() - begun) / 1000,
      saved: false,
    });
  } catch (error) {
    if (signal.reason === untilLater) return void waiting.unshift(volume);
    const problem = signal.aborted
      ? `${shown} was not segmented: ${String(signal.reason)}.`
      : problemOf(shown, error);
    queue.problems.push(problem);
  }
  changed();
}

const notSegmented = (count: number, why: string): string =>
  `${counted(count, 'volume')} ${count === 1 ? 'was' : 'were'} not segmented: ${why}.`;

/** Ends the volume at hand and forgets those that wait, or are being converted. */
export function stopQueue(why: string): void {
  conversion.abort(why);
  conversion = new AbortController();
  if (left() === 0) return;
  if (waiting.length > 0) queue.problems.push(notSegmented(waiting.length, why));
  waiting.length = 0;
  controller?.abort(why);
  tell('');
}

/** Why a volume is taken up again after a training. */
const untilLater = Symbol('until later');

/** Gives the GPU to a training: the volume at hand is begun again afterwards, and those that wait go on waiting. */
export function restQueue(): void {
  controller?.abort(untilLater);
}

/** Whether volumes are still to be segmented with the open model. */
export const isQueued = (): boolean => left() > 0;

const left = (): number => waiting.length + (controller && !controller.signal.aborted ? 1 : 0);

/** Whether no volume waits for the open model, or the person gives them up. @param what is to be done */
export function givesUpQueue(what: string): boolean {
  const count = left();
  if (count === 0) return true;
  const these = `${counted(count, 'volume')} ${count === 1 ? 'is' : 'are'}`;
  return confirm(
    `${these} still to be segmented with ${state.modelName}. ${what}, and leave ${count === 1 ? 'it' : 'them'} out?`,
  );
}

// Volumes wait for the model that was open when they came.
onChange(() => {
  const { model } = state;
  if (model !== theirModel) {
    theirModel = model;
    stopQueue(model ? 'another model was opened' : 'its model was closed');
  } else if (waiting.length > 0 && !controller && !inTraining()) void work();
});
