/** What becomes of drawings when data come, go and come back, without a browser: they are the labels of their cases. */
import { unzip } from 'unzipit';
import { beforeEach, expect, test, vi } from 'vitest';
import { noMarks } from '../../examples/browser/src/annotate/drawing.ts';
import type { DrawingRecord } from '../../examples/browser/src/annotate/kept-drawings.ts';
import type { AtHand } from '../../examples/browser/src/labelled-cases.ts';
import type { PageCase } from '../../examples/browser/src/state.ts';
import { readNifti, writeNifti } from '../../src/node.ts';
import { forgetAll, stubBrowser } from '../support/page-store.ts';

vi.mock('../../examples/browser/src/kept/database.ts', () => import('../support/page-store.ts'));
vi.mock('../../examples/browser/src/data-client.ts', () => import('../support/page-worker.ts'));
vi.mock('../../examples/browser/src/device.ts', () => ({ device: () => Promise.resolve(undefined) }));
vi.mock('../../examples/browser/src/ask.ts', () => ({
  ask: (question: string) => Promise.resolve(question.startsWith('Files hold') ? 'first' : 'replace'),
}));

const complaints: string[] = [];
vi.mock('../../examples/browser/src/dom.ts', async (original) => ({
  ...(await original<object>()),
  complain: (text: string) => complaints.push(text),
}));

const shape = [4, 3, 2] as const;
const drawn = Uint8Array.from({ length: 24 }, (_, voxel) => (voxel < 6 ? 1 : 0));

const identity = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

/** A file of as many voxels as the drawing has. */
async function file(data: Float32Array, name: string): Promise<File> {
  const bytes = await writeNifti({ data, shape: [...shape], affine: identity }, { gzip: false });
  return new File([bytes], name);
}

/** Files `a` and `b` of a person; of each `which` the voxels are others. */
const scans = (which: number): Promise<File[]> =>
  Promise.all(
    ['a', 'b'].map((name, index) =>
      file(
        Float32Array.from({ length: 24 }, (_, voxel) => (voxel * (which + 2 * index + 3)) % 17),
        `${name}.nii`,
      ),
    ),
  );

/** The modules of the page as after a reload. */
async function page() {
  vi.resetModules();
  const { Intake } = await import('../../examples/browser/src/intake.ts');
  const annotations = await import('../../examples/browser/src/annotate/annotations.ts');
  const labels = await import('../../examples/browser/src/annotate/labels.ts');
  const { state } = await import('../../examples/browser/src/state.ts');
  const annotate = (given: Parameters<Parameters<typeof labels.apply>[0]>[0]): Promise<void> =>
    intake.cases.annotate(given, state.labels);
  const intake = new Intake({
    onChange: () => undefined,
    onWork: () => undefined,
    onCases: () => labels.findDrawings(annotate),
  });
  return {
    state,
    cases: intake.cases,
    take: (files: readonly File[], as: 'images' | 'labels' = 'images') =>
      intake.take(
        files.map((source) => ({ path: source.name, source })),
        as,
      ),
    takeDrawn: () => intake.takeDrawn(),
    restore: ({ dataset, kept }: AtHand) => intake.restore(dataset, kept.parts),
    clear: () => intake.clear(),
    takeFrom: (cases: AtHand) => intake.takeFrom(cases),
    apply: () => labels.apply(annotate),
    find: () => labels.findDrawings(annotate),
    draw: async (
      item: PageCase,
      voxels = drawn,
      marks = { ...noMarks, whole: true },
      names = ['background', 'lesion'],
    ): Promise<void> => {
      await annotations.identityOfCase(item);
      await annotations.keep(item, {
        shape,
        voxels: voxels.slice(),
        marks,
        drawn: voxels.some((value) => value !== 0) ? 1 : 0,
        names,
      });
    },
    /** Voxels of the labels, by case; none where it has no label. */
    labels: () =>
      Promise.all(
        state.cases.map(async ({ label }) =>
          label ? [...(await readNifti(label as File)).data] : undefined,
        ),
      ),
  };
}

beforeEach(() => {
  stubBrowser();
  forgetAll();
  complaints.length = 0;
});

test('after a reload, scans have the labels that were drawn on them as soon as they are there', async () => {
  const first = await page();
  await first.take(await scans(0));
  await first.draw(first.state.cases[0]!);
  await first.apply();
  expect(await first.labels()).toEqual([[...drawn], undefined]);
  const second = await page();
  await second.take(await scans(0));
  expect(await second.labels()).toEqual([[...drawn], undefined]);
  expect(second.state.cases.map(({ part }) => part)).toEqual(['train', 'unused']);
  expect(second.state.labels).toEqual(['background', 'lesion']);
});

test('scans of the same names have neither the drawings nor the proposals of those before; these come back with them', async () => {
  const { state, take, draw, apply, labels } = await page();
  await take(await scans(0));
  await draw(state.cases[0]!);
  await apply();
  state.predictions.set(state.cases[1]!.images, new File([], 'proposal'));
  const before = state.cases;
  await take(await scans(1));
  expect(state.cases.map(({ id }) => id)).toEqual(before.map(({ id }) => id));
  await apply();
  expect(await labels()).toEqual([undefined, undefined]);
  expect(state.cases.some(({ images }) => state.predictions.has(images))).toBe(false);
  await take(await scans(0));
  expect(await labels()).toEqual([[...drawn], undefined]);
});

