/** What becomes of the cases of the page when others come, without a browser: beside them, or in their place. */
import { beforeEach, expect, test, vi } from 'vitest';
import type { RunRecord } from '../../examples/browser/src/kept/database.ts';
import type { OpenModel, PageCase } from '../../examples/browser/src/state.ts';
import { completeConfig, openDataset, writeNifti, type Dataset } from '../../src/node.ts';
import { forgetAll, stubBrowser } from '../support/page-store.ts';

vi.mock('../../examples/browser/src/kept/database.ts', () => import('../support/page-store.ts'));
vi.mock('../../examples/browser/src/data-client.ts', () => import('../support/page-worker.ts'));
vi.mock('../../examples/browser/src/device.ts', () => ({ device: () => Promise.resolve(undefined) }));

/** Ids of cases whose next check fails. */
const failing = new Set<string>();
vi.mock('unet3d-gpu/worker', async (original) => {
  const library = await original<typeof import('unet3d-gpu/worker')>();
  const checkCase: typeof library.checkCase = (item, dataset) =>
    failing.delete(item.id) ? Promise.reject(new Error('no memory')) : library.checkCase(item, dataset);
  return { ...library, checkCase };
});

/** What has been asked, and what is answered to it; nothing where there is no answer left. */
const asked: string[] = [];
const answers: string[] = [];
vi.mock('../../examples/browser/src/ask.ts', () => ({
  ask: (question: string) => {
    asked.push(question);
    return Promise.resolve(answers.shift());
  },
}));

const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

async function file(path: string, at: (voxel: number) => number, volumes = 1) {
  const data = Float32Array.from({ length: 24 * volumes }, (_, voxel) => at(voxel));
  const shape = volumes === 1 ? [4, 3, 2] : [4, 3, 2, volumes];
  const bytes = await writeNifti({ data, shape, affine }, { gzip: false });
  return { path, source: new File([bytes], path.split('/').at(-1)!, { lastModified: 1 }) };
}

/** No two of other names hold the same. */
const image = (path: string, volumes = 1) =>
  file(path, (voxel) => (7 * voxel + path.charCodeAt(path.lastIndexOf('/') + 1)) % 17, volumes);
/** The first half of the voxels is background, but for one. */
const label = (path: string, value = 1, first = 0) =>
  file(path, (voxel) => (voxel === 0 ? first : voxel < 12 ? 0 : value));

/** A data set of these cases; `described` is what its dataset.json says beside them. */
async function labelled(names: readonly string[], described?: object) {
  const files = await Promise.all(
    names.flatMap((name) => [image(`set/imagesTr/${name}.nii`), label(`set/labelsTr/${name}.nii`)]),
  );
  if (!described) return files;
  const training = names.map((name) => ({ image: `imagesTr/${name}.nii`, label: `labelsTr/${name}.nii` }));
  const source = new File([JSON.stringify({ training, ...described })], 'dataset.json');
  return [...files, { path: 'set/dataset.json', source }];
}

/** Of a dataset.json. */
const labels = { background: 0, tumour: 1 };
const scans = (...names: string[]) => Promise.all(names.map((name) => image(`scans/${name}.nii`)));

type Part = PageCase['part'];

/** The modules of the page as after a reload. */
async function page() {
  vi.resetModules();
  const { Intake } = await import('../../examples/browser/src/intake.ts');
  const { state } = await import('../../examples/browser/src/state.ts');
  const onCases: (() => Promise<void>)[] = [];
  const work: string[] = [];
  const intake = new Intake({
    onChange: () => undefined,
    onWork: (text) => void work.push(text),
    onCases: () => onCases.shift()?.() ?? Promise.resolve(),
  });
  return {
    state,
    intake,
    cases: intake.cases,
    onCases,
    /** What has been told of what is being done. */
    work,
    /** @param answer to the question what stays */
    take: async (
      files: readonly { path: string; source: File }[] | Promise<{ path: string; source: File }[]>,
      answer?: 'replace' | 'add',
      as: 'any' | 'images' | 'labels' = 'any',
    ): Promise<void> => {
      if (answer) answers.push(answer);
      await intake.take(await files, as);
    },
    parts: () => Object.fromEntries(state.cases.map(({ id, part }) => [id, part])) as Record<string, Part>,
  };
}

