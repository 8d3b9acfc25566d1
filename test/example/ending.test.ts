/** What is left of a training of the page however it ends, without a browser or a GPU: its weights, and that it is finished. */
import { beforeEach, expect, test, vi } from 'vitest';
import type { KeptModel } from '../../examples/browser/src/kept-model.ts';
import type { PageCase } from '../../examples/browser/src/state.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { writeHashed } from '../../src/weights/content-hash.ts';
import { readModel, writeModel } from '../../src/weights/model-file.ts';
import { readSafetensors } from '../../src/weights/safetensors.ts';
import {
  completeConfig,
  defaultPreprocessing,
  type FitOptions,
  type TrainingEvent,
} from '../../src/index.ts';
import { checkpointName } from '../../src/train/checkpoint.ts';
import { forgetAll, privateStore, stubBrowser } from '../support/page-store.ts';

const config = completeConfig({ inChannels: 1, classes: 2, features: [4, 4] });
const { parameterWords, statisticsWords } = layoutParameters(config);

/** A model file all of whose weights are one value, by which it is told from others. */
const modelOf = (value: number): Promise<Uint8Array<ArrayBuffer>> =>
  writeModel(
    { config, labels: [], channels: [], preprocessing: defaultPreprocessing(1) },
    {
      parameters: new Float32Array(parameterWords).fill(value),
      statistics: new Float32Array(statisticsWords).fill(value),
    },
  );
const valueOf = async (model: Uint8Array): Promise<number> => (await readModel(model)).weights.parameters[0]!;

interface Stood {
  readonly step: number;
  readonly value: number;
  readonly best?: number;
}

async function checkpointOf({ step, value, best }: Stood): Promise<Uint8Array<ArrayBuffer>> {
  const tensors = new Map(readSafetensors(await modelOf(value)).tensors);
  if (best !== undefined)
    for (const [name, tensor] of readSafetensors(await modelOf(best)).tensors)
      tensors.set(`best.${name}`, tensor);
  const row = { epoch: 0, validationDice: [], seconds: 1, learningRate: 1 };
  const scores = { loss: 1, validationLoss: 1, smoothedDice: 0.5 };
  const progress = {
    ...{ step, history: [{ ...row, ...scores }], epochLosses: [], seconds: 1, skipped: 0 },
    ...(best !== undefined && { best: { epoch: 0, dice: 0.5 } }),
  };
  return writeHashed({ tensors, metadata: { progress: JSON.stringify(progress) } });
}

let created = 0;
/** As the modules of the page know them. */
let errors: typeof import('../../src/worker/index.ts');

/** A network whose weights are all the same: a new one has 1. */
class Network {
  readonly adapter = 'none';
  readonly config = config;
  readonly description = {};
  constructor(public value: number) {}
  static create(): Promise<Network> {
    created++;
    return Promise.resolve(new Network(1));
  }
  static async load(model: Uint8Array): Promise<Network> {
    return new Network(await valueOf(model));
  }
  fit(_cases: unknown, options: FitOptions & { onEvent: (event: TrainingEvent) => void }): Promise<unknown> {
    return training(this, options);
  }
  save(): Promise<Uint8Array> {
    return modelOf(this.value);
  }
  predict(_sources: unknown, { signal }: { signal: AbortSignal }): Promise<unknown> {
    return predicting(signal);
  }
  dispose(): void {
    // holds nothing
  }
}

/** What a network does when it is trained. */
let training: (network: Network, options: Parameters<Network['fit']>[1]) => Promise<unknown>;

/** What a network does when it segments. */
let predicting: (signal: AbortSignal) => Promise<unknown>;

/** Trains until it stands there, and keeps that; what follows then is the test's. */
async function reach(
  network: Network,
  { checkpoint, onEvent }: Parameters<typeof training>[1],
  stood: Stood,
) {
  const facts = { epochs: 2, stepsPerEpoch: 4, history: [], gpuBytes: 0, adapter: '', software: true };
  onEvent({ type: 'start', step: 0, ...facts });
  const step = {
    type: 'step',
    epoch: 0,
    totalSteps: 8,
    dice: [],
    learningRate: 1,
    gradientNorm: 1,
    etaMs: 1,
  };
  onEvent({ ...step, step: stood.step - 1, loss: 1 } as TrainingEvent);
  network.value = stood.value;
  await checkpoint!.save(checkpointName, await checkpointOf(stood));
}

const lost = (): Promise<never> => Promise.reject(new errors.DeviceLost('the GPU was reset'));
const untilPaused: typeof training = (_network, { signal }) =>
  new Promise((_, reject) => {
    const stop = (): void => reject(new errors.Aborted('stopped'));
    if (signal!.aborted) stop();
    else signal!.addEventListener('abort', stop);
  });