test('a training that comes back with older labels gets what was drawn, or erased, since', async () => {
  const { state, cases, take, restore, clear, draw, apply, labels } = await page();
  await take(await scans(0));
  const [{ images }] = state.cases as [PageCase];
  const here = (): PageCase => state.cases.find((item) => item.images === images)!;
  await draw(here());
  await apply();
  const before = cases.atHand();
  const twice = drawn.map((value) => 2 * value);
  await draw(here(), twice);
  await apply();
  for (const isEmptied of [true, false]) {
    if (isEmptied) await clear();
    await restore(before);
    expect(await labels()).toEqual([[...twice], undefined]);
  }
  await draw(here(), new Uint8Array(24), noMarks);
  await apply();
  await restore(before);
  expect(await labels()).toEqual([undefined, undefined]);
});

test('the label that was drawn on one case, chosen for another, stays there', async () => {
  const { state, cases, take, draw, apply, labels } = await page();
  await take(await scans(0));
  const [first, second] = state.cases as [PageCase, PageCase];
  await draw(first);
  await apply();
  await cases.choose(second.id, state.cases[0]!.label);
  const { identityOfCase } = await import('../../examples/browser/src/annotate/annotations.ts');
  for (const look of [() => undefined, identityOfCase]) {
    await look(state.cases[1]!);
    await apply();
    expect(await labels()).toEqual([[...drawn], [...drawn]]);
  }
});

test('a drawing that cannot be read is neither taken for none nor written over, and the others are there', async () => {
  const first = await page();
  await first.take(await scans(0));
  for (const item of first.state.cases) await first.draw(item);
  const { withDatabase } = await import('../support/page-store.ts');
  const database = await withDatabase((opened) => opened);
  const [a, b] = database.getAll('drawings') as [DrawingRecord, DrawingRecord];
  const { store } = database.transaction('drawings');
  const get = store.get.bind(store);
  const broken = vi
    .spyOn(store, 'get')
    .mockImplementation((id) => (id === a.id ? Promise.reject(new Error('the disk has an error')) : get(id)));

  const second = await drawing();
  expect(await second.labels()).toEqual([undefined, [...drawn]]);
  expect(complaints.splice(0)).toEqual([expect.stringContaining('something is drawn on a: ')]);
  await expect(second.open()).rejects.toThrow('cannot be read (the disk has an error): reload the page');
  await second.takeDrawn();
  expect(second.state.cases.map(({ id }) => id)).toEqual(['b']);
  const { projectArchive } = await import('../../examples/browser/src/kept/project.ts');
  const { entries } = await unzip(await new Response(await projectArchive(false)).blob());
  expect(Object.keys(entries).filter((path) => path.startsWith('drawings/'))).toEqual([
    `drawings/${b.id}.gz`,
  ]);
  expect(complaints).toEqual([expect.stringContaining('without 1 drawing of this browser')]);
  broken.mockRestore();

  // Nor is what another tab has kept meanwhile.
  const third = await page();
  await third.take(await scans(0));
  const other = { ...a, changed: new Date(a.changed.getTime() + 1000) };
  await withDatabase((opened) => opened.put('drawings', other));
  await expect(third.draw(third.state.cases[0]!)).rejects.toThrow('another drawing of it');
  await expect(third.draw(third.state.cases[0]!, new Uint8Array(24), noMarks)).rejects.toThrow(
    'another drawing',
  );
  expect(database.get('drawings', a.id)).toEqual(other);
});

test('a full disk is told once for each case, in words of drawings, and what is drawn is kept when there is room', async () => {
  const { withDatabase } = await import('../support/page-store.ts');
  const database = await withDatabase((opened) => opened);
  const { board, open, written, draw, state } = await drawing();
  const { QuotaExceeded } = await import('unet3d-gpu/worker'); // as the page has it
  const store = database.transaction('drawings').store;
  const put = vi.spyOn(store, 'put').mockImplementation(() => {
    throw new QuotaExceeded('train on fewer cases', NaN, NaN);
  });
  const session = (await open())!;
  for (const at of [3, 7]) {
    board.drawn[at] = 1;
    session.step();
    await written();
  }
  expect(complaints).toHaveLength(1);
  expect(complaints[0]).toMatch(
    /^The drawing on a could not be saved: it does not fit the room.*free disk space/,
  );
  const { hasUnsaved } = await import('../../examples/browser/src/annotate/annotations.ts');
  expect(hasUnsaved()).toBe(true);
  put.mockRestore();
  await draw(state.cases[1]!);
  await vi.waitFor(() => expect(hasUnsaved()).toBe(false));
  expect(database.getAll('drawings')).toHaveLength(2);
});

test('a drawing is kept where its scan cannot be, and the browser is asked once to keep what it has', async () => {
  const persist = vi.fn(() => Promise.resolve(true));
  vi.stubGlobal('navigator', { storage: { persist } });
  const { withDatabase } = await import('../support/page-store.ts');
  const database = await withDatabase((opened) => opened);
  const { state, take, draw } = await page();
  await take(await scans(0));
  expect(persist).not.toHaveBeenCalled();
  const put = vi.spyOn(database.transaction('images').store, 'put').mockImplementation(() => {
    throw new Error('the file is gone');
  });
  await draw(state.cases[0]!);
  put.mockRestore();
  const [kept] = database.getAll('drawings') as [DrawingRecord];
  expect(kept.scan).toBeUndefined();
  await draw(state.cases[0]!);
  expect((database.getAll('drawings') as [DrawingRecord])[0].scan).toMatchObject({ id: 'a' });
  expect(persist).toHaveBeenCalledTimes(1);
});