beforeEach(() => {
  stubBrowser();
  forgetAll();
  asked.length = answers.length = 0;
});

test('scans without labels beside labelled cases leave these as they were, and names that are taken are told apart', async () => {
  const { state, cases, take, parts } = await page();
  await take(labelled(['a', 'b', 'c'], { labels: { ...labels, ignore: 2 }, channel_names: { 0: 'CT' } }));
  cases.use('a', 'validation');
  const before = parts();
  await take([await file('scans/a.nii', (voxel) => voxel % 5), ...(await scans('d'))], 'add');
  expect(parts()).toEqual({ ...before, scans_a: 'unused', d: 'unused' });
  expect(state).toMatchObject({ ignoreLabel: 2, channels: ['CT'], labels: ['background', 'tumour'] });
  expect(state.report!.cases.map(({ id }) => id)).toEqual(['a', 'b', 'c']);

  // One of them is drawn on: all the others keep their parts.
  const { images } = state.cases.find(({ id }) => id === 'd')!;
  await cases.annotate(new Map([[images, (await label('d.nii')).source]]), state.labels);
  expect(state.ignoreLabel).toBe(2);
  expect(parts()).toEqual({ ...before, scans_a: 'unused', d: 'train' });
});

test('scans that are there already are not added again, but their labels where they had none', async () => {
  const { state, cases, take, parts } = await page();
  await take(labelled(['a', 'b'], { name: 'ours', labels }));
  cases.use('a', 'validation');
  await take(scans('a', 'd'), 'add');
  expect(cases.trouble.join()).toContain('1 scan of scans is here already, and not added again.');
  expect(parts()).toMatchObject({ a: 'validation', d: 'unused' });
  const { source } = await label('set/labelsTr/d.nii');
  const again = [{ ...(await image('set/imagesTr/d.nii')), path: 'set/imagesTr/e.nii' }];
  await take([...again, { path: 'set/labelsTr/e.nii', source }], 'add');
  expect(state.cases.map(({ id }) => id)).toEqual(['a', 'b', 'd']);
  expect(state.cases[2]!.label).toBe(source);
  expect(parts()).toMatchObject({ a: 'validation', d: 'train' });
  expect(state.name).toBe('ours and scans');
  expect(state.report!.problems.filter(({ severity }) => severity === 'error')).toEqual([]);
});

