/** Files of folders in the layouts that data sets have, by the name of their case. */
import { expect, test } from 'vitest';
import { imagesByCase, labelsByCase } from '../../src/data/volumes-by-case.ts';

const entries = (paths: readonly string[]) => paths.map((path) => ({ path, source: new Uint8Array(4) }));
const byName = (found: readonly { name: string; files: readonly { path: string }[] }[]) =>
  Object.fromEntries(found.map(({ name, files }) => [name, files.map(({ path }) => path).join(' ')]));

test.each<[string, number, string[], Record<string, string>, string[]]>([
  ['one folder', 1, ['a.nii', 'b_0000.nii'], { a: 'a.nii', b_0000: 'b_0000.nii' }, []],
  [
    'nnU-Net: the first channel',
    1,
    ['a_0000.nii.gz', 'b_0000.nii.gz'],
    { a: 'a_0000.nii.gz', b: 'b_0000.nii.gz' },
    [],
  ],
  ['nnU-Net: two channels', 2, ['a_0000.nii', 'a_0001.nii'], { a: 'a_0000.nii a_0001.nii' }, []],
  [
    'one folder of labels, asked for by hand',
    1,
    ['seg_1.nii', 'seg_2.nii'],
    { seg_1: 'seg_1.nii', seg_2: 'seg_2.nii' },
    [],
  ],
  ['a folder per case', 1, ['p1/scan.nii', 'p2/scan.nii'], { p1: 'p1/scan.nii', p2: 'p2/scan.nii' }, []],
  ['one folder alone', 1, ['imagesTs/scan.nii'], { scan: 'imagesTs/scan.nii' }, []],
  ['one case, labels beside it', 1, ['p1/scan.nii', 'p1/seg.nii'], { p1: 'p1/scan.nii' }, ['p1/seg.nii']],
  ['labels beside images', 1, ['a.nii', 'a_seg.nii', 'b.nii'], { a: 'a.nii', b: 'b.nii' }, ['a_seg.nii']],
  ['one case of two channels', 2, ['B1/flair.nii', 'B1/t1.nii'], { B1: 'B1/flair.nii B1/t1.nii' }, []],
  [
    'one case of numbered channels, alone in a folder of cases',
    2,
    ['imagesTs/case7_0000.nii', 'imagesTs/case7_0001.nii'],
    { case7: 'imagesTs/case7_0000.nii imagesTs/case7_0001.nii' },
    [],
  ],
  [
    'one case of numbered channels with its label',
    2,
    ['B1/scan_0000.nii', 'B1/scan_0001.nii', 'B1/seg.nii'],
    { B1: 'B1/scan_0000.nii B1/scan_0001.nii' },
    ['B1/seg.nii'],
  ],
  ['two files that may be of two cases', 2, ['a.nii', 'b.nii'], { a: 'a.nii', b: 'b.nii' }, []],
  [
    'a folder per case, labels in it',
    1,
    ['p1/scan.nii', 'p1/seg.nii', 'p2/scan.nii'],
    { p1: 'p1/scan.nii', p2: 'p2/scan.nii' },
    ['p1/seg.nii'],
  ],
  [
    'BraTS: a folder per case with its channels',
    2,
    ['B1/B1_flair.nii', 'B1/B1_seg.nii', 'B1/B1_t1.nii', 'B2/B2_flair.nii', 'B2/B2_seg.nii', 'B2/B2_t1.nii'],
    { B1: 'B1/B1_flair.nii B1/B1_t1.nii', B2: 'B2/B2_flair.nii B2/B2_t1.nii' },
    ['B1/B1_seg.nii', 'B2/B2_seg.nii'],
  ],
  [
    'two folders of several each, and of labels',
    1,
    ['imagesTr/a.nii', 'imagesTr/b.nii', 'imagesTs/a.nii', 'imagesTs/c.nii', 'labelsTr/a.nii'],
    {
      imagesTr_a: 'imagesTr/a.nii',
      imagesTr_b: 'imagesTr/b.nii',
      imagesTs_a: 'imagesTs/a.nii',
      imagesTs_c: 'imagesTs/c.nii',
    },
    ['labelsTr/a.nii'],
  ],
  [
    'deeper',
    1,
    ['p1/week 0/t.nii', 'p1/week 4/t.nii'],
    { 'p1_week 0': 'p1/week 0/t.nii', 'p1_week 4': 'p1/week 4/t.nii' },
    [],
  ],
])('images: %s', async (_, channels, paths, expected, labels) => {
  const found = await imagesByCase(entries(paths), channels);
  expect(byName(found.volumes)).toEqual(expected);
  expect(found.labels.map(({ path }) => path)).toEqual(labels);
});

test.each<[string, string[], string[], string]>([
  [
    'as they come where names of files sort so',
    ['flair', 't1', 't1ce', 't2'],
    ['B/B_flair.nii', 'B/B_t1.nii', 'B/B_t1ce.nii', 'B/B_t2.nii'],
    'flair t1 t1ce t2',
  ],
  [
    'in the order of a bundle of MONAI',
    ['T1ce', 'T1', 'T2', 'FLAIR'],
    ['B/B_flair.nii', 'B/B_t1.nii', 'B/B_t1ce.nii', 'B/B_t2.nii'],
    't1ce t1 t2 flair',
  ],
  ['where one name ends as another', ['T1', 'post T1'], ['B/B_post-T1.nii', 'B/B_T1.nii'], 'T1 post-T1'],
  ['by numbers', ['flair', 't1'], ['B/B_0000.nii', 'B/B_0001.nii'], '0000 0001'],
  ['as they come where the model tells no names', [], ['B/B_a.nii', 'B/B_b.nii'], 'a b'],
])("channels of a case's folder, %s", async (_, names, paths, expected) => {
  const { volumes } = await imagesByCase(entries(paths), paths.length, names);
  expect(byName(volumes)).toEqual({ B: expected.replace(/\S+/g, (name) => `B/B_${name}.nii`) });
});

test.each([
  [
    ['flair', 't1', 't1ce', 't2'],
    ['t1c', 't1n', 't2f', 't2w'],
  ],
  [
    ['flair', 't1'],
    ['flair', 'other_flair'],
  ],
])('channels %j cannot be told by %j', async (names, found) => {
  const files = entries(found.map((name) => `B/B_${name}.nii`));
  await expect(imagesByCase(files, names.length, names)).rejects.toThrow(
    /files in "B" are cannot be told: they are named "B_.*, in this order, "flair", "t1".* or the numbers B_0000, B_0001 …$/,
  );
});

test.each<[string, string[], Record<string, string>]>([
  ['one folder', ['a.nii', 'seg_b.nii'], { a: 'a.nii', seg_b: 'seg_b.nii' }],
  ['a folder per case', ['p1/x.nii', 'p2/x.nii'], { p1: 'p1/x.nii', p2: 'p2/x.nii' }],
  [
    'beside images',
    ['p1/scan.nii', 'p1/seg.nii', 'p2/scan.nii', 'p2/seg.nii'],
    { p1: 'p1/seg.nii', p2: 'p2/seg.nii' },
  ],
  [
    'a map per organ',
    ['s1/liver.nii', 's1/spleen.nii', 's2/liver.nii'],
    { s1_liver: 's1/liver.nii', s1_spleen: 's1/spleen.nii', s2: 's2/liver.nii' },
  ],
])('labels: %s', (_, paths, expected) => {
  expect(byName(labelsByCase(entries(paths)))).toEqual(expected);
});
