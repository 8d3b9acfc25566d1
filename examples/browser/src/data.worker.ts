/** Reads, checks and prepares volumes off the page's thread; nothing here touches the GPU. */
import {
  checkDataset,
  greyWindow,
  ignored,
  mostTelling,
  phantom,
  phantomLabels,
  prepareCase,
  viewOf,
  writeNifti,
  type Case,
  type Dataset,
  type FileEntry,
  type LabelledCase,
  type Preprocessing,
} from 'unet3d-gpu/worker';
import { planes } from './planes.ts';

export interface DataRequests {
  check: { dataset: Dataset };
  prepare: {
    cases: readonly Case[];
    preprocessing: Preprocessing;
    classes: number;
    ignoreLabel: number | undefined;
  };
  prepared: { ids: readonly string[] };
  survey: { id: string };
  phantoms: { count: number; shape: [number, number, number] };
}

type Progress = (loaded: number, total: number) => void;

/** What a training needs stays here, and the page's thread never copies a volume. */
const prepared = new Map<string, LabelledCase>();

function find(id: string): LabelledCase {
  const item = prepared.get(id);
  if (!item) throw new Error(`case ${id} is not prepared: start the training again`);
  return item;
}

const jobs = {
  async check({ dataset }: DataRequests['check'], progress: Progress) {
    return checkDataset(dataset, { onProgress: progress });
  },
  async prepare(
    { cases, preprocessing, classes, ignoreLabel }: DataRequests['prepare'],
    progress: Progress,
    signal: AbortSignal,
  ) {
    prepared.clear();
    const rules = { classes, ...(ignoreLabel !== undefined && { ignoreLabel }) };
    for (const item of cases) {
      const next = (await prepareCase(item, preprocessing, rules)) as LabelledCase;
      signal.throwIfAborted();
      prepared.set(item.id, next);
      progress(prepared.size, cases.length);
    }
  },
  /** What pictures of a case should show: a window of greys, and a slice per plane. */
  survey({ id }: DataRequests['survey']) {
    const { image, label, shape, spacing } = find(id);
    const known = label.map((value) => (value === ignored ? 0 : value));
    const slices = planes.map((plane) => mostTelling(known, viewOf({ data: label, shape, spacing }, plane)));
    return Promise.resolve({ grey: greyWindow(image.subarray(0, label.length)), slices });
  },
  /** Copies of prepared cases: who gets them may move them on. */
  prepared({ ids }: DataRequests['prepared']) {
    return Promise.resolve(ids.map((id) => structuredClone(find(id))));
  },
  async phantoms({ count, shape }: DataRequests['phantoms']) {
    const files: FileEntry[] = [];
    for (let subject = 0; subject < count; subject++) {
      const { image, labels, shape: size, affine } = phantom(subject, { shape });
      const name = `phantom_${String(subject + 1).padStart(2, '0')}.nii.gz`;
      const file = async (data: Float32Array | Uint8Array, folder: string): Promise<void> => {
        const bytes = await writeNifti({ data, shape: size, affine });
        const source = new File([bytes as Uint8Array<ArrayBuffer>], name);
        files.push({ path: `${folder}/${name}`, source });
      };
      await file(image, 'images');
      await file(labels, 'labels');
    }
    return { files, labels: [...phantomLabels] };
  },
};

export type DataResults = { [K in keyof typeof jobs]: Awaited<ReturnType<(typeof jobs)[K]>> };

type Request =
  | { readonly id: number; readonly job: keyof typeof jobs; readonly input: never }
  | { readonly id: number; readonly abort: true };

const running = new Map<number, AbortController>();

addEventListener('message', ({ data }: MessageEvent<Request>) => {
  const { id } = data;
  if ('abort' in data) return running.get(id)?.abort();
  const controller = new AbortController();
  running.set(id, controller);
  const progress = (loaded: number, total: number): void => postMessage({ id, loaded, total });
  void jobs[data.job](data.input, progress, controller.signal)
    .then(
      (result: unknown) => postMessage({ id, result }, { transfer: volumesOf(result) }),
      (error: unknown) => postMessage({ id, error: error instanceof Error ? error.message : String(error) }),
    )
    .finally(() => running.delete(id));
});

/** The buffers of the cases in a result: they are moved to the page. */
function volumesOf(result: unknown): ArrayBuffer[] {
  if (!Array.isArray(result)) return [];
  return (result as LabelledCase[]).flatMap(
    ({ image, label }) => [image.buffer, label.buffer] as ArrayBuffer[],
  );
}
