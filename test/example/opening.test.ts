/** Which model the page has open, and what becomes of the volumes that wait for it, without a browser or a GPU. */
import { beforeEach, expect, test, vi } from 'vitest';
import { besideModel } from '../../examples/browser/src/model-source.ts';
import { openToSegment, opening, stopOpening } from '../../examples/browser/src/opening.ts';
import type { Run } from '../../examples/browser/src/run.ts';
import { enqueue, filesOf, queue, restQueue, stopQueue } from '../../examples/browser/src/segmenting.ts';
import {
  openModel,
  state,
  takeRun,
  type OpenModel,
  type VolumeFile,
} from '../../examples/browser/src/state.ts';
import { readNifti, writeNifti } from '../../src/node.ts';
import { stubBrowser } from '../support/page-store.ts';

vi.mock('../../examples/browser/src/data-client.ts', () => import('../support/page-worker.ts'));
/** What is answered, or happens while there is no answer yet. */
const answers: (string | (() => void))[] = [];
vi.mock('../../examples/browser/src/ask.ts', () => ({
  ask: () => {
    const answer = answers.shift();
    if (typeof answer !== 'function') return Promise.resolve(answer);
    answer();
    return Promise.resolve('first');
  },
}));

/** What series become, one conversion after another; the converter is silent where there is no more. */
const conversions: File[][] = [];
vi.mock('@niivue/dcm2niix', () => ({
  Dcm2niix: class {
    init = () => Promise.resolve();
    input = () => this;
    bids = () => this;
    filenameformat = () => this;
    gzip = () => this;
    run = () =>
      conversions.length > 0 ? Promise.resolve(conversions.shift()) : new Promise(() => undefined);
  },
}));

const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
const shape = [4, 3, 2];

async function scan(name: string, times = 1): Promise<File> {
  const data = Float32Array.from({ length: 24 * times }, (_, at) => (at % 24) + Math.floor(at / 24) ** 2);
  const bytes = await writeNifti(
    { data, shape: times > 1 ? [...shape, times] : shape, affine },
    { gzip: false },
  );
  return new File([bytes], name);
}

/** Volumes that a model is segmenting, with how to end that. */
const asked: { readonly source: VolumeFile; readonly end: () => void }[] = [];

/** A model that segments until the test ends it. */
const model = (inChannels = 1) => {
  const found = {
    config: { inChannels, classes: 2 },
    description: { labels: ['background', 'lesion'] },
    kind: 'of a test',
    isDisposed: false,
    dispose: () => (found.isDisposed = true),
    predict: ([source]: VolumeFile[], { signal }: { signal: AbortSignal }) =>
      new Promise((resolve, reject) => {
        const labels = { data: new Uint8Array(24), shape, spacing: [1, 1, 1], affine };
        signal.addEventListener('abort', () => reject(new Error('aborted')));
        asked.push({ source: source!, end: () => resolve({ labels, warnings: [] }) });
      }),
  };
  return found as typeof found & OpenModel;
};

const isAt = (count: number): Promise<void> =>
  vi.waitFor(() => expect(asked).toHaveLength(count), { timeout: 60_000 });
const entries = (files: readonly File[]) => files.map((source) => ({ path: source.name, source }));
const names = (): string[] => asked.map(({ source }) => (source as File).name);

let questions: string[];
let isAgreed: boolean;

beforeEach(() => {
  stubBrowser();
  questions = [];
  isAgreed = true;
  vi.stubGlobal('confirm', (question: string) => {
    questions.push(question);
    return isAgreed;
  });
  takeRun(undefined);
  openModel(undefined);
  stopQueue('the test before is over');
  asked.length = answers.length = state.results.length = 0;
});

test('the model that is asked for last stays, wherever it was asked for; one that fails leaves that before', async () => {
  const [slow, fast] = [model(), model()];
  let arrive: (arrived: OpenModel) => void = () => undefined;
  const first = openToSegment('slow', () => new Promise<OpenModel>((resolve) => (arrive = resolve)));
  expect(opening.name).toBe('slow');
  expect(await openToSegment('fast', () => Promise.resolve(fast), 'its training')).toBe(true);
  arrive(slow);
  expect(await first).toBe(false);
  expect([state.model, state.modelName, state.modelRun]).toEqual([fast, 'fast', 'its training']);
  expect([slow.isDisposed, fast.isDisposed, opening.name]).toEqual([true, false, '']);

  await expect(openToSegment('bad', () => Promise.reject(new Error('damaged')))).rejects.toThrow('damaged');
  expect([state.modelName, opening.name]).toEqual(['fast', '']);

  const late = openToSegment('late', () => new Promise<OpenModel>((resolve) => (arrive = resolve)));
  stopOpening(); // as a training does that begins
  arrive(model());
  expect(await late).toBe(false);
  expect(state.modelName).toBe('fast');
});