let isDatabaseBroken = false;
/** Files that do not fit the disk. */
let tooLarge: RegExp | undefined;

vi.mock('../../examples/browser/src/kept/database.ts', async () => {
  const store = await import('../support/page-store.ts');
  const withDatabase: typeof store.withDatabase = (work) =>
    isDatabaseBroken ? Promise.reject(new Error('the disk has an error')) : store.withDatabase(work);
  return { ...store, withDatabase };
});
/** Ids of cases that were asked for, to train or to validate on. */
const used: (readonly string[])[] = [];

vi.mock('../../examples/browser/src/prepared-cases.ts', () => ({
  prepare: () => Promise.resolve(),
  casesOf(_run: unknown, ids: readonly string[]) {
    used.push(ids);
    return Promise.resolve([]);
  },
  exampleOf: () => Promise.resolve(undefined),
  releaseCases: () => undefined,
}));
vi.mock('unet3d-gpu/worker', async () => {
  const real = await import('../../src/worker/index.ts');
  const limited = async () => {
    const store = await privateStore();
    const save: typeof store.save = (name, bytes) =>
      tooLarge?.test(name)
        ? Promise.reject(new real.QuotaExceeded(`${name} does not fit the disk`, 2, 1))
        : store.save(name, bytes);
    return { ...store, save };
  };
  return { ...real, privateStore: limited, UNet3D: Network };
});

/** The modules of the page as after a reload. */
async function page() {
  vi.resetModules();
  errors = await import('unet3d-gpu/worker');
  const [atHand, { goOn, pause, stop }, { state }, { keptRun }] = await Promise.all([
    import('../../examples/browser/src/run-at-hand.ts'),
    import('../../examples/browser/src/training.ts'),
    import('../../examples/browser/src/state.ts'),
    import('../../examples/browser/src/kept/runs.ts'),
  ]);
  const phase = (wanted: string): Promise<void> =>
    vi.waitFor(() => expect(state.run!.phase).toBe(wanted), { timeout: 60_000 });
  return { ...atHand, goOn, pause, stop, state, keptRun, phase };
}

const file = (name: string): File => new File([name], name);
const cases = (): PageCase[] => [
  { id: 'a', subject: 'a', images: [file('a')], label: file('b'), part: 'train' },
];

/** A page whose training has come so far and was cut off; its GPU is gone. */
async function cutOff(stood: Stood) {
  const tab = await page();
  tab.state.cases = cases();
  training = async (network, options) => {
    await reach(network, options, stood);
    return lost();
  };
  await tab.begin();
  expect(tab.state.run!.phase).toBe('paused');
  return { ...tab, id: tab.state.run!.id };
}

/** Names of the files on the disk, without the id of their training. */
const onDisk = async (): Promise<string[]> =>
  (await (await privateStore()).list()).map((path) => path.split(' ')[1]!);

beforeEach(() => {
  stubBrowser();
  forgetAll();
  isDatabaseBroken = false;
  tooLarge = undefined;
});

test.each([
  ['the last weights', { step: 3, value: 3 }, 3],
  ['the best weights', { step: 3, value: 3, best: 2 }, 2],
] as const)(
  'a training that is paused before its checkpoint is loaded proposes nothing; stopped then, %s are kept',
  async (kept, stood, expected) => {
    const { id } = await cutOff(stood);
    const { reopen, pause, stop, state, keptRun, phase } = await page();
    training = untilPaused;
    await reopen(id);
    await phase('running');
    pause();
    await phase('paused');
    expect(state.model).toBeUndefined();
    expect(await onDisk()).toEqual([checkpointName]);
    await stop();
    expect(state.run!.progress.log.at(-1)).toContain(`Stopped early; ${kept} are kept`);
    expect(await valueOf(await state.run!.files.model())).toBe(expected);
    expect((await keptRun(id))!.finished).toBeDefined();
    expect(await onDisk()).toEqual(['model.safetensors']);
  },
);

test('where the GPU is lost, what was learnt without validation is kept on a stop; nothing that learnt nothing is', async () => {
  const { stop, state } = await cutOff({ step: 3, value: 3 });
  await stop();
  expect(state.run!.phase).toBe('done');
  expect(await valueOf(await state.run!.files.model())).toBe(3);

  const second = await cutOff({ step: 0, value: 1 });
  await second.stop();
  expect(second.state.run!.phase).toBe('paused');
  expect(second.state.run!.progress.problem).toBe('No step was finished, so there are no weights to keep.');
  expect(await onDisk()).toContain(checkpointName);
});