test('unknown voxels of drawings have the value that unknown voxels have now', async () => {
  const { state, cases, take, draw, apply, labels } = await page();
  await take(await scans(0));
  await draw(state.cases[0]!, drawn, noMarks);
  await apply();
  const values = async () => [...new Set((await labels())[0])].sort((a, b) => a - b);
  expect([state.ignoreLabel, await values()]).toEqual([255, [1, 255]]);
  await cases.ignore(7);
  await apply();
  expect([state.ignoreLabel, await values()]).toEqual([7, [1, 7]]);
  const { label } = state.cases[0]!;
  await apply();
  expect(state.cases[0]!.label).toBe(label);
});

test('what is drawn while other scans take the place of these is not their label', async () => {
  const { state, take, draw, apply, labels } = await page();
  await take(await scans(0));
  await draw(state.cases[0]!);
  const applied = apply();
  await take(await scans(1));
  await applied;
  expect(await labels()).toEqual([undefined, undefined]);
});

test('what was drawn on a series is drawn on the volume that is made of it, and on the series in another visit', async () => {
  const series = async (): Promise<File[]> => {
    const data = Float32Array.from({ length: 72 }, (_, voxel) => (voxel * 5) % 17);
    const bytes = await writeNifti({ data, shape: [...shape, 3], affine: identity }, { gzip: false });
    return [new File([bytes], 'a.nii')];
  };
  const first = await page();
  await first.take(await series());
  const [before] = first.state.cases as [PageCase];
  await first.draw(before);
  await first.apply();
  const [item] = first.state.cases as [PageCase];
  expect(item.images).not.toBe(before.images);
  expect(await first.labels()).toEqual([[...drawn]]);
  const { knownDrawing } = await import('../../examples/browser/src/annotate/annotations.ts');
  await first.find();
  expect(first.state.cases[0]!.label).toBe(item.label);
  expect(knownDrawing(item)).toBeDefined();
  const twice = drawn.map((value) => 2 * value);
  await first.draw(item, twice);
  await first.apply();
  expect(await first.labels()).toEqual([[...twice]]);

  for (const isGiven of [true, false]) {
    const second = await page();
    await (isGiven ? second.take(await series()) : second.takeDrawn());
    expect(await second.labels()).toEqual([[...twice]]);
  }
  await first.draw(first.state.cases[0]!, new Uint8Array(24), noMarks);
  await first.apply();
  expect(await first.labels()).toEqual([undefined]);
});

test('label files that belong to no image by their names can still be chosen when something has been drawn', async () => {
  const { state, cases, take, draw, apply } = await page();
  await take(await scans(0));
  const label = (name: string) => file(Float32Array.from(drawn), name);
  await take([await label('x.nii'), await label('y.nii')], 'labels');
  for (let round = 0; round < 2; round++) {
    await draw(
      state.cases[1]!,
      drawn.map((value) => (1 + round) * value),
    );
    await apply();
    expect(cases.labels.map(({ path }) => path)).toEqual(['x.nii', 'y.nii', 'b: b.nii.gz']);
  }
});

test('a drawing that is its label already is not made a label again', async () => {
  const first = await page();
  await first.take(await scans(0));
  await first.draw(first.state.cases[0]!);
  await first.apply();
  const { label } = first.state.cases[0]!;
  await first.apply();
  expect(first.state.cases[0]!.label).toBe(label);
});

/** A drawing board without pictures, on which what is drawn is an array. */
function bareBoard() {
  const facts = { shape, volumes: 1, turn: [1, 2, 3] as const, spacing: [1, 1, 1] as const };
  const board = {
    drawn: new Uint8Array(24),
    isLocked: false,
    open(): Promise<typeof facts> {
      board.drawn.fill(0);
      board.isLocked = true;
      board.isClear = false;
      return Promise.resolve(facts);
    },
    isClear: false,
    lock: () => (board.isLocked = true),
    unlock: () => (board.isLocked = false),
    /** Bright on the left half. */
    greys: () => ({
      image: Int16Array.from({ length: 24 }, (_, at) => (at % 4 < 2 ? 200 : 10)),
      turn: facts.turn,
    }),
    clear: () => (board.isClear = true),
    redraw: () => undefined,
  };
  return board;
}

async function drawing() {
  const page_ = await page();
  const { Session, DamagedDrawing, discardDrawing, written } =
    await import('../../examples/browser/src/annotate/session.ts');
  const board = bareBoard();
  await page_.take(await scans(0));
  const [item] = page_.state.cases as [PageCase];
  const open = (which = item, { signal } = new AbortController()) =>
    Session.open(board as unknown as Parameters<typeof Session.open>[0], which, signal);
  return { ...page_, board, item, open, written, discardDrawing, DamagedDrawing };
}

test('each step is kept, and what is undone is not', async () => {
  const first = await drawing();
  const session = (await first.open())!;
  first.board.drawn.set([1, 2], 7);
  expect(session.step()).toBe(true);
  first.board.drawn[20] = 1;
  session.step();
  void session.undo();
  void session.close();
  await first.written();
  const second = await drawing();
  await second.open();
  expect([...second.board.drawn.entries()].filter(([, value]) => value !== 0)).toEqual([
    [7, 1],
    [8, 2],
  ]);
});

/** The voxels of a column of the display: `x` is its place. */
const column = (x: number): number[] => Array.from({ length: 6 }, (_, row) => x + 4 * row);