test('labels with more classes go beside drawings whose classes have no names', async () => {
  const { state, cases, take } = await page();
  await take(scans('z'));
  const [{ images }] = state.cases as [PageCase];
  // Nothing of it is drawn as background.
  const drawn = (await file('z.nii', (voxel) => (voxel < 12 ? 255 : 1))).source;
  await cases.annotate(new Map([[images, drawn]]), ['background', 'class 1']);
  expect(cases.values).toBeUndefined();
  await take(Promise.all([image('set/imagesTr/a.nii'), label('set/labelsTr/a.nii', 3, 2)]), 'add');
  expect(state.report!.problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  expect(cases.values).toBeUndefined();
  expect(state.labels).toEqual(['background', 'class 1', 'class 2', 'class 3']);
});

test('a file that cannot be read is named and left out, and the page is not busy with it', async () => {
  const { state, cases, take, work } = await page();
  const gone = new File(['a series'], 'IM0001');
  gone.slice = () => Object.assign(new Blob(), { text: () => Promise.reject(new Error('it is gone')) });
  await take([{ path: 'scans/IM0001', source: gone }, ...(await scans('a'))]);
  expect(cases.trouble).toContain('What cannot be read is left out: scans/IM0001 (it is gone).');
  expect(state.cases.map(({ id }) => id)).toEqual(['a']);
  expect(work.at(-1)).toBe('');
});

test('labels beside no image of their name are chosen by hand, of what the labels before mean', async () => {
  const { state, cases, take } = await page();
  await take(labelled(['a', 'b'], { labels: { ...labels, ignore: 2 } }));
  await take(scans('c', 'd'), 'add');
  await take([await label('labels/x.nii', 1, 2)]);
  expect(state.ignoreLabel).toBe(2);
  const source = cases.labels.find(({ path }) => path === 'labels/x.nii')!.source as File;
  await cases.choose('c', source);
  expect(state.report!.problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  // What was chosen by hand stays when another label comes.
  await take([await label('labels/y.nii')]);
  expect(state.cases.find(({ id }) => id === 'c')!.label).toBe(source);
  expect(cases.labels.map(({ path }) => path)).toEqual(['a.nii', 'b.nii', 'labels/x.nii', 'labels/y.nii']);
});

test('labels known throughout go beside others with unknown voxels, which have one value then', async () => {
  const { valuesIn } = await import('../../examples/browser/src/label-maps.ts');
  const valuesOf = (cases: readonly PageCase[]) =>
    Promise.all(cases.map(async ({ label: its }) => [...(await valuesIn(its!)).keys()]));
  const drawn = async () => [await image('images/d.nii'), await label('labels/d.nii', 1, 255)];
  const marked = { labels: { ...labels, ignore: 2 } };
  const unread = { path: 'set/labelsTr/f.nii', source: new File(['no volume'], 'f.nii') };

  const { state, cases, take } = await page();
  const wrong = () => state.report!.problems.filter(({ severity }) => severity === 'error');
  await take(drawn());
  await cases.ignore(255);
  await take(labelled(['a', 'b'], { labels }), 'add');
  expect(state).toMatchObject({ ignoreLabel: 255, labels: ['background', 'tumour'] });
  expect(await valuesOf(state.cases)).toEqual([[255, 0, 1], [0, 1], [0, 1]]); // prettier-ignore
  expect(wrong()).toEqual([]);
  expect(state.report!.cases.map(({ annotated }) => annotated?.voxels)).toEqual([23, undefined, undefined]);

  // These have another value for unknown voxels; one of the labels cannot be read.
  const others = (await labelled(['e', 'f'], marked)).map((file) => {
    return file.path === unread.path ? unread : file;
  });
  others[1] = await label(others[1]!.path, 1, 2);
  await take(others, 'add');
  expect(state).toMatchObject({ ignoreLabel: 255, labels: ['background', 'tumour'] });
  expect(await valuesOf(state.cases.slice(3, 4))).toEqual([[255, 0, 1]]);
  expect(wrong().map((problem) => problem.cases)).toEqual([['f']]);

  // Where classes have no names, 2 may be one of them: unknown voxels get the value that never is.
  const second = await page();
  await second.take([await image('images/g.nii'), await label('labels/g.nii', 2, 1)]);
  await second.take(labelled(['e'], marked), 'add');
  expect(second.state.ignoreLabel).toBe(255);
  expect(await valuesOf(second.state.cases)).toEqual([[1, 0, 2], [0, 1]]); // prettier-ignore

  // Where 2 are unknown voxels, it may not be a class of labels to come.
  const third = await page();
  await third.take(labelled(['e'], marked));
  await third.take(labelled(['h']), 'add');
  expect(third.cases.trouble.join()).toMatch(
    /unknown voxels are 2 there, which may be a class of set\. Save/,
  );
  expect(third.state.cases).toHaveLength(1);
});

test('data sets of other regions, or none, are not mixed: both are named, with the reason and what to do', async () => {
  const nested = (core: number) => ({
    labels: { background: 0, whole: [1, 2], core: [core] },
    regions_class_order: [1, 2],
  });
  const { state, cases, take } = await page();
  const told = () => cases.trouble.join(' ');
  await take(labelled(['a'], { name: 'glioma', ...nested(2) }));
  await take(labelled(['b'], { name: 'ours', labels: { background: 0, edema: 1, centre: 2 } }), 'add');
  expect(told()).toBe(
    'ours cannot be added to glioma: glioma is to be learnt as regions, which may overlap, as its dataset.json says: ' +
      'whole (the labels 1, 2, written as 1), core (the label 2, written as 2). ours defines none, so that each of its ' +
      'voxels is of one class, and a network learns the one or the other. Define the same regions in a dataset.json of ' +
      'ours, or replace the one by the other.',
  );
  await take(labelled(['c'], { name: 'others', ...nested(1) }), 'add');
  expect(told()).toContain(
    'whole (the labels 1, 2, written as 1), core (the label 1, written as 2). Define the same in both',
  );
  expect(state.cases.map(({ id }) => id)).toEqual(['a']);
});

test('classes that a person has named are not mixed with those that files or a project call otherwise', async () => {
  const rectum = { name: 'ours', labels: { background: 0, rectum: 1 } };
  const { state, cases, intake, take } = await page();
  const told = () => cases.trouble.join(' ');
  const refusal =
    'classes are background, bladder in set and background, rectum in ours. Bring them into agreement';
  await take(labelled(['a']));
  cases.name(1, 'bladder');
  await take(labelled(['b'], rectum), 'add');
  expect(told()).toContain(`ours cannot be added to set: ${refusal}`);
  const elsewhere = await page();
  await elsewhere.take(labelled(['c']));
  elsewhere.cases.name(1, 'rectum');
  elsewhere.state.name = 'ours';
  const project = elsewhere.cases.atHand();
  answers.push('add');
  await intake.takeFrom(project);
  expect(told()).toContain(refusal);
  expect(state.cases.map(({ id }) => id)).toEqual(['a']);

  cases.name(1, 'rectum');
  await take(labelled(['b'], rectum), 'add');
  // What two files call alike is alike, whatever a person calls it in one of them.
  cases.name(1, 'bowel');
  await take(labelled(['d'], rectum), 'add');
  expect(state.cases.map(({ id }) => id)).toEqual(['a', 'b', 'd']);
  expect(state.labels).toEqual(['background', 'bowel']);

  // Where classes have no name, they get those of a project.
  const third = await page();
  await third.take(labelled(['e']));
  answers.push('add');
  await third.intake.takeFrom(project);
  expect(third.state.labels).toEqual(['background', 'rectum']);
});

test('a value that is not yet known to be a class is not taken for unknown voxels', async () => {
  const { state, cases, take } = await page();
  await take([await image('images/a.nii'), await label('labels/a.nii', 255)]);
  expect([...cases.values!.keys()]).toEqual([0, 255]);
  await take(labelled(['b'], { labels: { ...labels, ignore: 255 } }), 'add');
  expect(cases.trouble.join()).toMatch(/unknown voxels are 255 there.* Say first which class is which value/);
  await cases.map(new Map([[255, 1]]));
  await take(labelled(['b'], { labels: { ...labels, ignore: 255 } }), 'add');
  expect(state).toMatchObject({ ignoreLabel: 255, labels: ['background', 'tumour'] });
  expect(state.cases).toHaveLength(2);
});

test('scans in the place of a data set have nothing of it: neither its name, its channels nor its classes', async () => {
  const { state, cases, intake, take } = await page();
  await take(labelled(['a', 'b'], { name: 'livers', labels, channel_names: { 0: 'CT' } }));
  expect(state).toMatchObject({ name: 'livers', channels: ['CT'] });
  await take(scans('c', 'd'), 'replace');
  expect(state).toMatchObject({ name: 'scans', channels: [], labels: [], report: undefined });
  expect(asked).toHaveLength(1);
  await take([await label('x.nii', 3), await label('y.nii', 3)], undefined, 'labels');
  await cases.choose('c', cases.labels[0]!.source as File);
  // 3 is a class that has no name, and no error.
  expect(state.report!.problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  answers.push('go');
  await intake.clear();
  await take(scans('e'));
  expect(state.name).toBe('scans');
});

test('several volumes in a file are asked about, whatever was there before; no answer leaves the cases unread', async () => {
  const { state, cases, intake, take } = await page();
  await take(labelled(['a', 'b'], { labels, channel_names: { 0: 'CT' } }));
  const series = await Promise.all([image('images/t.nii', 3), label('labels/t.nii')]);
  await take(series, 'replace');
  expect(asked.at(-1)).toMatch(/^Files hold 3 volumes each/);
  expect(cases.unread).toBe(true);
  expect(state.channels).toEqual([]);
  answers.push('channels');
  await intake.readOn();
  expect(cases.unread).toBe(false);
  expect(state.channels).toEqual(['channel 1', 'channel 2', 'channel 3']);
});

test('cases whose reading failed, or was cancelled, can be read later, however often one cancels', async () => {
  const { state, cases, intake, take } = await page();
  failing.add('b');
  await take(labelled(['a', 'b']));
  expect(cases.unread).toBe(true);
  expect(cases.trouble.filter((text) => text.includes('no memory'))).toEqual([
    'Case "b" could not be checked (no memory): go on reading, or give the cases without it',
  ]);
  const reading = intake.readOn();
  for (let times = 0; times < 2; times++) intake.cancel();
  await reading;
  expect(cases.unread).toBe(true);
  await intake.readOn();
  expect(cases.unread).toBe(false);
  expect(cases.trouble.join()).not.toContain('no memory');
  expect(state.report!.cases.map(({ id }) => id)).toEqual(['a', 'b']);
});

test('parts of cases stay when others are added, and what is chosen while cases are read counts', async () => {
  const { state, cases, take, parts } = await page();
  await take(labelled(['a', 'b', 'c', 'd', 'e', 'f']));
  for (const id of ['a', 'b']) cases.use(id, 'validation');
  for (const id of ['c', 'd', 'e']) cases.use(id, 'train');
  cases.use('f', 'unused');
  cases.name(1, 'lesion');
  const before = parts();
  await take(labelled(['g', 'h', 'i', 'j']), 'add');
  expect(parts()).toMatchObject(before);
  expect(state.labels).toEqual(['background', 'lesion']);

  const checked = cases.check();
  cases.use('g', 'unused');
  cases.use('h', 'validation');
  await checked;
  expect(parts()).toMatchObject({ ...before, g: 'unused', h: 'validation' });

  // Nothing has been decided of cases that have not been read.
  const second = await page();
  const taken = second.take(labelled(['a', 'b', 'c', 'd', 'e']));
  await vi.waitFor(() => expect(second.state.cases).toHaveLength(5));
  const { label: truth } = second.state.cases[1]!;
  await Promise.all([taken, second.cases.choose('a', truth)]);
  expect(Object.values(second.parts()).sort()).toEqual(['train', 'train', 'train', 'train', 'validation']);
});

test('who goes on training from a network holds back what was held back from it, by what the images hold', async () => {
  const { state, cases, take, parts } = await page();
  await take(labelled(['ax', 'bx', 'cx', 'dx', 'ex', 'fx']));
  const dealt = parts();
  const [held, byHand] = Object.keys(dealt).filter((id) => dealt[id] === 'train' && id !== 'fx') as [
    string,
    string,
  ];

  const { keepRun } = await import('../../examples/browser/src/kept/runs.ts');
  const { beginWithModel, openModel } = await import('../../examples/browser/src/state.ts');
  const { givenNetwork } = await import('../../examples/browser/src/beginning.ts');
  // In another visit they were called otherwise, and the last was not there.
  const { cases: before } = await openDataset(await labelled(['a', 'b', 'c', 'd', 'e']));
  const run = {
    ...{ id: 'run', data: 'data', started: new Date() },
    cases: before.map(({ id }) => ({ id, part: `${id}x` === held ? 'validation' : 'train' })),
  };
  await keepRun(run as unknown as RunRecord, { id: 'data', name: 'before', cases: before });
  const start = { config: completeConfig({ inChannels: 1, classes: 2 }) };
  const save = () => Promise.resolve(new Uint8Array(1));
  openModel({ start, save, dispose: () => undefined } as unknown as OpenModel, 'network', 'run');

  expect(await givenNetwork()).toBeUndefined();
  expect(parts()).toEqual(dealt); // new weights know no case
  cases.use(byHand, 'unused');
  beginWithModel({ heads: 'auto', start });
  expect(await givenNetwork()).toMatchObject({ from: { name: 'network' } });
  const expected = { ...dealt, [held]: 'validation', [byHand]: 'unused' };
  for (const id of Object.keys(dealt)) if (id !== held && id !== byHand) expected[id] = 'train';
  expect(parts()).toEqual(expected);
  await cases.check();
  expect(parts()).toEqual(expected);
  expect(state.cases).toHaveLength(6);
});

test('cases of a project keep what they were used for when they are added to others', async () => {
  const { cases, intake, take, parts } = await page();
  await take(labelled(['a', 'b']));
  cases.use('a', 'validation');
  cases.use('b', 'unused');
  const project = cases.atHand();
  const other = { ...(await image('set/imagesTr/z.nii')), path: 'set/imagesTr/a.nii' };
  await take([other, await label('set/labelsTr/a.nii')], 'replace');
  answers.push('add');
  await intake.takeFrom(project);
  expect(parts()).toEqual({ a: 'train', set_a: 'validation', b: 'unused' });
});

test('data that come back are not those of the page where others have come while drawings were looked for', async () => {
  const { state, intake, onCases, take } = await page();
  const kept = { name: 'kept', labels: [], channels: [], warnings: [] };
  const { cases } = await openDataset(await labelled(['a', 'b']));
  const parts = new Map<string, Part>([['a', 'validation']]);
  expect(await intake.restore({ ...kept, cases }, parts)).toBe(true);
  expect(state.cases.map(({ part }) => part)).toEqual(['validation', 'train']);
  onCases.push(() => take(labelled(['c', 'd']), 'replace'));
  expect(await intake.restore({ ...kept, cases }, parts)).toBe(false);
  expect(state.cases.map(({ id }) => id)).toEqual(['c', 'd']);
});

test('what follows the reading of cases follows it also where a label is chosen meanwhile', async () => {
  const { state, cases, intake } = await page();
  const kept = { name: 'kept', labels: [], channels: [], warnings: [] };
  const { cases: before } = await openDataset(await labelled(['a', 'b']));
  /** Restores them; their reading has begun then. */
  const restore = async (): Promise<{ readonly done: Promise<boolean> }> => {
    const shown = state.cases;
    const done = intake.restore({ ...kept, cases: before }, new Map());
    while (state.cases === shown) await Promise.resolve();
    return { done };
  };
  const restored = await restore();
  const chosen = cases.choose('a', state.cases[1]!.label);
  expect(await restored.done).toBe(true);
  expect(state.report!.cases).toHaveLength(2);
  await chosen;
  // But not where the reading is cancelled.
  const again = await restore();
  intake.cancel();
  expect(await again.done).toBe(false);
});

test('who starts over gets no data that are still being made, and is asked before work by hand is lost', async () => {
  const { state, cases, intake, take } = await page();
  let finish: (made: Dataset) => void = () => undefined;
  const making = intake.takeMade('made', () => new Promise((resolve) => (finish = resolve)));
  await intake.clear();
  finish(await openDataset(await labelled(['z'])));
  await making;
  expect(state.cases).toEqual([]);

  await take(Promise.all([image('images/a.nii'), label('labels/a.nii', 255)]));
  await cases.map(new Map([[255, 1]]));
  // The labels that were given can be chosen again.
  expect(cases.labels.map(({ path }) => path)).toEqual(['a.nii', 'a: a.nii.gz']);
  cases.name(1, 'lesion');
  const before = state.cases;
  await intake.clear();
  expect(asked).toEqual(['Begin with nothing?']);
  expect(state.cases).toBe(before);
  answers.push('go');
  await intake.clear();
  expect(state).toMatchObject({ cases: [], labels: [], name: 'your data' });
  // Nothing of it is left to be lost.
  await intake.clear();
  expect(asked).toHaveLength(2);

  await take(Promise.all([image('images/a.nii'), label('labels/a.nii', 2, 1)]));
  await cases.ignore(2);
  await intake.clear();
  expect(asked).toHaveLength(3);
  expect(state).toMatchObject({ ignoreLabel: 2, cases: [{ id: 'a' }] });
});

test('what is dropped is listed in all its folders, which is told when it takes its time and can be cancelled', async () => {
  const { state, intake, work } = await page();
  const { dropZone } = await import('../../examples/browser/src/dropped.ts');
  const zone = Object.assign(new EventTarget(), { classList: { remove: () => undefined } });
  let done: Promise<void> = Promise.resolve();
  dropZone(zone as unknown as HTMLElement, (list) => (done = intake.takeDropped(list)));
  const [a, b] = (await scans('a', 'b')).map(({ source }) => source) as [File, File];
  /** Called when the second file is asked for, which comes when that returns. */
  let second: Promise<void> = Promise.resolve();
  const entry = (source: File, come: () => Promise<void>) => ({
    isFile: true,
    fullPath: `/scans/${source.name}`,
    file: (resolve: (file: File) => void) => void come().then(() => resolve(new File([source], source.name))),
  });
  const folder = (parts: object[][]) => ({
    isFile: false,
    createReader: () => ({
      readEntries: (resolve: (part: object[]) => void) => resolve(parts.shift() ?? []),
    }),
  });
  const drop = (): void => {
    const inner = folder([[entry(b, () => second)]]);
    const all = folder([[entry(a, () => Promise.resolve())], [inner]]);
    const dataTransfer = { items: [{ webkitGetAsEntry: () => all }] };
    zone.dispatchEvent(Object.assign(new Event('drop'), { dataTransfer }));
  };
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  let come: () => void = () => undefined;
  second = new Promise((resolve) => (come = resolve));
  drop();
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  expect(work).toEqual([]);
  vi.advanceTimersByTime(300);
  expect(work).toEqual(['Listing what was dropped: 1 file so far']);
  intake.cancel();
  vi.useRealTimers();
  await done;
  come();
  await second;
  expect(work.at(-1)).toBe('');
  expect(state.cases).toEqual([]);
  drop();
  await done;
  expect(state.cases.map(({ id }) => id)).toEqual(['a', 'b']);
});

test('classes keep the names that a person gave them when unknown voxels are marked, and when no longer', async () => {
  const { state, cases, take } = await page();
  await take(labelled(['a', 'b'], { labels: { background: 0, tumour: 1, cyst: 2 } }));
  cases.name(1, 'lesion');
  await cases.ignore(2);
  expect(state.labels).toEqual(['background', 'lesion']);
  await cases.ignore(undefined);
  expect(state.labels).toEqual(['background', 'lesion', 'cyst']);
  // Values between the classes and that of unknown voxels are no classes.
  await take(Promise.all([image('images/c.nii'), label('labels/c.nii', 1, 5)]), 'replace');
  expect(state.labels).toHaveLength(6);
  await cases.ignore(5);
  expect(state.labels).toEqual(['background', 'class 1']);
});

test('classes that corrected labels no longer have are gone', async () => {
  const { state, take } = await page();
  await take([await image('a.nii')], undefined, 'images');
  await take([await label('a.nii', 4)], undefined, 'labels');
  expect(state.labels).toHaveLength(5);
  await take([await label('a.nii', 1)], undefined, 'labels');
  expect(state.labels).toEqual(['background', 'class 1']);
});

test('classes of a label that was chosen wrongly are gone with it, and what was found with the last label', async () => {
  const { state, cases, take } = await page();
  await take(scans('a', 'b'));
  const wrong = (await label('wrong.nii', 9)).source;
  for (const unknown of [undefined, 2]) {
    await cases.choose('a', (await label('right.nii')).source);
    await cases.ignore(unknown);
    await cases.choose('b', wrong);
    expect(state.labels).toHaveLength(10);
    expect(cases.values?.has(9)).toBe(true);
    await cases.choose('b', undefined);
    expect(state.labels).toEqual(['background', 'class 1']);
    await cases.choose('a', wrong);
    await cases.choose('a', undefined);
    expect([state.report, state.decision, cases.values]).toEqual([undefined, undefined, undefined]);
  }
});

test('wherever there are cases it is asked what becomes of them, but for labels of scans that have none', async () => {
  const { state, take, intake } = await page();
  await take(scans('a', 'b'));
  await take(scans('c'), 'add');
  expect(asked).toHaveLength(1);
  await take(await Promise.all(['a', 'b', 'c'].map((name) => label(`${name}.nii`))), undefined, 'labels');
  expect(asked).toHaveLength(1);
  expect(state.cases.map(({ id, label: its }) => [id, (its as File | undefined)?.name])).toEqual(
    ['a', 'b', 'c'].map((name) => [name, `${name}.nii`]),
  );
  const made = { name: 'made', cases: [], labels: [], channels: [], warnings: [] };
  await intake.takeMade('made', () => Promise.resolve(made));
  await take(labelled(['d'], { labels }));
  expect(asked).toHaveLength(3);
  expect(state.cases).toHaveLength(3);
});

test('no two images that are given one by one have one name, and labels find those that have theirs', async () => {
  const { SingleFiles } = await import('../../examples/browser/src/single-files.ts');
  const entries = (...paths: string[]) => paths.map((path) => ({ path, source: new File([path], path) }));
  const images = entries('a/x.nii', 'b/x.nii', 'a_x.nii', 'x.nii', 'x.nii.gz', 'b/a_x.nii.gz', 'only.nii');
  const { source } = images[2]!;
  const found = new SingleFiles('mine', images, entries('labels/a_x.nii')).guessed();
  expect(new Set(found.map(({ id }) => id)).size).toBe(images.length);
  expect(found.at(-1)!.id).toBe('only');
  const alone = new SingleFiles('mine', images.slice(0, 3), entries('labels/a_x.nii')).guessed();
  expect(alone.filter(({ label }) => label).map((item) => item.images)).toEqual([[source]]);
});

test('of two data sets that are given at once, the second asks what becomes of the first', async () => {
  const { state, take } = await page();
  const [first, second] = [await labelled(['a', 'b'], { labels }), await labelled(['c'], { labels })];
  answers.push('add');
  await Promise.all([take(first), take(second)]);
  expect(asked).toHaveLength(1);
  expect(state.cases.map(({ id }) => id).sort()).toEqual(['a', 'b', 'c']);
  await Promise.all([take(first, 'replace'), take(second, 'replace')]);
  expect(asked).toHaveLength(4);
});

test('who adds is asked again where other cases have come meanwhile, of which none is lost', async () => {
  const { state, take } = await page();
  const [first, second] = [await labelled(['a', 'b'], { labels }), await labelled(['c'], { labels })];
  await take(labelled(['z'], { labels }));
  answers.push('replace', 'add', 'add');
  await Promise.all([take(first), take(second)]);
  expect(asked).toHaveLength(3);
  expect(state.cases.map(({ id }) => id).sort()).toEqual(['a', 'b', 'c']);
});

test('a label of the same name, size and time as the one before is read', async () => {
  const { state, take } = await page();
  const given = async (value: number) => [await image('images/a.nii'), await label('labels/a.nii', value)];
  const valuesNow = (): number[] => [...state.report!.cases[0]!.classVoxels!.keys()];
  await take(given(1));
  expect(valuesNow()).toEqual([0, 1]);
  await take(given(2), 'replace');
  expect(valuesNow()).toEqual([0, 2]);
});
