/** What a training of the page begins with, without a browser or a GPU: it is the same after a reload. */
import * as v from 'valibot';
import { beforeEach, expect, test, vi } from 'vitest';
import type { RunRecord } from '../../examples/browser/src/kept/database.ts';
import { projectSchema, recordOf } from '../../examples/browser/src/kept/project-format.ts';
import type { PageCase } from '../../examples/browser/src/state.ts';
import { completeConfig, nnunetAugmentation, type FitOptions } from '../../src/index.ts';
import { forgetAll, privateStore, stubBrowser } from '../support/page-store.ts';

const weights = Uint8Array.of(1, 2, 3, 4);

/** A network as nothing in the page's own settings makes one, with its way of preparing cases. */
const given = {
  bytes: weights,
  from: {
    name: 'other.safetensors',
    config: completeConfig({
      inChannels: 1,
      classes: 4,
      features: [4, 12],
      block: 'residual',
      norm: 'batch',
      kernels: [
        [3, 3, 1],
        [3, 3, 3],
      ],
      strides: [[2, 2, 1]],
    }),
    heads: 'new',
    freeze: 'encoder',
  },
  preprocessing: {
    orientation: 'RAS',
    spacing: [1, 1, 3],
    normalization: ['min-max'],
    padding: 'zeros at the far end',
  },
} as const;

/** Networks that have been made, with what was asked of them; training ends by the loss of their worker. */
const networks: {
  readonly created: object;
  taken: Uint8Array | undefined;
  heads: string | undefined;
  asked: FitOptions | undefined;
}[] = [];

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
    heads: string | undefined;
    constructor(readonly created: object) {}
    adapter = 'none';
    static create(options: object): Promise<UNet3D> {
      const network = new UNet3D(options);
      networks.push(network);
      return Promise.resolve(network);
    }
    takeWeights(bytes: Uint8Array, { heads }: { heads?: string } = {}): Promise<string[]> {
      this.taken = bytes;
      this.heads = heads;
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

/** What a project file says of a training. */
function throughProject(record: RunRecord): RunRecord {
  const project = { format: 'unet3d-gpu project', version: 1, data: [], runs: [record] };
  return recordOf(v.parse(projectSchema, JSON.parse(JSON.stringify(project))).runs[0]!);
}

const file = (name: string): File => new File([name], name);

test('a training that begins with a given network is of that network, again before its first checkpoint, after a loss and a reload', async () => {
  const first = await page();
  first.state.cases = ['a', 'b'].map((id) => ({
    id,
    subject: id,
    images: [file(`${id}.nii`)],
    label: file(`${id}_label.nii`),
    part: 'train' as const,
  }));
  await first.begin(given);
  expect(first.state.run!.phase).toBe('paused');
  expect(networks.map(({ taken }) => taken)).toEqual([weights]);
  await first.goOn();
  expect(networks.map(({ taken }) => taken)).toEqual([weights, weights]);

  const { id } = first.state.run!;
  const second = await page();
  await second.reopen(id);
  await vi.waitFor(() => expect(second.state.run!.phase).toBe('paused'), { timeout: 60_000 });
  expect(networks.length).toBeGreaterThan(2);
  for (const { created, taken, heads, asked } of networks) {
    expect({ taken: [...taken!], heads, freeze: asked?.freeze }).toEqual({
      taken: [...weights],
      heads: 'new',
      freeze: 'encoder',
    });
    expect(created).toMatchObject({
      ...given.from.config,
      classes: 2, // of the data
      preprocessing: given.preprocessing,
    });
  }
  const { record } = second.state.run!;
  expect(record.settings.features).toEqual([4, 12]);
  expect(throughProject(record).from).toEqual(given.from);

  // The data's own way of preparing cases, and what new weights begin with, are still there.
  expect(second.state.preprocessing).not.toEqual(given.preprocessing);
  second.state.cases = first.state.cases;
  await second.begin();
  const anew = networks.at(-1)!;
  expect([anew.taken, anew.asked!.freeze]).toEqual([undefined, undefined]);
  expect(anew.created).toMatchObject({ norm: 'instance', preprocessing: second.state.preprocessing });
});

test('a training whose beginning is no longer kept says so, and does not begin with other weights', async () => {
  const first = await page();
  first.state.cases = [{ id: 'a', subject: 'a', images: [file('a')], label: file('b'), part: 'train' }];
  await first.begin(given);
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
    expect(throughProject(record).settings).toEqual(record.settings);
  },
);

test.each([
  [
    'no case is used for training',
    { part: 'validation' },
    ['background', 'liver'],
    /No case with a label is used/,
  ],
  [
    'the only one to train on has no label',
    { label: undefined },
    ['background', 'liver'],
    /No case with a label/,
  ],
  ['two classes have one name', {}, ['background', 'liver', 'liver'], /Two classes are called "liver"/],
] as const)(
  'where %s, nothing is begun and the training at hand stays',
  async (_, change, labels, problem) => {
    const { begin, state } = await page();
    const item = { id: 'a', subject: 'a', images: [file('a')], label: file('b'), part: 'train' } as const;
    state.cases = [item];
    await begin();
    const { run } = state;
    expect(run).toBeDefined();
    state.cases = [{ ...item, ...change } as PageCase];
    state.labels = [...labels];
    await expect(begin()).rejects.toThrow(problem);
    expect(state.run).toBe(run);
    expect(networks).toHaveLength(1);
  },
);
