/** Reads, checks and prepares volumes off the page's thread; nothing here touches the GPU. */
import {
  checkCase,
  exportOnnx,
  exportSafetensors,
  greyWindow,
  ignored,
  mostTelling,
  phantom,
  phantomLabels,
  prepareCase,
  readHeader,
  reportOf,
  viewOf,
  voxelVolume,
  writeNifti,
  type Case,
  type CaseCheck,
  type Dataset,
  type DatasetReport,
  type FileEntry,
  type LabelledCase,
  type Preprocessing,
  type Segmentation,
  type Size3,
} from 'unet3d-gpu/worker';
import { drawnOf, labelsOf, type Marks, type Paint } from './annotate/drawing.ts';
import { displayShape, putInDisplay, toDisplay, type Turn } from './annotate/grid.ts';
import { grown, type Range } from './annotate/grow.ts';
import { interpolated, type Across, type Gap } from './annotate/interpolate.ts';
import { unpacked, type Packed } from './annotate/packing.ts';
import { greysOf, inShorts, valuesOf, type Voxels } from './annotate/scan.ts';
import { assessed, hashOf, type Found } from './assessed.ts';
import {
  counted,
  labelOver,
  mapped,
  mostValues,
  readVolume,
  unzipped,
  valuesIn,
  volumeOf,
} from './label-maps.ts';
import { restsUntil } from './pieces.ts';
import { planes } from './planes.ts';
import { shown } from './shown.ts';
import type { VolumeFile } from './state.ts';
import { serve, type Task } from './worker-jobs.ts';

export interface DataRequests {
  /** `keys`: what tells the files of each case from all others, which may have their names, sizes and times. */
  check: { dataset: Dataset; keys: readonly string[] };
  /** Of one training at a time, by its id. */
  prepare: {
    run: string;
    cases: readonly Case[];
    preprocessing: Preprocessing;
    classes: number;
    ignoreLabel: number | undefined;
  };
  /** A model file in the format of other programs. */
  export: { model: Uint8Array; format: 'safetensors' | 'onnx' };
  prepared: { run: string; ids: readonly string[] };
  assess: Found;
  hash: { file: Blob };
  release: { run: string };
  survey: { run: string; id: string };
  phantoms: { count: number; shape: [number, number, number] };
  /** `others`: what becomes of values that `classes` does not mention. */
  map: {
    labels: readonly VolumeFile[];
    classes: ReadonlyMap<number, number>;
    others: 'background' | 'stay';
  };
  reduce: { images: readonly VolumeFile[]; to: 'first' | 'mean' };

  /** Labels of a segmentation, to be written as a file of that name, and as one that can be drawn. */
  write: { labels: ResultVolume; name: string; classes: number };
  view: { volume: VolumeFile; isLabels: boolean; most: number };
  /** To be written as any program reads it. */
  plain: { volume: VolumeFile };
  /** `most`: voxels that are shown whole. */
  greys: { image: VolumeFile; most: number };
  /** `turn`: of the display. */
  values: { labels: VolumeFile; turn: Turn };
  /** The drawing that a label file makes, in the order of the display. */
  drawing: { image: VolumeFile; label: VolumeFile; unknown: number | undefined; turn: Turn };
  /** What is to be drawn between drawn slices. `spacing`: of voxels, in millimetres. */
  between: { gaps: readonly Gap[]; across: Across & { readonly spacing: Size3 } };
  /** What strokes grow to. `image`, of that shape: in the order of the file; `drawn`: in that of the display. */
  grow: { image: Voxels; shape: Size3; turn: Turn; drawn: Uint8Array; range: Range };
  /** The label map of a drawing, as a file of that name. `changed`: when, in milliseconds. */
  label: {
    image: VolumeFile;
    drawing: Packed & { readonly marks: Marks };
    unknown: number;
    name: string;
    changed: number;
  };
}

/** Labels on the grid of a source. */
type ResultVolume = Segmentation<Uint8Array | Uint16Array>['labels'];

/** What was found in cases, by what tells whether it still holds: a case is read again only where it has changed. */
const checked = new Map<string, Promise<CaseCheck>>();

/** A case, the key of its files, and the rules under which it was checked. */
function keyOf({ id, subject }: Case, files: string, { labels, channels, ignoreLabel }: Dataset): string {
  return JSON.stringify([id, subject, files, labels, channels, ignoreLabel ?? null]);
}

/** What one training needs stays here, and the page's thread never copies a volume. */
let prepared: { readonly run: string; readonly cases: ReadonlyMap<string, LabelledCase> } | undefined;

const replaced = (): Error =>
  new Error('the cases of another training have been prepared meanwhile: do this again when that is done');

function find(run: string, id: string): LabelledCase {
  const item = prepared?.run === run ? prepared.cases.get(id) : undefined;
  if (!item) throw replaced();
  return item;
}