test('slices are filled, strokes grow and proposals are taken over in one step each, which is kept', async () => {
  const first = await drawing();
  const session = (await first.open())!;
  const { board } = first;
  const state = (): number[] => [...board.drawn];
  for (const x of [0, 3]) for (const at of column(x)) board.drawn[at] = 5;
  const strokes = state();
  expect(await session.interpolate(0)).toBe(2); // with the strokes as a step of their own
  expect(state()).toEqual(Array<number>(24).fill(5));
  await session.undo();
  expect(state()).toEqual(strokes);
  await session.undo();
  expect(state()).toEqual(Array<number>(24).fill(0));
  await session.redo();
  await session.redo();
  expect(state()).toEqual(Array<number>(24).fill(5));
  await session.undo();
  await session.undo();

  for (const at of column(0)) board.drawn[at] = 5;
  for (const at of column(3)) board.drawn[at] = 254;
  await session.grow({ axis: 0, index: 0 });
  expect(state()).toEqual(Array.from({ length: 24 }, (_, at) => [5, 5, 0, 254][at % 4]));
  await session.accept(Uint8Array.from({ length: 24 }, () => 7));
  expect(state()).toEqual(Array.from({ length: 24 }, (_, at) => [5, 5, 7, 254][at % 4]));
  expect([session.isWhole, board.isLocked]).toEqual([true, false]);
  await session.close();
  await first.written();
  const second = await drawing();
  await second.open();
  expect([...second.board.drawn]).toEqual(state());
});

test('what is cancelled, or refused, leaves the drawing as it was, and the board free', async () => {
  const { board, open } = await drawing();
  const session = (await open())!;
  for (const x of [0, 3]) for (const at of column(x)) board.drawn[at] = 5;
  session.step();
  const before = [...board.drawn];
  const labels = Uint8Array.from({ length: 24 }, () => 7);
  for (const work of [
    (signal: AbortSignal) => session.interpolate(0, signal),
    (signal: AbortSignal) => session.accept(labels, {}, signal),
    (signal: AbortSignal) => session.undo(signal),
  ]) {
    const stop = new AbortController();
    const done = work(stop.signal);
    expect(board.isLocked).toBe(true);
    stop.abort();
    await expect(done).rejects.toThrow('aborted');
    expect([...board.drawn]).toEqual(before);
    expect(board.isLocked).toBe(false);
    expect([session.drawnSlices(0), session.isWhole, session.canRedo]).toEqual([[0, 3], false, false]);
  }
  await expect(session.grow({ axis: 0, index: 0 })).rejects.toThrow('a stroke in the background');
  expect(board.isLocked).toBe(false);
  await session.undo();
  expect(session.isEmpty).toBe(true);
});

test('while slices are filled nothing else is drawn; what comes meanwhile waits, and a case that is closed gets its own', async () => {
  const first = await drawing();
  const { board, open, written } = first;
  const session = (await open())!;
  for (const x of [0, 3]) for (const at of column(x)) board.drawn[at] = 5;
  const filled = session.interpolate(0);
  expect(session.isBusy).toBe(true);
  session.markWhole(true);
  session.fill(2, [1, 1, 1], 9);
  expect(session.step()).toBe(false);
  const taken = session.accept(Uint8Array.from({ length: 24 }, () => 7));
  const closed = session.close();
  let isReleased = false;
  void closed.then(() => (isReleased = true));
  expect(isReleased).toBe(false);
  expect(await filled).toBe(2);
  await Promise.all([taken, closed, written()]);
  expect(session.isWhole).toBe(false); // closed before it was its turn
  const second = await drawing();
  await second.open();
  expect([...second.board.drawn]).toEqual(Array<number>(24).fill(5));
});

test('a label file without background begins a drawing that is complete only where no voxel is unknown', async () => {
  const { state, open, written } = await drawing();
  const session = (await open())!;
  state.ignoreLabel = 7;
  for (const other of [7, 1]) {
    const label = await file(
      Float32Array.from(drawn, (value) => value || other),
      'a.nii',
    );
    await session.take(await session.drawingOf(label));
    expect(session.isWhole).toBe(other === 1);
  }
  await written(); // ahead of what is kept next
});

test('a project without images has those that the page made, also when it is saved from where it was opened', async () => {
  const first = await page();
  await first.take(await scans(0));
  const { setMade } = await import('../../examples/browser/src/kept/data.ts');
  setMade(first.state.cases[0]!.images[0] as File);
  for (const item of first.state.cases) await first.draw(item);
  for (let times = 0; times < 2; times++) {
    const { projectArchive } = await import('../../examples/browser/src/kept/project.ts');
    const archive = await new Response(await projectArchive(false)).blob();
    const { entries } = await unzip(archive);
    const copied = Object.keys(entries).filter((path) => path.startsWith('images/'));
    expect(copied).toEqual([expect.stringMatching(/\/a\.nii$/)]);
    forgetAll();
    await page();
    const { openProject } = await import('../../examples/browser/src/kept/project.ts');
    expect(await openProject(archive)).toMatchObject({ drawings: 2, withoutScans: 1 });
    await page(); // after a reload
  }
});

test('a project is saved also where a scan is gone, which is named', async () => {
  const first = await page();
  const files = await scans(0);
  await first.take(files);
  for (const item of first.state.cases) await first.draw(item);
  files[0]!.slice = () =>
    Object.assign(new Blob(), { arrayBuffer: () => Promise.reject(new Error('it is gone')) });
  const { projectArchive } = await import('../../examples/browser/src/kept/project.ts');
  const archive = await new Response(await projectArchive(true)).blob();
  expect(complaints).toEqual([expect.stringMatching(/^The project only names a\.nii: this file was moved/)]);
  forgetAll();
  await page();
  const { openProject } = await import('../../examples/browser/src/kept/project.ts');
  const found = await scans(0);
  expect(await openProject(archive)).toMatchObject({ drawings: 2, withoutScans: 1 });
  expect(await openProject(archive, found)).toMatchObject({ withoutScans: 0 });
});