test('a training whose end could not be recorded goes on from nowhere: it is finished when it is opened again', async () => {
  const { goOn, state, id, keptRun } = await cutOff({ step: 3, value: 3 });
  training = (network, options) => {
    isDatabaseBroken = true;
    return reach(network, options, { step: 8, value: 8 });
  };
  await goOn();
  expect(state.run!.phase).toBe('done');
  expect(await onDisk()).toEqual([checkpointName, 'model.safetensors']);
  isDatabaseBroken = false;
  expect((await keptRun(id))!.finished).toBeUndefined();

  const second = await page();
  training = () => expect.unreachable('it is trained again');
  await second.reopen(id);
  expect(second.state.run!.phase).toBe('done');
  expect(await valueOf(await second.state.model!.save())).toBe(8);
  expect((await second.keptRun(id))!.finished).toBeDefined();
  expect(await onDisk()).toEqual(['model.safetensors']);
});

test('where the disk takes the model alone, the training is finished; where not that either, it says what is lost with the tab', async () => {
  for (const [full, isFinished] of [
    [/checkpoint/, true],
    [/checkpoint|model/, false],
  ] as const) {
    forgetAll();
    tooLarge = full;
    const { goOn, state, id, keptRun, isOnlyHere } = await cutOff({ step: 3, value: 3 });
    expect(state.run!.progress.log.join('\n')).toMatch(
      /Not saved: .* does not fit the disk\. Closing this tab will lose this training\./,
    );
    expect(isOnlyHere(state.run!)).toBe(true);
    training = (network, options) => reach(network, options, { step: 8, value: 8 });
    await goOn();
    expect(await valueOf(await state.run!.files.model())).toBe(8);
    expect((await keptRun(id))!.finished !== undefined).toBe(isFinished);
    expect(isOnlyHere(state.run!)).toBe(!isFinished);
  }
});

test('a running training keeps its data and settings, whatever the page is set to, and no other is opened beside it', async () => {
  const first = await cutOff({ step: 3, value: 3 });
  first.closeRun();
  const { begin, reopen, pause, goOn, state, phase } = first;
  training = untilPaused;
  state.settings.epochs = 7;
  void begin();
  await phase('running');
  await expect(begin()).rejects.toThrow('A training is running in this tab');
  await expect(reopen(first.id)).rejects.toThrow('A training is running in this tab');
  state.cases = [{ ...cases()[0]!, id: 'another' }];
  state.settings.epochs = 99;
  pause();
  await phase('paused');
  let epochs = 0;
  used.length = 0;
  training = (_network, options) => {
    epochs = options.epochs;
    return Promise.reject(new errors.Aborted('stopped'));
  };
  await goOn();
  expect([used, epochs]).toEqual([[[], ['a']], 7]);
});

test('a training whose network was lost while it segmented in the pause goes on with one of its own settings', async () => {
  const tab = await page();
  tab.state.cases = cases();
  training = async (network, options) => {
    await reach(network, options, { step: 3, value: 3 });
    return untilPaused(network, options);
  };
  void tab.begin();
  await vi.waitFor(() => expect(tab.state.run!.hasLearnt).toBe(true), { timeout: 60_000 });
  tab.pause();
  await tab.phase('paused');
  const model = tab.state.model as KeptModel;
  predicting = () => {
    predicting = () => Promise.resolve('labels');
    return lost();
  };
  expect(await model.predict([])).toBe('labels');
  created = 0;
  training = (network, options) => reach(network, options, { step: 8, value: 8 });
  await tab.goOn();
  expect([created, tab.state.run!.phase]).toEqual([1, 'done']);
});

test('a training that goes on ends what its network segments in the pause', async () => {
  const { KeptModel: Kept } = await import('../../examples/browser/src/kept-model.ts');
  errors = await import('unet3d-gpu/worker');
  const network = new Network(3);
  const model = Kept.of(network as never, () => modelOf(3));
  const given = new AbortController();
  let begun = 0;
  predicting = (signal) => {
    begun++;
    return untilPaused(network, { signal } as Parameters<typeof training>[1]);
  };
  const ended = expect(model.predict([], { signal: given.signal })).rejects.toThrow(
    'the network was put to another use meanwhile',
  );
  await vi.waitFor(() => expect(begun).toBe(1));
  expect(await model.giveBack()).toBe(network);
  await ended;
  expect([begun, given.signal.aborted]).toEqual([1, false]);
});

