/** Reads, checks and prepares volumes off the page's thread; nothing here touches the GPU. */
import {
  checkDataset,
  phantom,
  phantomLabels,
  prepareCase,
  writeNifti,
  type Case,
  type Dataset,
  type FileEntry,
  type Preprocessing,
} from 'unet3d-gpu/worker';

export interface DataRequests {
  check: { dataset: Dataset };
  prepare: { cases: readonly Case[]; preprocessing: Preprocessing; classes: number };
  phantoms: { count: number; shape: [number, number, number] };
  write: { data: Uint8Array | Float32Array; shape: readonly number[]; spacing: readonly number[] };
}

const jobs = {
  async check({ dataset }: DataRequests['check'], progress: (loaded: number, total: number) => void) {
    return checkDataset(dataset, { onProgress: progress });
  },
  async prepare(
    { cases, preprocessing, classes }: DataRequests['prepare'],
    progress: (loaded: number, total: number) => void,
  ) {
    const prepared = [];
    for (const item of cases) {
      prepared.push(await prepareCase(item, preprocessing, { classes }));
      progress(prepared.length, cases.length);
    }
    return prepared;
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
  async write({ data, shape, spacing }: DataRequests['write']) {
    const [x, y, z] = spacing as [number, number, number];
    return writeNifti(
      { data, shape, affine: [x, 0, 0, 0, 0, y, 0, 0, 0, 0, z, 0, 0, 0, 0, 1] },
      { gzip: false },
    );
  },
};

export type DataResults = { [K in keyof typeof jobs]: Awaited<ReturnType<(typeof jobs)[K]>> };

addEventListener('message', (event: MessageEvent<{ id: number; job: keyof typeof jobs; input: never }>) => {
  const { id, job, input } = event.data;
  const progress = (loaded: number, total: number): void => postMessage({ id, loaded, total });
  jobs[job](input, progress).then(
    (result: unknown) => postMessage({ id, result }),
    (error: unknown) => postMessage({ id, error: error instanceof Error ? error.message : String(error) }),
  );
});