test('a project that is saved right after a stroke holds it', async () => {
  const { board, open } = await drawing();
  const session = (await open())!;
  board.drawn.set([1, 2], 7);
  session.step();
  const { projectArchive } = await import('../../examples/browser/src/kept/project.ts');
  const { entries } = await unzip(await new Response(await projectArchive(false)).blob());
  expect(Object.keys(entries).filter((path) => path.startsWith('drawings/'))).toHaveLength(1);
});

test('a class that is called otherwise after the last stroke is so after a reload', async () => {
  const first = await drawing();
  const session = (await first.open())!;
  first.board.drawn[3] = 1;
  session.step();
  await first.written();
  first.state.labels = ['background', 'tumour'];
  session.keepNames();
  void session.close();
  await first.written();
  const second = await drawing();
  expect(second.state.labels).toEqual(['background', 'tumour']);
});

test('where another tab draws on a case, its file cannot be read or its opening is cancelled, the board is locked and the case before is gone from it', async () => {
  const { board, state, open } = await drawing();
  const session = (await open())!;
  expect(board.isLocked).toBe(false);
  void session.close();
  const locked = () => Promise.reject(new Error('held'));
  vi.stubGlobal('navigator', { locks: { request: locked } });
  vi.spyOn(AbortSignal, 'timeout').mockReturnValueOnce(AbortSignal.abort()); // it was waited for
  await expect(open(state.cases[1])).rejects.toThrow('in another tab');
  expect([board.isLocked, board.isClear]).toEqual([true, true]);
  vi.stubGlobal('navigator', {});
  await open();
  const gone = new File([new Uint8Array(8)], 'gone.nii');
  gone.slice = () => {
    throw new Error('the file is gone');
  };
  await expect(open({ ...state.cases[1]!, images: [gone] })).rejects.toThrow('gone');
  expect([board.isLocked, board.isClear]).toEqual([true, true]);
  await open();
  const stop = new AbortController();
  const cancelled = open(state.cases[1], stop);
  stop.abort();
  await expect(cancelled).rejects.toThrow('aborted');
  expect([board.isLocked, board.isClear]).toEqual([true, true]);
});

test('a damaged drawing is told with what is kept of it, nothing is drawn over it, and one may begin anew', async () => {
  const first = await drawing();
  const session = (await first.open())!;
  first.board.drawn[3] = 1;
  session.step();
  void session.close();
  await first.written();
  const { withDatabase } = await import('../support/page-store.ts');
  const [record] = (await withDatabase((database) => database.getAll('drawings'))) as [DrawingRecord];
  const voxels = record.voxels.slice(0, record.voxels.length / 2);
  await withDatabase((database) => database.put('drawings', { ...record, voxels }));

  const { open, board, discardDrawing, item, DamagedDrawing } = await drawing();
  expect(complaints).toHaveLength(1);
  expect(complaints[0]).toMatch(/^The drawing on a cannot be trained on/);
  const problem = await open().catch((error: unknown) => error);
  expect(problem).toBeInstanceOf(DamagedDrawing);
  expect((problem as InstanceType<typeof DamagedDrawing>).record.voxels).toEqual(voxels);
  expect(board.isLocked).toBe(true);
  // Not while another tab has it.
  const locked = () => Promise.reject(new Error('held'));
  vi.stubGlobal('navigator', { locks: { request: locked } });
  vi.spyOn(AbortSignal, 'timeout').mockReturnValueOnce(AbortSignal.abort()); // it was waited for
  await expect(discardDrawing(item)).rejects.toThrow('in another tab');
  vi.stubGlobal('navigator', {});
  expect(((await withDatabase((database) => database.getAll('drawings'))) as object[]).length).toBe(1);
  await discardDrawing(item);
  const anew = (await open())!;
  expect(anew.isEmpty).toBe(true);
});

test('a project takes drawings to another browser, where they are on their scans; those that are newer there stay', async () => {
  const first = await page();
  await first.take(await scans(0));
  await first.draw(first.state.cases[0]!);
  const { projectArchive } = await import('../../examples/browser/src/kept/project.ts');
  const archive = await new Response(await projectArchive(false)).blob();

  forgetAll();
  const second = await page();
  const { openProject } = await import('../../examples/browser/src/kept/project.ts');
  expect(await openProject(archive)).toMatchObject({ runs: 0, drawings: 1 });
  await second.take(await scans(0));
  expect(await second.labels()).toEqual([[...drawn], undefined]);
  expect(second.state.labels).toEqual(['background', 'lesion']);

  await second.draw(
    second.state.cases[0]!,
    drawn.map((value) => 2 * value),
  );
  expect(await openProject(archive)).toMatchObject({ drawings: 0 });
  await second.apply();
  expect((await second.labels())[0]).toEqual([...drawn].map((value) => 2 * value));
});

test('a project holds what this browser could not keep', async () => {
  const first = await page();
  const files = await scans(0);
  await first.take(files);
  const [a, b] = first.state.cases as [PageCase, PageCase];
  await first.draw(a);
  const { withDatabase } = await import('../support/page-store.ts');
  const store = await withDatabase((database) => database.transaction('drawings').store);
  const put = vi.spyOn(store, 'put').mockImplementation(() => {
    throw new Error('the disk is full');
  });
  const twice = drawn.map((value) => 2 * value);
  for (const item of [a, b]) await expect(first.draw(item, twice)).rejects.toThrow('full');
  put.mockRestore();
  const { projectArchive } = await import('../../examples/browser/src/kept/project.ts');
  const archive = await new Response(await projectArchive(true)).blob();

  forgetAll();
  const second = await page();
  const { openProject } = await import('../../examples/browser/src/kept/project.ts');
  expect(await openProject(archive)).toMatchObject({ drawings: 2, withoutScans: 0 });
  await second.takeDrawn();
  expect(await second.labels()).toEqual([[...twice], [...twice]]);
});