test('volumes wait while a training has the GPU, and are segmented afterwards', async () => {
  openModel(model(), 'a model');
  void enqueue(entries(await Promise.all(['a.nii', 'b.nii'].map((name) => scan(name)))));
  await isAt(1);
  takeRun({ phase: 'running' } as Run);
  restQueue();
  await vi.waitFor(() => expect(queue.status).toBe('2 volumes to segment after the training'), {
    timeout: 60_000,
  });
  expect([asked.length, state.results.length]).toEqual([1, 0]);
  takeRun({ phase: 'paused' } as Run);
  for (const count of [2, 3]) {
    await isAt(count);
    asked[count - 1]!.end();
  }
  await vi.waitFor(() => expect(state.results).toHaveLength(2), { timeout: 60_000 });
  expect(names()).toEqual(['a.nii', 'a.nii', 'b.nii']);
  expect(queue.problems).toEqual([]);
});

test('before another model takes the place of the one that volumes wait for, it is asked', async () => {
  openModel(model(), 'a model');
  void enqueue(entries([await scan('a.nii')]));
  await isAt(1);
  isAgreed = false;
  const load = vi.fn(() => Promise.resolve(model()));
  expect(await openToSegment('another', load)).toBe(false);
  expect(load).not.toHaveBeenCalled();
  expect(questions).toEqual([
    '1 volume is still to be segmented with a model. Open another model, and leave it out?',
  ]);
  isAgreed = true;
  expect(await openToSegment('another', load)).toBe(true);
  await vi.waitFor(
    () => expect(queue.problems).toEqual(['a.nii was not segmented: another model was opened.']),
    { timeout: 60_000 },
  );
});

test('of a file with several volumes, a model for one image is given what the person says', async () => {
  openModel(model(), 'a model');
  const given = entries([await scan('plain.nii'), await scan('times.nii', 5)]);
  const voxels = Array.from({ length: 24 }, (_, voxel) => voxel);
  for (const [answer, expected] of [
    ['first', voxels],
    ['mean', voxels.map((voxel) => voxel + 6)], // of 0, 1, 4, 9 and 16
  ] as const) {
    asked.length = 0;
    answers.push(answer);
    const done = enqueue(given);
    for (const count of [1, 2]) {
      await isAt(count);
      asked[count - 1]!.end();
    }
    await done;
    expect(asked[0]!.source).toBe(given[0]!.source);
    const { data, shape: found } = await readNifti(asked[1]!.source);
    expect([found, [...data]]).toEqual([shape, expected]);
  }
  asked.length = 0;
  const done = enqueue(given);
  await isAt(1);
  asked[0]!.end();
  await done;
  expect(asked).toHaveLength(1);
  expect(queue.problems).toEqual(['1 volume was not segmented: the model reads one image.']);
  await vi.waitFor(() => expect(queue.status).toBe(''), { timeout: 60_000 });
});

test('a damaged file with several volumes is told, and the others are segmented', async () => {
  openModel(model(), 'a model');
  const [whole, damaged] = await Promise.all([scan('a.nii', 5), scan('b.nii', 5)]);
  answers.push('first');
  const done = enqueue(entries([new File([damaged.slice(0, 400)], 'b.nii'), whole]));
  await isAt(1);
  asked[0]!.end();
  await done;
  await vi.waitFor(() => expect(queue.status).toBe(''), { timeout: 60_000 });
  expect(names()).toEqual(['a.nii.gz']);
  expect(queue.problems).toEqual([expect.stringMatching(/^b\.nii is truncated/)]);
});

test('a drop without any volume says so, as under Data', async () => {
  openModel(model(), 'a model');
  await enqueue(entries([new File(['x'], 'notes.txt'), new File(['x'], 'scan.mgz')]));
  expect(queue.problems).toEqual([
    'scan.mgz: not a NIfTI file (.nii, .nii.gz); left out.',
    expect.stringMatching(/^There is no volume among these\. Give NIfTI files/),
  ]);
  expect(asked).toEqual([]);
});

test('a drop that cannot be read at all is named and leaves no status behind', async () => {
  openModel(model(), 'a model');
  const source = new File([], 'IM_1');
  source.slice = () => Object.assign(new Blob(), { text: () => Promise.reject(new Error('it is gone')) });
  const looking = enqueue([{ path: 'IM_1', source }]);
  queue.status = 'Looking at the files'; // as it is said after some time
  await looking;
  expect([queue.status, queue.notes]).toEqual(['', ['What cannot be read is left out: IM_1 (it is gone).']]);
});

