/** Which cases the page proposes outlines for, and in which order, without a browser or a GPU. */
import { beforeEach, expect, test, vi } from 'vitest';
import {
  acceptable,
  propose,
  proposing,
  stopProposing,
  worthAnnotating,
} from '../../examples/browser/src/annotate/proposing.ts';
import { state, type OpenModel, type PageCase } from '../../examples/browser/src/state.ts';

/** Cases that are being segmented, with the model and how to end it: by an error, or with a mean uncertainty. */
const begun: { name: string; model: OpenModel; end: (outcome?: Error | number) => void }[] = [];

vi.mock('../../examples/browser/src/segmenting.ts', () => ({
  segmented: (model: OpenModel, _sources: unknown, name: string, { signal }: { signal: AbortSignal }) =>
    new Promise((resolve, reject) => {
      const end = (outcome?: Error | number): void => {
        if (outcome instanceof Error) return reject(outcome);
        const uncertainty = outcome === undefined ? undefined : { mean: outcome, voxel: [0, 0, 0] };
        resolve({ labels: new File([], name), overlay: new File([], name), uncertainty });
      };
      signal.addEventListener('abort', () => end(new Error('aborted')));
      begun.push({ name, model, end });
    }),
}));

const model = (): OpenModel =>
  ({
    config: { inChannels: 1, classes: 2 },
    description: { labels: [] },
    dispose: () => undefined,
  }) as unknown as OpenModel;
const [a, b, c] = ['a', 'b', 'c'].map((id): PageCase => ({
  id,
  subject: id,
  images: [new File([id], id)],
  part: 'unused',
})) as [PageCase, PageCase, PageCase];

const isAt = (count: number): Promise<void> =>
  vi.waitFor(() => expect(begun).toHaveLength(count), { timeout: 60_000 });
const names = (): string[] => begun.map(({ name }) => name[0]!);

beforeEach(() => {
  begun.length = 0;
  state.predictions.clear();
  state.cases = [a, b, c];
  Object.assign(state, { model: model(), labels: [] });
});

test('a case that is opened while others are proposed for is the next one, and the others follow', async () => {
  const all = propose([a, b]);
  await isAt(1);
  await propose([c]);
  expect(proposing.status).toBe('Proposing outlines for a; 2 more to go');
  for (const count of [1, 2, 3]) {
    await isAt(count);
    begun.at(-1)!.end();
  }
  await all;
  expect(names()).toEqual(['a', 'c', 'b']);
  expect(state.predictions.size).toBe(3);
  expect(proposing.status).toBe('');
});

test('the cases of which the open model is least sure come first, those that it has not seen last', async () => {
  const order = (): string =>
    worthAnnotating()
      .map(({ id }) => id)
      .join('');
  const all = propose([a, b, c]);
  await isAt(1);
  begun[0]!.end(0.1);
  await isAt(2);
  expect(order()).toBe('abc');
  begun[1]!.end(0.9);
  await isAt(3);
  expect(order()).toBe('bac');
  begun[2]!.end(0.5);
  await all;
  expect(order()).toBe('bca');
  Object.assign(state, { model: model() }); // which has said nothing yet
  expect(order()).toBe('abc');
});

test('what is asked for right after a stop is proposed, and what waited before is not', async () => {
  const all = propose([a, b]);
  await isAt(1);
  stopProposing();
  void propose([c]);
  await isAt(2);
  begun[1]!.end();
  await all;
  expect(names()).toEqual(['a', 'c']);
  expect([...state.predictions.keys()]).toEqual([c.images]);
  expect(proposing.problem).toBe('');
});

test('where another model is opened meanwhile, its proposals come, and none of the one before', async () => {
  const all = propose([a]);
  await isAt(1);
  Object.assign(state, { model: model() });
  begun[0]!.end(new Error('the network was put to another use meanwhile'));
  await isAt(2);
  expect(begun[1]!.model).toBe(state.model);
  begun[1]!.end();
  await all;
  expect(state.predictions.size).toBe(1);
  expect(proposing.problem).toBe('');
});

test('a case that other data have replaced gets no proposal, whatever theirs is called', async () => {
  const all = propose([a, b]);
  await isAt(1);
  state.cases = [
    { ...a, images: [new File(['other'], 'a')] },
    { ...b, images: [new File(['other'], 'b')] },
  ];
  begun[0]!.end();
  await all;
  expect(names()).toEqual(['a']);
  expect(state.predictions.size).toBe(0);
});

test('what was proposed under other names of the classes cannot be accepted', async () => {
  const named = { ...model(), description: { labels: ['background', 'kidney'] } } as unknown as OpenModel;
  Object.assign(state, { model: named, labels: ['background', 'kidney'] });
  const all = propose([a]);
  await isAt(1);
  begun[0]!.end();
  await all;
  expect(acceptable(a)).toBe(state.predictions.get(a.images));
  expect(acceptable(a)).toBeDefined();
  expect(acceptable(b)).toBeUndefined();
  state.labels = ['background', 'spleen'];
  expect(acceptable(a)).toBeUndefined();
  state.labels = ['background', 'Kidney'];
  expect(acceptable(a)).toBeDefined();
});