test('what a project or another tab has drawn since is the label once it is looked for, however often that is', async () => {
  const first = await page();
  const files = await scans(0);
  await first.take(files);
  await first.draw(first.state.cases[0]!);
  const { projectArchive } = await import('../../examples/browser/src/kept/project.ts');
  const archive = await new Response(await projectArchive(false)).blob();

  forgetAll();
  const second = await page();
  await second.take(files);
  const { openProject } = await import('../../examples/browser/src/kept/project.ts');
  await openProject(archive);
  expect(await second.labels()).toEqual([undefined, undefined]);
  const earlier = second.find();
  void second.find();
  await earlier; // ends with the later one
  expect(await second.labels()).toEqual([[...drawn], undefined]);
});

test('a later drawing of a project takes the place of another one here only where a person says so', async () => {
  const first = await page();
  await first.take(await scans(0));
  const twice = drawn.map((value) => 2 * value);
  await first.draw(first.state.cases[0]!, twice);
  const { projectArchive, openProject } = await import('../../examples/browser/src/kept/project.ts');
  const archive = await new Response(await projectArchive(true)).blob();
  const { withDatabase } = await import('../support/page-store.ts');
  const kept = async () =>
    ((await withDatabase((database) => database.getAll('drawings'))) as [DrawingRecord])[0];
  const theirs = await kept();
  const earlier = new Date(theirs.changed.getTime() - 1000);

  const asked: (readonly string[])[] = [];
  const open = (answer: boolean) =>
    openProject(archive, [], undefined, (names) => {
      asked.push(names);
      return Promise.resolve(answer);
    });
  // The same drawing, kept earlier, is nothing to ask about.
  await withDatabase((database) => database.put('drawings', { ...theirs, changed: earlier }));
  expect(await open(false)).toMatchObject({ drawings: 1 });
  expect(asked).toEqual([]);

  await first.draw(first.state.cases[0]!);
  const mine = { ...(await kept()), changed: earlier };
  await withDatabase((database) => database.put('drawings', mine));
  expect(await open(false)).toMatchObject({ drawings: 0 });
  expect(await kept()).toEqual(mine);
  expect(asked).toEqual([['a']]);
  expect(await open(true)).toMatchObject({ drawings: 1 });
  expect((await kept()).voxels).toEqual(theirs.voxels);

  // What is drawn while that is asked stays.
  await withDatabase((database) => database.put('drawings', mine));
  const later = { ...mine, changed: new Date(earlier.getTime() + 1) };
  const drawsOn = async (): Promise<boolean> => {
    await withDatabase((database) => database.put('drawings', later));
    return true;
  };
  expect(await openProject(archive, [], undefined, drawsOn)).toMatchObject({ drawings: 0 });
  expect(await kept()).toEqual(later);
});

test('a project with images has each scan that is drawn on once, and elsewhere these are opened with their drawings', async () => {
  const first = await page();
  const files = await scans(0);
  await first.take(files);
  const [drawnOn] = first.state.cases as [PageCase];
  await first.draw(drawnOn);
  await first.apply();
  // Twice, as each step of the pen is kept; and in a training.
  await first.draw(drawnOn);
  const { keepRun } = await import('../../examples/browser/src/kept/runs.ts');
  const { id, subject, images, label } = first.state.cases[0]!;
  const data = { id: 'data', name: 'scans', cases: [{ id, subject, images, label: label! }] };
  const run = {
    ...{ id: crypto.randomUUID(), name: 'a round', started: new Date(), data: data.id, dataName: data.name },
    ...{ cases: [{ id, part: 'train' as const }], labels: first.state.labels, ignoreLabel: 255, channels: 1 },
    ...{ channelNames: [], history: [], settings: { ...first.state.settings, classWeights: [] } },
    preprocessing: first.state.preprocessing,
  };
  await keepRun(run, data);
  const { projectArchive } = await import('../../examples/browser/src/kept/project.ts');
  const [archive, lean] = await Promise.all(
    [true, false].map(async (withImages) => new Response(await projectArchive(withImages)).blob()),
  );
  const { entries } = await unzip(archive!);
  const copies = Object.values(entries).filter(({ name }) => /\/[ab]\.nii$/.test(name));
  expect(copies.map(({ name }) => name.split('/').at(-1))).toEqual(['a.nii']);
  expect(await copies[0]!.arrayBuffer()).toEqual(await files[0]!.arrayBuffer());

  for (const [project, found] of [
    [archive!, []],
    [lean!, files],
  ] as const) {
    forgetAll();
    const second = await page();
    const { openProject } = await import('../../examples/browser/src/kept/project.ts');
    if (found.length > 0) expect(await openProject(project)).toMatchObject({ drawings: 1, withoutScans: 1 });
    expect(await openProject(project, found)).toMatchObject({ withoutScans: 0 });
    await second.takeDrawn();
    expect(second.state.cases.map((item) => [item.id, item.subject])).toEqual([[id, subject]]);
    expect(await second.labels()).toEqual([[...drawn]]);
    expect(second.state.labels).toEqual(['background', 'lesion']);
  }
});