test('where the browser blocks site data, networks are trained all the same', async () => {
  const { begin, state } = await page();
  const refuse = () => Promise.reject(new DOMException('denied', 'SecurityError'));
  const deny = (): never => {
    throw new DOMException('denied', 'SecurityError');
  };
  vi.stubGlobal('navigator', { locks: { request: refuse, query: refuse } });
  vi.stubGlobal('sessionStorage', { setItem: deny, getItem: deny });
  const [{ claimed }, { tabsRun }, { hold }] = await Promise.all([
    import('../../examples/browser/src/kept/runs.ts'),
    import('../../examples/browser/src/state.ts'),
    import('../../examples/browser/src/kept/locks.ts'),
  ]);
  state.cases = cases();
  training = (network, options) => reach(network, options, { step: 8, value: 8 });
  await begin();
  expect(state.run!.phase).toBe('done');
  expect([await claimed(), tabsRun()]).toEqual([new Set(), null]);
  // What another tab has is refused, as before.
  vi.stubGlobal('navigator', { locks: { request: () => Promise.reject(new Error('waited in vain')) } });
  vi.spyOn(AbortSignal, 'timeout').mockReturnValue(AbortSignal.abort());
  await expect(hold('run a', 'another tab has it')).rejects.toThrow('another tab has it');
  vi.restoreAllMocks();
});

test('a training on classes one of which was added since the labels were read has a weight for each', async () => {
  const { begin, state } = await page();
  const { nameClasses } = await import('../../examples/browser/src/labelled-cases.ts');
  state.cases = cases();
  nameClasses(['background', 'liver', 'class 2']);
  training = (network, options) => reach(network, options, { step: 8, value: 8 });
  await begin();
  const { settings, labels } = state.run!.record;
  expect([labels.length, settings.classWeights]).toEqual([3, [1 / 6, 2 / 6, 3 / 6]]);
});

test('a pause in which the worker had to be ended says where the training goes on', async () => {
  const { goOn, state } = await cutOff({ step: 3, value: 3 });
  for (const [why, said] of [
    ['stopped', 'Paused.'],
    [
      'fit did not stop within 30 s; its worker was ended',
      'Paused: the GPU did not stop in time, so "Resume" goes on from the last checkpoint.',
    ],
  ] as const) {
    training = () => Promise.reject(new errors.Aborted(why));
    await goOn();
    expect(state.run!.phase).toBe('paused');
    expect(state.run!.progress.log.at(-1)).toMatch(new RegExp(`  ${said}$`));
  }
});

test('who asks twice for the same training opens it once', async () => {
  const { id } = await cutOff({ step: 3, value: 3 });
  const { reopen, phase, state } = await page();
  training = untilPaused;
  created = 0;
  expect(await Promise.all([reopen(id), reopen(id)])).toEqual([true, true]);
  await phase('running');
  expect([created, state.run!.id]).toEqual([1, id]);
});

test('a model that a person has opened stays open when a training ends', async () => {
  const { goOn, state } = await cutOff({ step: 3, value: 3 });
  const { openModel } = await import('../../examples/browser/src/state.ts');
  const { KeptModel } = await import('../../examples/browser/src/kept-model.ts');
  const model = await KeptModel.open(() => modelOf(5));
  openModel(model, 'mine.safetensors');
  training = (network, options) => reach(network, options, { step: 8, value: 8 });
  await goOn();
  expect(state.run!.phase).toBe('done');
  expect(state.model).toBe(model);
  expect(await valueOf(await state.run!.files.model())).toBe(8);
});

test('what is asked before a training is deleted is of how it stands now', async () => {
  const { goOn, discard, state, id } = await cutOff({ step: 3, value: 3 });
  const before = structuredClone(state.run!.record);
  training = (network, options) => reach(network, options, { step: 8, value: 8 });
  await goOn();
  const questions: string[] = [];
  vi.stubGlobal('confirm', (question: string) => questions.push(question) < 0);
  expect(await discard({ ...before, id })).toBe(false);
  expect(questions).toEqual([`Delete “${before.name}”, its network and its curves?`]);
});

test('other tabs do not delete the training that the open model comes from', async () => {
  /** Of trainings, with how they are held; those that were let go of are gone. */
  const held = new Map<string, LockMode>();
  const request = async (name: string, { mode }: { mode: LockMode }, work: () => Promise<void>) => {
    held.set(name.split(' ').at(-1)!, mode);
    await work();
    held.delete(name.split(' ').at(-1)!);
  };
  vi.stubGlobal('navigator', { locks: { request, query: () => Promise.resolve({ held: [] }) } });
  await page();
  const { openModel } = await import('../../examples/browser/src/state.ts');
  const { KeptModel } = await import('../../examples/browser/src/kept-model.ts');
  const open = async (id?: string) => openModel(await KeptModel.open(() => modelOf(5)), 'mine', id);
  const holds = (...expected: string[]) =>
    vi.waitFor(() => expect([...held]).toEqual(expected.map((id) => [id, 'shared'])));
  await open('first');
  await holds('first');
  await open('second');
  await holds('second');
  await open();
  await holds();
});
