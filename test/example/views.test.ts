/** Views of the cases of the page, without a browser: what they show when cases come and change. */
import { parseHTML } from 'linkedom';
import { beforeEach, expect, test, vi } from 'vitest';
import type { RunRecord } from '../../examples/browser/src/kept/database.ts';
import type { Run } from '../../examples/browser/src/run.ts';
import type { OpenModel, PageCase } from '../../examples/browser/src/state.ts';
import { forgetAll, stubBrowser, withDatabase } from '../support/page-store.ts';

/** What the viewer was asked to show: an image, and what lies over it in each picture. */
const pictures: { image: File; overlays: (File | undefined)[]; names: string[] }[] = [];
vi.mock('../../examples/browser/src/kept/database.ts', () => import('../support/page-store.ts'));
vi.mock('../../examples/browser/src/viewer.ts', () => ({
  Viewer: class {
    element = document.createElement('div');
    show(image: File, shown: readonly { overlay: File | undefined }[], names: string[]): Promise<void> {
      pictures.push({ image, overlays: shown.map(({ overlay }) => overlay), names });
      return Promise.resolve();
    }
    dispose(): void {
      // holds nothing
    }
  },
}));
vi.mock('../../examples/browser/src/viewer-controls.ts', () => ({
  viewerControls: () => document.createElement('div'),
}));

beforeEach(() => {
  stubBrowser();
  forgetAll();
  vi.resetModules();
  pictures.length = 0;
  const { document, HTMLSelectElement, Node } = parseHTML('<!doctype html><html><body></body></html>');
  Object.defineProperty(HTMLSelectElement.prototype, 'value', { value: '', writable: true });
  vi.stubGlobal('document', document);
  vi.stubGlobal('Node', Node);
  vi.stubGlobal('Text', function (text: string) {
    return document.createTextNode(text);
  });
  vi.stubGlobal(
    'ResizeObserver',
    class {
      observe(): void {
        /* nothing has a size */
      }
    },
  );
});

const file = (name: string): File => new File([name], name);

test('"See" shows cases that come while it is open, and another label of the case at hand', async () => {
  const { seeView } = await import('../../examples/browser/src/see-view.ts');
  const { changed, state } = await import('../../examples/browser/src/state.ts');
  const view = seeView();
  expect(view.element.textContent).toMatch(/^There is nothing to see yet/);
  const cases = ['a', 'b'].map((id): PageCase => ({ id, subject: id, images: [file(id)], part: 'train' }));
  state.cases = cases;
  changed();
  const [first] = cases as [PageCase];
  expect(view.element.textContent).not.toMatch(/nothing to see/);
  const image = first.images[0];
  const names = ['background', 'class 1'];
  expect(pictures).toEqual([{ image, overlays: [undefined], names }]);
  changed();
  expect(pictures).toHaveLength(1);

  for (const label of [file('drawn'), file('drawn further')]) {
    state.cases = [{ ...first, label }, cases[1]!];
    changed();
    expect(pictures.at(-1)).toEqual({ image, overlays: [label], names });
  }
  const prediction = file('prediction');
  state.predictions.set(first.images, prediction);
  state.labels = ['background', 'tumour'];
  changed();
  expect(pictures.at(-1)!.overlays.at(-1)).toBe(prediction);
  expect(pictures.at(-1)!.names).toEqual(state.labels);
  expect(pictures).toHaveLength(4);

  // Other cases of the same names are others.
  state.cases = cases.map((item) => ({ ...item, images: [file('other')] }));
  changed();
  expect(pictures.at(-1)!.image).toBe(state.cases[0]!.images[0]);
  view.dispose();
  state.cases = cases;
  changed();
  expect(pictures).toHaveLength(5);
});

test('"See" names what an open model finds beyond the labels at hand, unless the two mean different things', async () => {
  const { seeView } = await import('../../examples/browser/src/see-view.ts');
  const { changed, openModel, state } = await import('../../examples/browser/src/state.ts');
  state.cases = [{ id: 'a', subject: 'a', images: [file('a')], part: 'train' }];
  const view = seeView();
  const labels = ['background', 'liver', 'spleen', 'left kidney', 'right kidney'];
  openModel({
    config: { inChannels: 1, classes: 5 },
    description: { labels },
  } as unknown as OpenModel);
  expect(pictures.at(-1)!.names).toEqual(labels);
  state.labels = ['background', 'class 1', 'Spleen'];
  changed();
  expect(pictures.at(-1)!.names).toEqual(['background', 'liver', 'Spleen', ...labels.slice(3)]);
  state.labels = ['background', 'tumour'];
  changed();
  expect(pictures.at(-1)!.names).toEqual(state.labels);
  view.dispose();
});

