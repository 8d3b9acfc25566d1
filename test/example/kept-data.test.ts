/** What the page keeps of the data of trainings: images once, and as long as a training has them. */
import { beforeEach, expect, test, vi } from 'vitest';
import type { DataRecord, DrawingRecord, RunRecord } from '../../examples/browser/src/kept/database.ts';
import type { Case } from '../../src/worker/index.ts';
import { forgetAll, privateStore, stubBrowser } from '../support/page-store.ts';

vi.mock('../../examples/browser/src/kept/database.ts', () => import('../support/page-store.ts'));
vi.mock('unet3d-gpu/worker', async (original) => ({
  ...(await original<typeof import('../../src/worker/index.ts')>()),
  privateStore,
}));

beforeEach(() => {
  stubBrowser();
  forgetAll();
});

const file = (name: string): File => new File([name], name);
const run = (id: string, data: string) => ({ id, data, started: new Date() }) as RunRecord;

test('rounds with other labels for the same images keep these once, until the last of them is forgotten', async () => {
  const { keepRun, keptData, forget } = await import('../../examples/browser/src/kept/runs.ts');
  const { withDatabase } = await import('../support/page-store.ts');
  const images = () => withDatabase((database) => (database.getAll('images') as unknown[]).length);
  const scans = [[file('a')], [file('b0'), file('b1')], [file('c')]];
  const round = (id: string, count: number): DataRecord => ({
    id,
    name: 'scans',
    cases: scans
      .slice(0, count)
      .map((images, at) => ({ id: `case ${at}`, subject: `${at}`, images, label: file(`${id} ${at}`) })),
  });
  await keepRun(run('1', 'first'), round('first', 2));
  await keepRun(run('2', 'second'), round('second', 3));
  expect(await images()).toBe(3);
  for (const [id, count] of [
    ['first', 2],
    ['second', 3],
  ] as const)
    expect((await keptData(id))!.cases).toEqual(round(id, count).cases);
  // As after a reload: what comes from the database is known there.
  const again = (await keptData('second'))!;
  await keepRun(run('3', 'third'), { ...again, id: 'third' });
  expect(await images()).toBe(3);

  await forget('2');
  expect([await keptData('second'), await images()]).toEqual([undefined, 3]);
  await forget('3');
  expect(await images()).toBe(2);
  await forget('1');
  expect([await keptData('first'), await images()]).toEqual([undefined, 0]);
});

test('the images of a drawing are those of its trainings, are kept without any, and go with the drawing', async () => {
  const { keepRun, forget } = await import('../../examples/browser/src/kept/runs.ts');
  const { drawnCases, forgetDrawing, keepDrawing } =
    await import('../../examples/browser/src/annotate/kept-drawings.ts');
  const { withDatabase } = await import('../support/page-store.ts');
  const images = () => withDatabase((database) => (database.getAll('images') as unknown[]).length);
  const item = (scan: string): Case => ({ id: 'scan', subject: scan, images: [file(scan)] });
  const [one, other] = [item('one'), item('other')];
  const changed = new Date(1);
  const drawing = (id: string) => ({ id, changed }) as DrawingRecord;
  await keepDrawing(drawing('1'), one, undefined);
  await keepRun(run('a', 'data'), { id: 'data', name: 'scans', cases: [one, other] });
  await keepDrawing(drawing('2'), other, undefined);
  // As after a reload, when the same files are chosen anew: a drawing is known by what they hold.
  await keepDrawing(drawing('2'), { ...other, images: [file('other')] }, changed);
  expect(await images()).toBe(2);
  await forget('a');
  expect(await images()).toBe(2);
  expect([...(await drawnCases())]).toEqual([
    ['1', one],
    ['2', { ...other, id: 'scan (2)', subject: 'scan (2)' }],
  ]);
  await forgetDrawing('1');
  expect([...(await drawnCases())]).toEqual([['2', other]]);
  expect(await images()).toBe(1);
});
