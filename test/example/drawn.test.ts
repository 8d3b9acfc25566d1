/** What becomes of drawings when data come, go and come back, without a browser: they are the labels of their cases. */
import { beforeEach, expect, test, vi } from 'vitest';
import { noMarks } from '../../examples/browser/src/annotate/drawing.ts';
import type { PageCase } from '../../examples/browser/src/state.ts';
import { readNifti, writeNifti } from '../../src/node.ts';
import { forgetAll, stubBrowser } from '../support/page-store.ts';

vi.mock('../../examples/browser/src/kept/database.ts', () => import('../support/page-store.ts'));
vi.mock('../../examples/browser/src/data-client.ts', () => import('../support/page-worker.ts'));
vi.mock('../../examples/browser/src/device.ts', () => ({ device: () => Promise.resolve(undefined) }));
vi.mock('../../examples/browser/src/ask.ts', () => ({ ask: () => Promise.resolve('replace') }));

const shape = [4, 3, 2] as const;
const drawn = Uint8Array.from({ length: 24 }, (_, voxel) => (voxel < 6 ? 1 : 0));

/** Files `a` and `b` of a person; of each `which` the voxels are others. */
function scans(which: number): Promise<File[]> {
  const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  return Promise.all(
    ['a', 'b'].map(async (name, index) => {
      const data = Float32Array.from({ length: 24 }, (_, voxel) => (voxel * (which + 2 * index + 3)) % 17);
      const bytes = await writeNifti({ data, shape: [...shape], affine }, { gzip: false });
      return new File([bytes as Uint8Array<ArrayBuffer>], `${name}.nii`);
    }),
  );
}

/** The modules of the page as after a reload. */
async function page() {
  vi.resetModules();
  const { Intake } = await import('../../examples/browser/src/intake.ts');
  const annotations = await import('../../examples/browser/src/annotate/annotations.ts');
  const labels = await import('../../examples/browser/src/annotate/labels.ts');
  const { state } = await import('../../examples/browser/src/state.ts');
  const annotate = (given: Parameters<Parameters<typeof labels.apply>[0]>[0]): Promise<void> =>
    intake.annotate(given, state.labels);
  const intake = new Intake({
    onChange: () => undefined,
    onWork: () => undefined,
    onCases: () => labels.findDrawings(annotate),
  });
  return {
    state,
    take: (files: readonly File[]) =>
      intake.take(
        files.map((source) => ({ path: source.name, source })),
        'images',
      ),
    apply: () => labels.apply(annotate),
    draw: async (item: PageCase): Promise<void> => {
      await annotations.identityOfCase(item);
      await annotations.keep(item, {
        shape,
        voxels: drawn.slice(),
        marks: { ...noMarks, whole: true },
        drawn: 1,
        names: ['background', 'lesion'],
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

test('what is drawn while other scans take the place of these is not their label', async () => {
  const { state, take, draw, apply, labels } = await page();
  await take(await scans(0));
  await draw(state.cases[0]!);
  const applied = apply();
  await take(await scans(1));
  await applied;
  expect(await labels()).toEqual([undefined, undefined]);
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