test('cases at hand come back from a project as they were: with mapped labels, without any, not used, drawn on', async () => {
  const first = await page();
  const files = await scans(0);
  await first.take([
    ...files,
    await file(
      Float32Array.from(drawn, (value) => value / 2),
      'c.nii',
    ),
  ]);
  await first.cases.choose(
    'a',
    await file(
      Float32Array.from(drawn, (value) => 7 * value),
      'mask.nii',
    ),
  );
  await first.cases.map(new Map([[7, 1]]));
  first.cases.name(1, 'lesion');
  first.cases.use('a', 'unused');
  await first.draw(first.state.cases[1]!);
  await first.apply();
  const told = ({ state }: typeof first) => ({
    cases: state.cases.map(({ id, subject, part, label }) => ({
      ...{ id, subject, part, modified: (label as File | undefined)?.lastModified },
    })),
    ...{ name: state.name, labels: state.labels, ignoreLabel: state.ignoreLabel },
  });
  const before = told(first);
  expect(before.cases.map(({ part }) => part)).toEqual(['unused', 'validation', 'unused']);
  const { projectArchive } = await import('../../examples/browser/src/kept/project.ts');
  const [whole, lean] = await Promise.all(
    [true, false].map(async (withImages) =>
      new Response(await projectArchive(withImages, undefined, first.cases.atHand())).blob(),
    ),
  );
  const images = first.state.cases.map((item) => item.images[0] as File);
  for (const [project, found] of [
    [whole!, []],
    [lean!, images],
  ] as const) {
    forgetAll();
    const second = await page();
    const { openProject } = await import('../../examples/browser/src/kept/project.ts');
    if (found.length > 0)
      expect(await openProject(project)).toMatchObject({
        cases: { dataset: { cases: [] } },
        withoutCases: 3,
      });
    const opened = await openProject(project, found);
    expect(opened.withoutCases).toBe(0);
    await second.takeFrom(opened.cases!);
    expect(told(second)).toEqual(before);
    expect(await second.labels()).toEqual([[...drawn], [...drawn], undefined]);
    for (const [at, item] of second.state.cases.entries())
      expect(await (item.images[0] as File).arrayBuffer()).toEqual(await images[at]!.arrayBuffer());
  }
});

test('a label that comes back with its drawing goes when that is erased', async () => {
  const first = await page();
  await first.take(await scans(0));
  await first.draw(first.state.cases[0]!);
  await first.apply();
  const { projectArchive } = await import('../../examples/browser/src/kept/project.ts');
  const archive = await new Response(await projectArchive(true, undefined, first.cases.atHand())).blob();
  forgetAll();
  const second = await page();
  const { openProject } = await import('../../examples/browser/src/kept/project.ts');
  await second.takeFrom((await openProject(archive)).cases!);
  const { label } = second.state.cases[0]!;
  await second.apply();
  expect(label).toBeInstanceOf(File);
  expect(second.state.cases[0]!.label).toBe(label);
  await second.draw(second.state.cases[0]!, new Uint8Array(24), noMarks);
  await second.apply();
  expect(await second.labels()).toEqual([undefined, undefined]);
});

test('files of the names of scans that were drawn on, but with other voxels, are not taken for these', async () => {
  const first = await page();
  await first.take(await scans(0));
  await first.draw(first.state.cases[0]!);
  const { projectArchive } = await import('../../examples/browser/src/kept/project.ts');
  const lean = await new Response(await projectArchive(false)).blob();
  forgetAll();
  await page();
  const { openProject } = await import('../../examples/browser/src/kept/project.ts');
  expect(await openProject(lean, await scans(1))).toMatchObject({ drawings: 1, withoutScans: 1 });
});

test('files of the same name and size that a project only names are told apart by what they hold', async () => {
  const first = await page();
  const scan = async (which: number) => new File([await (await scans(which))[0]!.arrayBuffer()], 'T1.nii');
  const cases = await Promise.all(
    [0, 1].map(async (which) => ({
      ...{ id: `p${which}`, subject: `p${which}`, images: [await scan(which)], label: await scan(which + 2) },
      part: 'train' as const,
    })),
  );
  const { keepRun, keptData } = await import('../../examples/browser/src/kept/runs.ts');
  const data = { id: 'data', name: 'scans', cases: cases.map(({ part: _part, ...item }) => item) };
  const { settings, preprocessing } = first.state;
  await keepRun(
    {
      ...{ id: crypto.randomUUID(), name: 'a round', started: new Date(), data: 'data', dataName: 'scans' },
      ...{ cases, labels: ['background', 'lesion'], ignoreLabel: undefined, channels: 1, channelNames: [] },
      ...{ history: [], settings: { ...settings, classWeights: [] }, preprocessing },
    },
    data,
  );
  const { projectArchive } = await import('../../examples/browser/src/kept/project.ts');
  const lean = await new Response(await projectArchive(false)).blob();
  forgetAll();
  await page();
  const { openProject } = await import('../../examples/browser/src/kept/project.ts');
  const found = await Promise.all([1, 0].map(scan)); // labels are in the project
  expect(await openProject(lean, found.slice(1))).toMatchObject({ runs: 1, withoutImages: 1 });
  expect(await openProject(lean, found)).toMatchObject({ runs: 1, withoutImages: 0 });
  const here = (await keptData('data'))!;
  const bytes = (file: unknown) => (file as File).arrayBuffer();
  for (const [index, { images, label }] of here.cases.entries()) {
    expect(await bytes(images[0])).toEqual(await bytes(cases[index]!.images[0]));
    expect(await bytes(label)).toEqual(await bytes(cases[index]!.label));
  }
});