const jobs = {
  async check({ dataset, keys: files }: DataRequests['check'], { progress, signal }: Task) {
    const checks: CaseCheck[] = [];
    const keys = new Set<string>();
    for (const [index, item] of dataset.cases.entries()) {
      signal.throwIfAborted();
      const key = keyOf(item, files[index]!, dataset);
      keys.add(key);
      const known = checked.get(key);
      const check =
        known ??
        checkCase(item, dataset).catch((error: unknown) => {
          checked.delete(key); // it may be for want of memory
          const reason = error instanceof Error ? error.message : String(error);
          throw new Error(
            `Case "${item.id}" could not be checked (${reason}): go on reading, or give the cases without it`,
          );
        });
      checked.set(key, check);
      checks.push(await check);
      if (!known) progress(checks.length, dataset.cases.length);
    }
    for (const key of checked.keys()) if (!keys.has(key)) checked.delete(key);
    const { problems, cases, fingerprint } = await reportOf(dataset, checks);
    const report: DatasetReport = {
      problems,
      cases: cases.map(({ foreground: _samples, ...item }) => item), // large, and only for the fingerprint
      ...(fingerprint && { fingerprint }),
    };
    return { report, values: await strangeValues(dataset, report) };
  },
  /** Labels with other values. */
  async map({ labels, classes, others }: DataRequests['map'], { progress, signal }: Task) {
    const files: VolumeFile[] = [];
    for (const label of labels) {
      signal.throwIfAborted();
      const file = mapped(label, classes, others);
      // What is wrong with one whose values stay is found where it is read as a case.
      files.push(await (others === 'stay' ? file.catch(() => label) : file));
      progress(files.length, labels.length);
    }
    return files;
  },
  async write({ labels, name, classes }: DataRequests['write']) {
    const { affine, shape } = labels;
    const file = async (volume: ResultVolume): Promise<File> => new File([await writeNifti(volume)], name);
    const { counts, drawn } = counted(labels, classes);
    const millilitresPerVoxel = voxelVolume(affine) / 1000;
    const written = await file(labels);
    return {
      labels: written,
      overlay: shape.length > 3 ? await file({ ...labels, data: drawn, shape: shape.slice(0, 3) }) : written,
      millilitres: counts.map((count) => count * millilitresPerVoxel),
    };
  },
  async label({ image, drawing, unknown, name, changed }: DataRequests['label']) {
    const labels = labelsOf(await unpacked(drawing), drawing.shape, drawing.marks, unknown);
    const { shape, affine, header } = await readVolume(image);
    const bytes = await writeNifti({ data: labels, shape: shape.slice(0, 3), affine, header });
    return new File([bytes], name, { lastModified: changed });
  },
  async drawing({ image, label, unknown, turn }: DataRequests['drawing']) {
    const { shape } = await readHeader('header' in image ? image.header : image);
    const size = [...shape, 1, 1].slice(0, 3) as unknown as Size3;
    const { drawn, isWhole } = drawnOf(await labelOver(image, label), unknown);
    return { drawn: toDisplay(drawn, size, turn), isWhole };
  },
  between: ({ gaps, across }: DataRequests['between'], { signal }: Task) =>
    interpolated(gaps, across, restsUntil(signal)),
  grow({ image, shape, turn, drawn, range }: DataRequests['grow'], { signal }: Task) {
    const greys = new Int16Array(drawn.length);
    putInDisplay(greys, inShorts(image), shape, turn);
    return grown({ greys, drawn, shape: displayShape(shape, turn) }, range, restsUntil(signal));
  },
  /** A volume as it is shown. */
  view: ({ volume, isLabels, most }: DataRequests['view'], { signal }: Task) =>
    shown(volume, isLabels, most, signal),
  plain: ({ volume }: DataRequests['plain']) => unzipped(volume),
  /** A scan to be drawn on slice by slice; undefined where it is shown whole. */
  async greys({ image, most }: DataRequests['greys'], { signal }: Task) {
    const { shape } = await readHeader('header' in image ? image.header : image);
    const voxels = shape.slice(0, 3).reduce((product, length) => product * length, 1);
    if (voxels <= most) return undefined;
    const volume = await readVolume(image);
    signal.throwIfAborted();
    return greysOf(volume);
  },
  /** Labels to be drawn on it. */
  values: async ({ labels, turn }: DataRequests['values']) => valuesOf(await readVolume(labels), turn),
  /** One volume of each series. */
  async reduce({ images, to }: DataRequests['reduce'], { progress, signal }: Task) {
    const files: File[] = [];
    for (const image of images) {
      signal.throwIfAborted();
      files.push(await volumeOf(image, to));
      progress(files.length, images.length);
    }
    return files;
  },
  async prepare(
    { run, cases, preprocessing, classes, ignoreLabel }: DataRequests['prepare'],
    { progress, signal }: Task,
  ) {
    const mine = new Map<string, LabelledCase>();
    prepared = { run, cases: mine }; // the volumes of the one before are let go of
    const rules = { classes, ...(ignoreLabel !== undefined && { ignoreLabel }) };
    for (const item of cases) {
      const next = (await prepareCase(item, preprocessing, rules)) as LabelledCase;
      signal.throwIfAborted();
      if (prepared?.cases !== mine) throw replaced();
      mine.set(item.id, next);
      progress(mine.size, cases.length);
    }
  },
  /** Frees the cases of a training, unless those of another are in their place. */
  release({ run }: DataRequests['release']) {
    if (prepared?.run === run) prepared = undefined;
  },
  /** What pictures of a case should show: a window of greys, and a slice per plane. */
  survey({ run, id }: DataRequests['survey']) {
    const { image, label, shape, spacing } = find(run, id);
    const known = label.map((value) => (value === ignored ? 0 : value));
    const slices = planes.map((plane) => mostTelling(known, viewOf({ data: label, shape, spacing }, plane)));
    return { grey: greyWindow(image.subarray(0, label.length)), slices };
  },
  export: ({ model, format }: DataRequests['export']) =>
    format === 'onnx' ? exportOnnx(model) : exportSafetensors(model),
  assess: (found: Found, { signal }: Task) => assessed(found, signal),
  hash: ({ file }: DataRequests['hash']) => hashOf(file),
  /** Copies of prepared cases: who gets them may move them on. */
  prepared({ run, ids }: DataRequests['prepared']) {
    return ids.map((id) => structuredClone(find(run, id)));
  },
  async phantoms({ count, shape }: DataRequests['phantoms'], { signal }: Task) {
    const files: FileEntry[] = [];
    for (let subject = 0; subject < count; subject++) {
      signal.throwIfAborted();
      const { image, labels, shape: size, affine } = phantom(subject, { shape });
      const name = `phantom_${String(subject + 1).padStart(2, '0')}.nii.gz`;
      const file = async (data: Float32Array | Uint8Array, folder: string): Promise<void> => {
        const bytes = await writeNifti({ data, shape: size, affine });
        const source = new File([bytes], name);
        files.push({ path: `${folder}/${name}`, source });
      };
      await file(image, 'images');
      await file(labels, 'labels');
    }
    return { files, labels: [...phantomLabels] };
  },
};