test('regions of a training have the colours that pictures show them in, and their names there', async () => {
  const { drawnNames, scoredNames, scoredValues } = await import('../../examples/browser/src/run.ts');
  const labels = ['background', 'oedema', 'core', 'enhancing'];
  const regions = [
    { name: 'whole', labels: [1, 2, 3], written: 2 },
    { name: 'inner', labels: [2, 3], written: 1 },
  ];
  expect(scoredNames({ labels, regions })).toEqual(['background', 'whole', 'inner']);
  expect(scoredValues({ labels, regions })).toEqual([0, 2, 1]);
  expect(drawnNames({ labels, regions })).toEqual(['background', 'inner', 'whole', 'enhancing']);
  expect([scoredValues({ labels }), drawnNames({ labels })]).toEqual([[0, 1, 2, 3], labels]);
});

test('the offer to resume a training waits while a tab is at it, and goes with the training', async () => {
  const held: string[] = [];
  const query = () => Promise.resolve({ held: held.map((id) => ({ name: `unet3d-gpu-example run ${id}` })) });
  vi.stubGlobal('navigator', { locks: { query } });
  document.body.append(Object.assign(document.createElement('div'), { id: 'notices' }));
  const run = { id: 'run', name: 'mine', dataName: 'scans', started: new Date(), history: [] };
  await withDatabase((database) => database.put('runs', run));
  const { offerToResume } = await import('../../examples/browser/src/interrupted.ts');
  const { updateRun } = await import('../../examples/browser/src/kept/runs.ts');
  const resumed: string[] = [];
  offerToResume(run as unknown as RunRecord, (id) => Promise.resolve(resumed.push(id)));
  const box = document.querySelector('.notice')!;
  expect(box.textContent).toMatch(/^A training on scans, started .*, was interrupted\./);
  [...box.querySelectorAll('button')].find(({ textContent }) => textContent === 'Resume it')!.click();
  expect(resumed).toEqual(['run']);
  const isHidden = (expected: boolean) =>
    vi.waitFor(() => expect(box.classList.contains('hidden')).toBe(expected));
  held.push('another');
  await updateRun('run', {});
  await isHidden(false);
  held.push('run');
  await updateRun('run', {});
  await isHidden(true);
  held.length = 0;
  await updateRun('run', {});
  await isHidden(false);
  await updateRun('run', { finished: new Date() });
  await vi.waitFor(() => expect(document.querySelector('.notice')).toBe(null));
});

test('"Data" tells who comes back of the trainings and the drawings that are kept', async () => {
  await withDatabase((database) => {
    for (const id of ['a', 'b']) {
      database.put('images', { id, images: [file(id)] });
      database.put('drawings', { id, scan: { id, subject: id, imagesId: id } });
    }
    database.put('runs', { id: 'run', started: new Date() });
  });
  const { dataView } = await import('../../examples/browser/src/data-view.ts');
  const opened: string[] = [];
  const { element } = dataView((view) => opened.push(view));
  await vi.waitFor(() => expect(element.textContent).toContain('2 scans with drawings are kept here.'));
  expect(element.textContent).toContain('1 training is kept here.');
  const buttons = [...element.querySelectorAll('button')];
  expect(buttons.map(({ textContent }) => textContent)).toContain('Open them');
  buttons.find(({ textContent }) => textContent === 'Show under "Models"')!.click();
  expect(opened).toEqual(['Models']);
});

test('of the trainings that were cut off, that of this tab is offered, else the newest that no tab has open', async () => {
  const { cutOff } = await import('../../examples/browser/src/interrupted.ts');
  const runs = ['newest', 'mine', 'oldest'].map((id) => ({ id }) as RunRecord);
  const offered = (tabs: string | null, elsewhere: string[] = [], kept = runs) =>
    cutOff(kept, new Set(elsewhere), tabs)?.id;
  expect(offered('mine')).toBe('mine');
  expect(offered(null)).toBe('newest');
  expect(offered('mine', ['mine'])).toBe('newest');
  expect(offered(null, ['newest', 'mine'])).toBe('oldest');
  const finished = { ...runs[1]!, finished: new Date() };
  expect(offered('mine', ['newest'], [runs[0]!, finished, runs[2]!])).toBe('oldest');
});

