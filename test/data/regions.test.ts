/** Regions of dataset.json, as nnU-Net reads them, and how heads become labels. */
import { expect, test } from 'vitest';
import { readDescription } from '../../src/data/dataset-json.ts';
import { openDataset } from '../../src/data/dataset.ts';
import { InvalidDataset } from '../../src/errors.ts';
import { labelsOf, probabilitiesOf } from '../../src/infer/probabilities.ts';
import { readLabels } from '../../src/interop/nnunet/labels.ts';

const tumour = {
  channel_names: { 0: 'T1' },
  labels: { background: 0, 'whole tumour': [1, 2, 3], 'tumour core': [2, 3], enhancing: 3, ignore: 4 },
  regions_class_order: [1, 2, 3],
  file_ending: '.nii.gz',
};
const read = (json: object) => readDescription(JSON.stringify(json));

test('the same regions in the same order as the reader of models finds, with names for labels', () => {
  const { labels, regions, ignoreLabel } = read(tumour);
  expect(regions).toEqual(readLabels(JSON.stringify(tumour)).heads);
  expect(regions!.map(({ name, written }) => [name, written])).toEqual([
    ['whole tumour', 1],
    ['tumour core', 2],
    ['enhancing', 3],
  ]);
  expect([labels, ignoreLabel]).toEqual([['background', 'label 1', 'label 2', 'enhancing'], 4]);
  expect(read({ ...tumour, labels: { background: 0, a: [1], b: 2 } }).regions).toBeUndefined();
});

test('the order is that of the text, also where names look like numbers', () => {
  const text =
    '{"channel_names":{"0":"T1"},"file_ending":".nii.gz","regions_class_order":[1,2,3],' +
    '"labels":{"background":0,"whole":[1,2,3],"c\\u006fre":[2,3],"3":[3],"ignore":4}}';
  const regions = [
    { name: 'whole', labels: [1, 2, 3], written: 1 },
    { name: 'core', labels: [2, 3], written: 2 },
    { name: '3', labels: [3], written: 3 },
  ];
  expect(readDescription(text).regions).toEqual(regions);
  expect(readLabels(text).heads).toEqual(regions);
});

test.each<[string, object, RegExp]>([
  ['no order', { regions_class_order: undefined }, /regions_class_order is missing; expected 3/],
  ['a short order', { regions_class_order: [1, 2] }, /has 2 entries; expected 3/],
  ['a written background', { regions_class_order: [1, 2, 0] }, /label 0 for the region "enhancing"/],
  ['half a label', { regions_class_order: [1, 2, 2.5] }, /label 2\.5/],
  ['no number', { labels: { background: 0, a: [1, 2], b: ['x'] } }, /labels\.b/],
  ['below 0', { labels: { background: 0, a: [1, 2], b: [-1], c: 3 } }, /region "b" the labels \[-1\]/],
  ['empty', { labels: { background: 0, a: [1, 2], b: [], c: 3 } }, /region "b" the labels \[\]/],
  ['a gap', { labels: { background: 0, a: [1, 5], b: 5, c: 1 } }, /no region with the label 4/],
  ['known and unknown', { labels: { background: 0, a: [1, 2], b: 2, c: 3, ignore: 2 } }, /"a" and "ignore"/],
  ['twice unknown', { labels: { background: 0, a: [1, 2], b: 2, c: 3, ignore: [4, 5] } }, /expected one/],
])('%s is refused', (_, change, message) => {
  const open = () => read({ ...tumour, ...change });
  expect(open).toThrow(InvalidDataset);
  expect(open).toThrow(message);
});

test('a label of a region cannot be made unknown', async () => {
  const file = (path: string) => ({ path, source: new Blob([JSON.stringify(tumour)]) });
  const files = ['dataset.json', 'imagesTr/a_0000.nii.gz', 'labelsTr/a.nii.gz'].map(file);
  const dataset = await openDataset(files);
  expect([dataset.regions!.length, dataset.labels.length, dataset.ignoreLabel]).toEqual([3, 4, 4]);
  const labels = { ...tumour.labels, ignore: undefined };
  const told = [
    { path: 'dataset.json', source: new Blob([JSON.stringify({ ...tumour, labels })]) },
    ...files.slice(1),
  ];
  await expect(openDataset(told, { ignoreLabel: 2 })).rejects.toThrow(/belongs to the region "whole tumour"/);
  expect((await openDataset(told, { ignoreLabel: 9 })).ignoreLabel).toBe(9);
});

test('each head decides for itself, later regions write over earlier ones', () => {
  const { regions } = read({ ...tumour, regions_class_order: [3, 1, 2] });
  const heads = { classes: 3, regions: regions! };
  //                             none, whole, core alone, enhancing alone, all, exactly one half
  const logits = Float32Array.from([-1, 2, -1, -1, 3, 0, -1, -2, 1, -1, 1, 0, -3, -1, -1, 4, 0.1, 0]);
  const probabilities = probabilitiesOf(logits, heads);
  logits.forEach((z, at) => expect(probabilities[at]).toBeCloseTo(1 / (1 + Math.exp(-z)), 6));
  expect([...labelsOf(probabilities, heads)]).toEqual([0, 3, 1, 2, 2, 0]);
});
