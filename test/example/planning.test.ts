/** What the page decides for data, and what it leaves as a person has chosen it, without a browser or a GPU. */
import { beforeEach, expect, test } from 'vitest';
import type { DeviceFacts } from '../../examples/browser/src/device.ts';
import { nameClasses } from '../../examples/browser/src/labelled-cases.ts';
import {
  choose,
  chooseDefaults,
  divide,
  plan,
  rarityWeights,
  restoreSettings,
} from '../../examples/browser/src/planning.ts';
import { choicesOf, state, type PageCase, type Settings } from '../../examples/browser/src/state.ts';
import { checkDataset, defaultLimits } from '../../src/worker/index.ts';
import { writeNifti } from '../../src/node.ts';

const software = { software: true, budget: 2 ** 30, limits: defaultLimits } as DeviceFacts;

async function volume(data: Uint8Array): Promise<File> {
  const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const bytes = await writeNifti({ data, shape: [8, 8, 8], affine });
  return new File([bytes], 'volume.nii.gz');
}

/** Cases of as many subjects, with what is found in them; `labelled` of them have a label. */
async function take(count: number, labelled: number): Promise<void> {
  const images = await Promise.all(
    Array.from({ length: count }, (_, index) =>
      volume(Uint8Array.from({ length: 512 }, (_, voxel) => (voxel * (7 + index)) % 31)),
    ),
  );
  const label = await volume(Uint8Array.from({ length: 512 }, (_, voxel) => Number(voxel > 300)));
  const before = new Map(state.cases.map(({ id, part }) => [id, part]));
  state.cases = Array.from({ length: count }, (_, index): PageCase => {
    const id = `case_${index}`;
    const part = before.get(id) ?? 'unused';
    return { id, subject: id, images: [images[index]!], part, ...(index < labelled && { label }) };
  });
  const cases = state.cases.filter(({ label: its }) => its);
  state.report = await checkDataset({ name: 'test', cases, labels: [], channels: [], warnings: [] });
}

/** Of a training step with these choices. */
function bytes(choices: object): number {
  state.chosen = choices;
  chooseDefaults(software, []);
  return plan(software).bytes;
}

const parts = (): string[] => state.cases.map(({ part }) => part);
/** Of the cases that have been given labels so far. */
const kept = (labelled: number) =>
  new Map(state.cases.slice(0, labelled).map(({ id, part }) => [id, part] as const));

beforeEach(() => {
  state.cases = [];
  state.chosen = {};
  state.labels = [];
});

test('cases that are annotated later are held back where too few are, and those that were trained on never', async () => {
  await take(6, 1);
  divide();
  expect(parts()).toEqual(['train', ...Array<string>(5).fill('unused')]);
  for (const labelled of [2, 3, 6]) {
    const before = kept(labelled === 6 ? 3 : labelled - 1);
    await take(6, labelled);
    divide(before);
    expect(parts().slice(0, 1)).toEqual(['train']);
    for (const [index, part] of [...before.values()].entries()) expect(parts()[index]).toBe(part);
    expect(parts().filter((part) => part === 'validation')).toHaveLength(1);
    expect(parts().filter((part) => part !== 'unused')).toHaveLength(labelled);
  }
});

test('a case that a person leaves out or holds back stays so', async () => {
  await take(5, 5);
  divide(
    new Map([
      ['case_0', 'unused'],
      ['case_3', 'validation'],
    ]),
  );
  expect(parts()).toEqual(['unused', 'train', 'train', 'validation', 'train']);
});

test('what a person has chosen is kept when the same data are looked at again, and the rest follows the data', async () => {
  await take(3, 3);
  divide();
  chooseDefaults(software, []);
  expect(state.settings).toMatchObject({
    epochs: 60,
    features: [8, 16, 32],
    batchSize: 1,
  });
  expect(rarityWeights()).toEqual([1 / 3, 2 / 3]);
  choose({ epochs: 3, features: [8, 16], patch: [4, 4, 4], learningRate: 0.5 });
  await take(6, 6);
  divide();
  chooseDefaults(software, []);
  expect(state.settings).toMatchObject({
    epochs: 3,
    features: [8, 16],
    patch: [4, 4, 4],
    learningRate: 0.5,
    batchSize: 1,
  });
  state.chosen = {};
  chooseDefaults(software, []);
  expect(state.settings).toMatchObject({
    epochs: 24,
    features: [8, 16, 32],
    patch: undefined,
    learningRate: 0.02,
  });
});

test.each([
  [['background', 'liver', 'tumour'], 'mirrored'],
  [['background', 'bright spot', 'upright', 'vertebra L1'], 'mirrored'],
  [['background', 'left kidney'], 'sides kept'],
  [['background', 'kidney_right', 'kidney_left'], 'sides kept'],
  [['background', 'ctx-lh-cuneus'], 'sides kept'],
  [['background', 'HippocampusLeft'], 'sides kept'],
])('batches are augmented by default, and %j are %s', async (labels, expected) => {
  await take(2, 2);
  divide();
  state.labels = labels;
  chooseDefaults(software, []);
  expect(state.settings.augmentation).toBe(expected);
  // A choice stays, also that of none, and so does that of a training before there was any.
  for (const choices of [{ augmentation: undefined }, choicesOf({} as Settings)]) {
    state.chosen = choices;
    chooseDefaults(software, []);
    expect(state.settings.augmentation).toBeUndefined();
    state.chosen = {};
  }
});

test('names of classes that are given later decide, too, also after a training was brought back', async () => {
  await take(2, 2);
  divide();
  chooseDefaults(software, []);
  nameClasses(['background', 'left hippocampus']);
  expect(state.settings.augmentation).toBe('sides kept');
  state.labels = [];
  const trained: Settings = { ...state.settings, classWeights: [0.5, 0.5], augmentation: 'mirrored' };
  restoreSettings(trained, undefined);
  nameClasses(['background', 'left hippocampus']);
  expect(state.settings.augmentation).toBe('sides kept');
  // What a person had chosen against the names stays chosen.
  restoreSettings(trained, undefined);
  nameClasses(['background', 'right hippocampus']);
  expect(state.settings.augmentation).toBe('mirrored');
});

test('a class that is added before anything is drawn of it has a weight, as the rarest', async () => {
  await take(2, 2);
  divide();
  chooseDefaults(software, []);
  nameClasses(['background', 'liver', 'class 2']);
  expect(rarityWeights()).toEqual([1 / 6, 2 / 6, 3 / 6]);
});

test('what turns bring into a patch is planned for', async () => {
  await take(2, 2);
  divide();
  const [with8, without8] = [{ patch: [8, 8, 8] }, { patch: [8, 8, 8], augmentation: undefined }].map(bytes);
  const [with4, without4] = [{ patch: [4, 4, 4] }, { patch: [4, 4, 4], augmentation: undefined }].map(bytes);
  // A second copy of the image (4 bytes), and of its labels (1 byte at least), as large as they are read.
  expect(with8! - without8!).toBeGreaterThanOrEqual(5 * 8 ** 3);
  // Turned by 30 degrees, the edge of a cube reaches 4 (cos 30 + sin 30) = 5.5; scaled by 1 / 0.85, 6.4 voxels: two on
  // each side, along x in fours.
  expect(with4! - without4!).toBeGreaterThanOrEqual(5 * 12 * 8 * 8);
});

test('without a GPU, data are looked at all the same', async () => {
  await take(2, 2);
  divide();
  chooseDefaults(undefined, []);
  expect(state.decision?.largest).toEqual([8, 8, 8]);
});