test('the focus stays with the control of the same name; only that of a button goes to another one', async () => {
  const { el, button, field, fill } = await import('../../examples/browser/src/dom.ts');
  const page = el('div', { tabindex: '-1' });
  const parent = page.appendChild(el('div'));
  document.body.append(page);
  const focus = vi.fn();
  const focused = () => (focus.mock.contexts.at(-1) ?? document.body) as Element;
  Object.defineProperty(document, 'activeElement', { get: focused });
  Object.assign(Object.getPrototypeOf(Object.getPrototypeOf(page)) as object, { focus });
  /** What has the focus when all is drawn anew, and whether it is in the page. */
  const after = (selector: string, isThere = true): string => {
    const draw = (more: boolean): void =>
      fill(
        parent,
        button('First', () => undefined),
        more && button('Second', () => undefined),
        more && el('label', {}, el('input', { type: 'checkbox', id: 'one' }), 'Show one'),
        more && el('label', {}, el('input', { type: 'checkbox', id: 'two' }), 'Show two'),
        more && field('Opacity', el('input', { type: 'range', id: 'slider' })),
        more && el('input', { type: 'text', id: 'name', 'aria-label': 'Name' }),
      );
    focus.mockClear();
    draw(true);
    const before = parent.querySelector<HTMLElement>(selector)!;
    before.focus();
    draw(isThere);
    expect(focused()).not.toBe(before);
    return focused().id || focused().textContent;
  };
  expect(['#one', '#two', '#name', 'button + button'].map((control) => after(control))).toEqual([
    'one',
    'two',
    'name',
    'Second',
  ]);
  expect(after('button + button', false)).toBe('First');
  for (const control of ['#two', '#slider', '#name']) {
    after(control, false);
    expect(focused()).toBe(page);
  }
});

test('"Use" says each mistake in the place of the one before', async () => {
  const { useView } = await import('../../examples/browser/src/use-view.ts');
  const { enqueue, queue } = await import('../../examples/browser/src/segmenting.ts');
  const { changed, openModel, takeRun } = await import('../../examples/browser/src/state.ts');
  const view = useView();
  const { element } = view;
  const said = (): string | null => element.querySelector('[role="alert"]')!.textContent;
  await enqueue([]);
  expect(said()).toBe('Open a model first, or train a network here.');
  takeRun({ phase: 'paused' } as Run);
  openModel({ config: {}, description: { labels: [] }, dispose: () => undefined } as unknown as OpenModel);
  queue.problems = ['Another mistake.'];
  changed();
  expect(said()).toBe('Another mistake.');
  queue.problems = ['A mistake again.'];
  changed();
  expect(said()).toBe('A mistake again.');
  queue.notes = ['Of the files.'];
  changed();
  expect(element.textContent).toContain('Of the files.');
  view.dispose();
});

test('"Train" shows the settings of a training that come when it is open already', async () => {
  vi.doMock('../../examples/browser/src/device.ts', async () => {
    const { defaultLimits } = await import('../../src/worker/index.ts');
    const facts = { name: 'a GPU', software: true, budget: 2 ** 30, limits: defaultLimits };
    return { device: () => Promise.resolve(facts) };
  });
  const { trainView } = await import('../../examples/browser/src/train-view.ts');
  const { restoreSettings } = await import('../../examples/browser/src/planning.ts');
  const { changed, state } = await import('../../examples/browser/src/state.ts');
  state.cases = [{ id: 'a', subject: 'a', images: [file('a')], label: file('b'), part: 'train' }];
  const view = trainView(
    () => undefined,
    () => Promise.resolve(),
  );
  const epochs = () => view.element.querySelector<HTMLInputElement>('.field input')?.value;
  await vi.waitFor(() => expect(epochs()).toBe('20'));
  restoreSettings({ ...state.settings, classWeights: [0.5, 0.5], epochs: 3 }, undefined);
  changed();
  await vi.waitFor(() => expect(epochs()).toBe('3'));
  view.dispose();
  vi.doUnmock('../../examples/browser/src/device.ts');
});

test('of a training that is watched, the epoch is read out, not each step, and a problem once', async () => {
  vi.doMock('../../examples/browser/src/charts.ts', () => ({
    curvesOf: () => ({
      element: document.createElement('div'),
      update: () => undefined,
      dispose: () => undefined,
    }),
  }));
  const { runPanel } = await import('../../examples/browser/src/run-panel.ts');
  const { Run: Training } = await import('../../examples/browser/src/run.ts');
  const record = { id: 'run', name: 'mine', labels: ['background', 'lesion'], cases: [], history: [] };
  const run = new Training({ ...record, settings: { epochs: 2 } } as unknown as RunRecord, undefined);
  const view = runPanel(
    run,
    () => undefined,
    () => undefined,
  );
  const { element } = view;
  await Promise.resolve();
  const [live, alert] = ['status', 'alert'].map((role) => element.querySelector(`[role="${role}"]`)!);
  expect(live!.textContent).toBe('Preparing the cases');
  run.enter('running', 'A problem.');
  run.tell({ step: 1, totalSteps: 8, loss: 1 });
  const [told, problem] = [live!.firstChild, alert!.firstChild];
  expect(live!.textContent).toBe('Training: epoch 1 of 2');
  run.tell({ step: 2, loss: 0.5 });
  expect(element.textContent).toContain('Training: epoch 1 of 2, step 2 of 8, loss 0.500');
  expect([live!.firstChild === told, alert!.firstChild === problem]).toEqual([true, true]);
  expect(problem!.textContent).toBe('A problem.');
  run.tell({ step: 5, epoch: 1 });
  expect(live!.textContent).toBe('Training: epoch 2 of 2');
  view.dispose();
  vi.doUnmock('../../examples/browser/src/charts.ts');
});
