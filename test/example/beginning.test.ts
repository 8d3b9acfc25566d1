/** What a training of the page begins with, without a browser or a GPU: it is the same after a reload. */
import * as v from 'valibot';
import { beforeEach, expect, test, vi } from 'vitest';
import { projectSchema, recordOf } from '../../examples/browser/src/kept/project-format.ts';
import { nnunetAugmentation, type FitOptions } from '../../src/index.ts';
import { forgetAll, privateStore, stubBrowser } from '../support/page-store.ts';

const weights = Uint8Array.of(1, 2, 3, 4);

/** Networks that have been made, with the weights that they took over; training ends by the loss of their worker. */
const networks: { taken: Uint8Array | undefined; asked: FitOptions | undefined }[] = [];

vi.mock('../../examples/browser/src/kept/database.ts', () => import('../support/page-store.ts'));
vi.mock('../../examples/browser/src/prepared-cases.ts', () => ({
  prepare: () => Promise.resolve(),
  casesOf: () => Promise.resolve([]),
  exampleOf: () => Promise.resolve(undefined),
  releaseCases: () => undefined,
}));
vi.mock('unet3d-gpu/worker', async (original) => {
  const real = await original<typeof import('../../src/worker/index.ts')>();
  const kept = await import('../support/page-store.ts');
  class UNet3D {
    taken: Uint8Array | undefined;
    asked: FitOptions | undefined;
    adapter = 'none';
    static create(): Promise<UNet3D> {
      const network = new UNet3D();
      networks.push(network);
      return Promise.resolve(network);
    }
    takeWeights(bytes: Uint8Array): Promise<string[]> {
      this.taken = bytes;
      return Promise.resolve([]);
    }
    fit(_cases: unknown, options: FitOptions): Promise<never> {
      this.asked = options;
      return Promise.reject(new real.DeviceLost('the worker is gone'));
    }
    dispose(): void {
      // holds nothing
    }
  }
  return { ...real, privateStore: kept.privateStore, UNet3D };
});

/** The modules of the page as after a reload. */
async function page() {
  vi.resetModules();
  const [{ begin, reopen }, { goOn }, { state }] = await Promise.all([
    import('../../examples/browser/src/run-at-hand.ts'),
    import('../../examples/browser/src/training.ts'),
    import('../../examples/browser/src/state.ts'),
  ]);
  return { begin, reopen, goOn, state };
}

beforeEach(() => {
  stubBrowser();
  forgetAll();
  networks.length = 0;
});

const file = (name: string): File => new File([name], name);

test('a training that begins with given weights has them again before its first checkpoint, after a loss and a reload', async () => {
  const first = await page();
  first.state.cases = ['a', 'b'].map((id) => ({
    id,
    subject: id,
    images: [file(`${id}.nii`)],
    label: file(`${id}_label.nii`),
    part: 'train' as const,
  }));
  await first.begin(weights);
  expect(first.state.run!.phase).toBe('paused');
  expect(networks.map(({ taken }) => taken)).toEqual([weights]);
  await first.goOn();
  expect(networks.map(({ taken }) => taken)).toEqual([weights, weights]);

  const { id } = first.state.run!;
  const second = await page();
  await second.reopen(id);
  await vi.waitFor(() => expect(second.state.run!.phase).toBe('paused'), { timeout: 60_000 });
  expect(networks.length).toBeGreaterThan(2);
  expect(networks.every(({ taken }) => taken?.join() === weights.join())).toBe(true);
});

test('a training whose beginning is no longer kept says so, and does not begin with other weights', async () => {
  const first = await page();
  first.state.cases = [{ id: 'a', subject: 'a', images: [file('a')], label: file('b'), part: 'train' }];
  await first.begin(weights);
  const { id } = first.state.run!;
  const store = await privateStore();
  for (const name of await store.list()) await store.remove(name);
  const second = await page();
  await second.reopen(id);
  await vi.waitFor(
    () => expect(second.state.run!.progress.problem).toMatch(/began with are no longer kept/),
    { timeout: 60_000 },
  );
  expect(networks.at(-1)!.taken).toEqual(weights);
  expect(networks).toHaveLength(1);
});

test.each([
  ['mirrored', nnunetAugmentation()],
  ['sides kept', nnunetAugmentation({ mirror: [0, 0.5, 0.5] })],
  [undefined, undefined],
] as const)(
  'a training is augmented as it was when it began (%s), also from a project file',
  async (choice, expected) => {
    const { begin, goOn, state } = await page();
    state.cases = [{ id: 'a', subject: 'a', images: [file('a')], label: file('b'), part: 'train' }];
    state.settings.augmentation = choice;
    state.labels = ['background', 'liver'];
    await begin();
    state.settings.augmentation = choice ? undefined : 'mirrored';
    await goOn();
    expect(networks.map(({ asked }) => asked!.augmentation)).toEqual(networks.map(() => expected));

    const { record } = state.run!;
    const project = { format: 'unet3d-gpu project', version: 1, data: [], runs: [record] };
    const [run] = v.parse(projectSchema, JSON.parse(JSON.stringify(project))).runs;
    expect(recordOf(run!).settings).toEqual(record.settings);
  },
);