test('volumes that were given are not segmented where that was stopped before it began', async () => {
  openModel(model(), 'a model');
  const given = entries([await scan('plain.nii'), await scan('times.nii', 5)]);
  const ends = [
    ['it was stopped', () => stopQueue('it was stopped')],
    ['another model was opened', () => openModel(model(), 'another model')],
  ] as const;
  for (const [why, end] of ends) {
    answers.push(end);
    await enqueue(given);
    expect(queue.problems).toEqual([`2 volumes were not segmented: ${why}.`]);
  }
  expect([asked.length, queue.status]).toEqual([0, '']);
});

test('a folder that takes long to list is taken after a model was opened; opening another leaves it out', async () => {
  openModel(model(), 'a model');
  let list: (files: File[]) => void = () => undefined;
  const listing = () => filesOf(() => new Promise<File[]>((resolve) => (list = resolve)));
  const isSaid = () =>
    vi.waitFor(() => expect(queue.status).toBe('Listing what was dropped: 0 files so far'));
  const files = [new File([], 'a.nii')];
  const taken = listing();
  await isSaid();
  list(files);
  expect(await taken).toEqual(files);
  const left = listing();
  await isSaid();
  openModel(model(), 'another model');
  expect(await left).toBe(undefined);
});

test('volumes whose files have one name are told apart by their folders', async () => {
  openModel(model(), 'a model');
  const volume = await scan('T1.nii');
  void enqueue(['p1/T1.nii', 'p2/T1.nii', 'p3/T1.nii'].map((path) => ({ path, source: volume })));
  for (const count of [1, 2]) {
    await isAt(count);
    asked[count - 1]!.end();
  }
  await isAt(3);
  expect(queue.status).toBe('Segmenting p3');
  stopQueue('it was stopped');
  await vi.waitFor(() => expect(queue.problems).toEqual(['p3 was not segmented: it was stopped.']));
  expect(state.results.map(({ name }) => name)).toEqual(['p1', 'p2']);

  void enqueue([{ path: 'imagesTr/case_1_0000.nii', source: await scan('case_1_0000.nii') }]);
  await isAt(4);
  expect(queue.status).toBe('Segmenting case_1_0000.nii');
});

test('DICOM series that are given to be segmented are converted, each folder into a volume of its name', async () => {
  openModel(model(), 'a model');
  const slice = (folder: string, name: string) => {
    const bytes = new Uint8Array(140);
    bytes.set(new TextEncoder().encode('DICM'), 128);
    return { path: `${folder}/${name}`, source: new File([bytes], name) };
  };
  const files = [slice('scans/p1', 'IM_1'), slice('scans/p1', 'IM_2'), slice('scans/p2', 'IM_1')];
  const converted = await scan('t1_3.nii.gz');
  conversions.push([converted], [converted]);
  const done = enqueue(files);
  for (const count of [1, 2]) {
    await isAt(count);
    asked[count - 1]!.end();
  }
  await done;
  await vi.waitFor(() => expect(queue.status).toBe(''), { timeout: 60_000 });
  expect(names()).toEqual(['p1.nii.gz', 'p2.nii.gz']);
  expect(queue.notes).toEqual(['3 DICOM files of 2 folders: 2 volumes.']);
  expect(queue.problems).toEqual([]);

  // A converter that never answers is ended.
  const stopped = enqueue(files.slice(0, 1));
  await vi.waitFor(() => expect(queue.status).toBe('Converting 0 of 1 folders of DICOM files'));
  stopQueue('it was stopped');
  await stopped;
  expect([asked.length, queue.status]).toEqual([2, '']);
});

test('volumes beside a model of another tool are to be segmented, those in its folders are not', () => {
  const paths = (...all: string[]) =>
    besideModel(all.map((path) => ({ path, source: new File([], path) }))).map(({ path }) => path);
  expect(paths('model.zip', 'a.nii.gz', 'b/IM_1')).toEqual(['a.nii.gz', 'b/IM_1']);
  expect(paths('net/plans.json', 'net/fold_0/validation/a.nii.gz', 'scans/b.nii.gz')).toEqual([
    'scans/b.nii.gz',
  ]);
  expect(paths('plans.json', 'fold_0/validation/a.nii.gz', 'b.nii.gz')).toEqual(['b.nii.gz']);
  expect(paths('bundle/configs/metadata.json', 'bundle/docs/a.nii.gz', 'bundle/models/model.pt')).toEqual([]);
});
