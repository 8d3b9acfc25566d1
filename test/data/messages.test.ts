/** Messages of a data set with fifty faults of a kind: each short enough to be read, with the number of what it cuts. */
import { describe, expect, test } from 'vitest';
import { checkDataset } from '../../src/data/check.ts';
import { matchByName } from '../../src/data/dataset-match.ts';
import { openDataset } from '../../src/data/dataset.ts';
import type { Case, FileEntry } from '../../src/data/case.ts';
import { writeNifti } from '../../src/data/nifti.ts';
import { checkedLabels } from '../../src/data/prepare-checks.ts';
import { listed, some } from '../../src/listed.ts';
import { pairCases } from '../../src/metrics/summary.ts';

const faults = 50;
/** Longest message in characters: some twelve lines of a terminal. */
const longest = 1000;
const numbers = Array.from({ length: faults }, (_, index) => index);
/** As long as file systems allow. */
const name = (index: number, word = 'patient'): string =>
  `${word}${String(index).padStart(3, '0')}${'_x'.repeat(110)}`;

const entry = (path: string): FileEntry => ({ path, source: new Uint8Array() });

function readable(message: string): void {
  expect(message.length).toBeLessThanOrEqual(longest);
  expect(message).not.toMatch(/''|""|undefined|\[object/);
}

async function messageOf(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('no message');
}

describe('what cannot be opened', () => {
  const images = numbers.map((index) => entry(`images/${name(index)}.nii`));
  const cases: [string, () => unknown, RegExp][] = [
    [
      'no label has its image',
      () =>
        matchByName(
          images,
          numbers.map((index) => entry(`labels/${name(500 + index)}.nii`)),
        ),
      /50 image\(s\) without a label: .* and 40 more; 50 label\(s\) without an image: .* and 40 more/,
    ],
    ['a name twice', () => matchByName([...images, ...images], []), /and 40 more/],
    [
      'many folders',
      () =>
        openDataset(
          numbers.map((index) => entry(`${name(index)}/a.nii`)),
          {},
        ),
      /found the folders .* and 40 more\. Name them/,
    ],
    [
      'no folders',
      () =>
        openDataset(
          numbers.map((index) => entry(`${name(index)}.nii`)),
          {},
        ),
      /found 50 volume\(s\) in no folder of their own\. Name them/,
    ],
    [
      'no prediction has its truth',
      () =>
        pairCases(
          numbers.map((i) => ({ name: name(i), source: 0 })),
          numbers.map((i) => ({ name: name(i, 'b'), source: 0 })),
        ),
      /50 of 50 cases have no prediction: .* and 40 more\. 50 of 50 predictions have no truth: .* and 40 more/,
    ],
    [
      'label values',
      () =>
        checkedLabels(
          name(0),
          Float32Array.from(numbers, (index) => index + 0.5),
          { classes: 3 },
        ),
      /and 40 more/,
    ],
  ];
  test.each(cases)('%s', async (_, work, expected) => {
    const message = await messageOf(work);
    readable(message);
    expect(message).toMatch(expected);
  });
});

test('what a check finds: fifty equal images with fifty wrong values each', async () => {
  const shape = [4, 5, 6];
  const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const values = Float32Array.from({ length: 120 }, (_, voxel) => voxel);
  const image = await writeNifti({ data: values, shape, affine });
  const label = await writeNifti({ data: values.map((value) => 100 + (value % faults)), shape, affine });
  const cases = numbers.map((index): Case => ({
    id: name(index),
    subject: name(index),
    images: [image],
    label,
  }));
  const dataset = { name: 'faulty', cases, labels: ['background', 'organ'], channels: [], warnings: [] };
  const { problems } = await checkDataset(dataset);
  for (const { message } of problems) readable(message);
  const of = (kind: string) =>
    problems.filter((problem) => problem.kind === kind).map(({ message }) => message);
  expect(of('label values')).toHaveLength(faults);
  expect(of('label values')[0]).toMatch(/109 \(\d+ voxels\) and 40 more/);
  expect(of('duplicate').join()).toMatch(/and 40 more are equal/);
});

test('lists are whole up to ten items; long names keep both ends', () => {
  const ten = numbers.slice(0, 10).map(String);
  expect(some(ten)).toBe('0, 1, 2, 3, 4, 5, 6, 7, 8, 9');
  expect(some([...ten, '10'])).toBe('0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1 more');
  expect(some([])).toBe('');
  expect(listed(['a', 'b'])).toBe('"a", "b"');
  expect(listed([`start${'x'.repeat(100)}end`])).toMatch(/^"startx+…x+end"$/);
});
