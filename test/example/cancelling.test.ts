/** What takes its time in the page can be cancelled at once, without a browser: opening in pictures, downloads, jobs. */
import { parseHTML } from 'linkedom';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { forgetAll, stubBrowser, withDatabase } from '../support/page-store.ts';

/** Jobs that wait for the worker, which never looks at a signal. */
const jobs: { readonly job: string; readonly post: { id: number }; readonly worker: EventTarget }[] = [];

vi.mock('../../examples/browser/src/kept/database.ts', () => import('../support/page-store.ts'));
vi.mock('unet3d-gpu/worker', async (original) => ({
  ...(await original<object>()),
  privateStore: (await import('../support/page-store.ts')).privateStore,
}));
vi.mock('../../examples/browser/src/niivue.ts', () => ({
  library: () => {
    const Niivue = class {
      volumes: object[] = [];
      opts = {};
      addVolume = (volume: object) => this.volumes.push(volume);
      attachToCanvas = () => Promise.resolve();
      setSliceType = () => undefined;
      updateGLVolume = () => undefined;
    };
    return Promise.resolve({ Niivue, SHOW_RENDER: {}, SLICE_TYPE: {} });
  },
  loaded: (file: File) => Promise.resolve({ file }),
  keepVolumes: (niivue: { volumes: object[] }, count: number) => (niivue.volumes.length = count),
  free: () => undefined,
  pictureOptions: {},
  thinCrosshair: 1,
  mostVoxels: () => 8,
  drawsOnProcessor: () => false,
}));

let choose: (select: HTMLSelectElement, value: string) => void;

beforeEach(() => {
  stubBrowser();
  forgetAll();
  jobs.length = 0;
  const {
    document,
    Event: PageEvent,
    HTMLSelectElement,
    Node,
  } = parseHTML('<!doctype html><html><body><div id="notices"></div></body></html>');
  Object.defineProperty(HTMLSelectElement.prototype, 'value', { value: '', writable: true });
  vi.stubGlobal('document', document);
  choose = (select, value) => {
    select.value = value;
    select.dispatchEvent(new PageEvent('change'));
  };
  vi.stubGlobal('Node', Node);
  vi.stubGlobal('Text', function (text: string) {
    return document.createTextNode(text);
  });
  vi.stubGlobal(
    'Worker',
    class extends EventTarget {
      postMessage(post: { id: number; job?: string }): void {
        if (post.job !== undefined) jobs.push({ job: post.job, post, worker: this });
      }
    },
  );
});
afterEach(() => vi.useRealTimers());

const answer = ({ post, worker }: (typeof jobs)[number], result: unknown): boolean =>
  worker.dispatchEvent(Object.assign(new Event('message'), { data: { id: post.id, result } }));
const jobsAt = (count: number) => vi.waitFor(() => expect(jobs).toHaveLength(count));
const file = (name: string): File => new File([name], name);

function press(element: Element, name: string): void {
  const found = [...element.querySelectorAll('button')].find(({ textContent }) => textContent === name);
  if (!found) throw new Error(`there is no button "${name}" in: ${element.textContent}`);
  found.click();
}

test('who cancels a job waits no longer for it, and hears nothing of what it comes to', async () => {
  const { dataJob } = await import('../../examples/browser/src/data-client.ts');
  const stop = new AbortController();
  const done = dataJob('export', { model: new Uint8Array(1), format: 'onnx' }, { signal: stop.signal });
  await jobsAt(1);
  stop.abort();
  await expect(done).rejects.toThrow('aborted');
  answer(jobs[0]!, 'too late');
  const next = dataJob(
    'export',
    { model: new Uint8Array(1), format: 'onnx' },
    { signal: AbortSignal.any([]) },
  );
  await jobsAt(2);
  answer(jobs[1]!, 'in time');
  expect(await next).toBe('in time');
});

test('the opening of a picture is told when it takes its time, and cancelled by the person or by the next', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const { Viewer } = await import('../../examples/browser/src/viewer.ts');
  const viewer = new Viewer();
  const { element } = viewer;
  const show = (name: string) => viewer.show(file(name), [{ title: name, overlay: undefined }], []);
  const first = show('a.nii');
  await jobsAt(1);
  expect(element.textContent).not.toMatch(/Opening/);
  vi.advanceTimersByTime(300);
  expect(element.textContent).toMatch(/^Opening a\.nii/);
  press(element, 'Cancel');
  await first;
  expect(element.querySelector('figure')).toBe(null);
  expect(element.textContent).toBe('Its opening was cancelled. Open it');
  press(element, 'Open it');
  await jobsAt(2);

  // Another takes its place, and comes although the worker has not answered.
  const other = show('b.nii');
  await jobsAt(3);
  answer(jobs[2]!, { file: undefined, note: 'of b' });
  await other;
  answer(jobs[1]!, { file: undefined, note: 'of a' });
  expect(element.textContent).toBe('b.niiof b');
});

test('a download that has to be written first can be cancelled, whatever else changes in the list', async () => {
  const id = 'of-a-test';
  await withDatabase((database) => {
    database.put('runs', {
      ...{ id, name: 'mine', dataName: 'data', started: new Date(), finished: new Date() },
      ...{ history: [], settings: { epochs: 1 }, labels: ['background', 'lesion'], cases: [] },
    });
  });
  const { modelsView } = await import('../../examples/browser/src/models-view.ts');
  const { RunFiles } = await import('../../examples/browser/src/kept/run-files.ts');
  const { updateRun } = await import('../../examples/browser/src/kept/runs.ts');
  await new RunFiles(id).saveModel(new Uint8Array([1, 2, 3]));
  const data = { atHand: vi.fn(), findDrawings: vi.fn(), openCases: vi.fn(), openDrawn: vi.fn() };
  const { element } = modelsView(vi.fn(), data);
  const control = () => element.querySelector<HTMLSelectElement>('[aria-label="Download mine"]');
  await vi.waitFor(() => expect(control()).not.toBe(null));
  choose(control()!, 'onnx');
  await jobsAt(1);
  expect(jobs[0]).toMatchObject({ job: 'export', post: { input: { format: 'onnx' } } });
  await updateRun(id, { name: 'called otherwise' });
  await vi.waitFor(() =>
    expect(element.querySelector('[aria-label="Compare called otherwise"]')).not.toBe(null),
  );
  await vi.waitFor(() => press(element, 'Cancel: Download mine'));
  await vi.waitFor(() =>
    expect(element.querySelector('[aria-label="Download called otherwise"]')).not.toBe(null),
  );
  expect(document.querySelector('#notices')!.textContent).toBe('');
});