export type DataResults = { [K in keyof typeof jobs]: Awaited<ReturnType<(typeof jobs)[K]>> };

/**
 * Values of all labels with the number of cases that hold each, where some are no classes, or classes without names
 * have gaps between them. Undefined where nothing is strange, or so much that nobody can map it.
 */
async function strangeValues(
  { cases, labels, ignoreLabel }: Dataset,
  { problems, cases: facts }: DatasetReport,
): Promise<ReadonlyMap<number, number> | undefined> {
  const wrong = new Set(
    problems
      .filter(({ kind, severity }) => kind === 'label values' && severity === 'error')
      .flatMap((problem) => problem.cases),
  );
  if (labels.length > 0 && wrong.size === 0) return undefined;
  const found = new Map<number, number>();
  const count = (values: Iterable<number>): void => {
    for (const value of values) found.set(value, (found.get(value) ?? 0) + 1);
  };
  for (const { id, classVoxels } of facts) if (classVoxels && !wrong.has(id)) count(classVoxels.keys());
  for (const { id, label } of cases)
    if (wrong.has(id) && found.size <= mostValues)
      count(
        await valuesIn(label as VolumeFile).then(
          (values) => values.keys(),
          () => [], // a problem of its own, which is told
        ),
      );
  const values = [...found].filter(([value]) => value !== ignoreLabel).sort(([a], [b]) => a - b);
  const first = found.has(0) || ignoreLabel === undefined ? 0 : 1; // all that was drawn, as its unknown voxels tell, may be a class
  const isPlain = values.every(([value], index) => value === index + first);
  return isPlain || values.length > mostValues ? undefined : new Map(values);
}

serve(jobs, volumesOf);

/** The buffers of the volumes in a result: they are moved to the page. */
function volumesOf(result: unknown): ArrayBuffer[] {
  if (result instanceof Uint8Array) return [result.buffer as ArrayBuffer];
  const { greys, drawn, paints } = (result ?? {}) as {
    greys?: Uint8Array;
    drawn?: Uint8Array;
    paints?: readonly Paint[];
  };
  const volume = greys ?? drawn;
  if (volume) return [volume.buffer as ArrayBuffer];
  const parts = paints ?? (Array.isArray(result) ? (result as Partial<LabelledCase & Paint>[]) : []);
  return parts.flatMap(({ image, label, places, values }: Partial<LabelledCase & Paint>) =>
    [image, label, places, values].flatMap((part) => (part ? [part.buffer as ArrayBuffer] : [])),
  );
}