test('a label file becomes a drawing where its voxels lie, by the values that they stand for', async () => {
  const { labelOver } = await import('../../examples/browser/src/label-maps.ts');
  const { drawnOf } = await import('../../examples/browser/src/annotate/drawing.ts');
  const [image] = await scans(0);
  // x backwards and at its other end, values halved: 3 in the file is 6 · 0.5.
  const data = Float32Array.from({ length: 24 }, (_, voxel) => (voxel % 4 === 0 ? 6 : 0));
  const turned = [-1, 0, 0, 3, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const bytes = await writeNifti({ data, shape: [...shape], affine: turned }, { gzip: false });
  new DataView(bytes.buffer, bytes.byteOffset).setFloat32(112, 0.5, true); // scl_slope
  const label = new File([bytes], 'label.nii');
  const values = await labelOver(image!, label);
  expect([...drawnOf(values, undefined).drawn]).toEqual(
    Array.from({ length: 24 }, (_, voxel) => (voxel % 4 === 3 ? 3 : 0)),
  );
  expect(() => drawnOf([0, 1.5], undefined)).toThrow('1.5, which is no class');
  const elsewhere = await writeNifti({
    data,
    shape: [...shape],
    affine: [...turned.slice(0, 3), 90, ...turned.slice(4)],
  });
  await expect(labelOver(image!, new File([elsewhere], 'far.nii.gz'))).rejects.toThrow('mm apart');
});

test('drawings whose classes are called otherwise are no labels until they are called so: it is told which, and why', async () => {
  const { withDatabase } = await import('../support/page-store.ts');
  const kept = async () => (await withDatabase((database) => database.getAll('drawings'))) as DrawingRecord[];
  const names = async () => (await kept()).map((drawing) => drawing.names[1]);
  const files = await scans(0);
  for (const [at, name] of ['femur', 'bladder'].entries()) {
    const { state, take, draw } = await page();
    await take([files[at]!]);
    await draw(state.cases[0]!, drawn, { ...noMarks, whole: true }, ['background', name]);
    const [drawing] = (await kept()).slice(at);
    await withDatabase((database) => database.put('drawings', { ...drawing, changed: new Date(1000 * at) }));
  }

  // Opened from where they are kept: what goes with the newest.
  const third = await page();
  await third.takeDrawn();
  expect(third.state.cases.map(({ id }) => id)).toEqual(['b']);
  expect([third.state.labels, await third.labels()]).toEqual([['background', 'bladder'], [[...drawn]]]);
  const why = 'class 1 is “femur” in the drawing and “bladder”';
  expect(complaints.splice(0)).toEqual([expect.stringContaining(`left out: a (${why} in newer ones).`)]);

  // Given as files: these come without their drawing.
  const fourth = await page();
  const { Session } = await import('../../examples/browser/src/annotate/session.ts');
  const open = (item: PageCase) =>
    Session.open(
      bareBoard() as unknown as Parameters<typeof Session.open>[0],
      item,
      new AbortController().signal,
    );
  await fourth.take(files);
  await fourth.apply();
  expect(await fourth.labels()).toEqual([undefined, [...drawn]]);
  expect(complaints).toEqual([expect.stringMatching(`What is drawn on a is not trained on: ${why} here.`)]);
  await expect(open(fourth.state.cases[0]!)).rejects.toThrow(`${why} here`);
  // What is drawn meanwhile does not call its classes otherwise.
  await fourth.draw(fourth.state.cases[0]!, drawn, noMarks, ['background', 'bladder']);
  expect(await names()).toEqual(['femur', 'bladder']);

  fourth.cases.name(1, 'femur');
  await fourth.apply();
  expect((await fourth.labels()).map((values) => values?.includes(1))).toEqual([true, true]);
  await vi.waitFor(async () => expect(await names()).toEqual(['femur', 'femur']));
  fourth.cases.name(1, 'thigh bone');
  await vi.waitFor(async () => expect(await names()).toEqual(['thigh bone', 'thigh bone']));
  await (await open(fourth.state.cases[0]!))!.close();
  expect(complaints).toHaveLength(1);
});

test.each([
  [
    ['background', 'liver', 'spleen'],
    ['background', 'spleen', 'liver'],
    [1, 2],
  ],
  [['background', 'liver', 'class 2'], ['Background', 'class 1', 'liver', 'cyst'], []],
  [['background', 'liver', 'ignore'], ['background', 'liver', 'cyst'], []],
])('names %j and %j do not go together for the values %j', async (some, others, expected) => {
  const { valuesApart } = await import('../../examples/browser/src/state.ts');
  expect(valuesApart(some, others)).toEqual(expected);
  expect(valuesApart(others, some)).toEqual(expected);
});

test('what is said of the Dice of held-back cases holds: none was trained on, or it is said how many were', async () => {
  await page();
  const { verdict } = await import('../../examples/browser/src/annotate/rounds.ts');
  type Run = Parameters<typeof verdict>[0][number];
  const run = (train: string, validation: string): Run => {
    const cases = [...train].map((id) => ({ id, part: 'train' as const }));
    const held = [...validation].map((id) => ({ id, part: 'validation' as const }));
    return { cases: [...cases, ...held] } as unknown as Run;
  };
  expect(verdict([run('ab', 'cde'), run('a', 'cde')])).toContain('none of these trainings was trained on');
  expect(verdict([run('ab', 'cde'), run('a', 'cde'), run('cd', 'e')])).toContain(
    '2 of the 3 held-back cases were trained on',
  );
  expect(verdict([run('ab', 'cde'), run('cd', 'abe')])).toContain('its Dice is too high');
  expect(verdict([run('ab', 'cde'), run('a', 'cdf')])).toContain('different held-back cases');
});
