// The check of a data set: each kind of problem is found, all at once, and sound data pass without a word.
import { existsSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import '../../src/data/source.node.ts';
import { checkDataset, type DatasetReport } from '../../src/data/check.ts';
import { openDatasetFolder } from '../../src/data/dataset.node.ts';
import type { Dataset } from '../../src/data/dataset.ts';
import type { Case } from '../../src/data/case.ts';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { phantom, phantomLabels, type Phantom } from '../../src/data/phantom.ts';
import { splitCases, type Split } from '../../src/data/split.ts';
import { Aborted } from '../../src/errors.ts';
import { make } from '../support/nifti.ts';

const shape: [number, number, number] = [20, 20, 12];

interface Changes {
  readonly image?: (p: Phantom) => Partial<Phantom>;
  readonly label?: (p: Phantom) => Partial<Phantom>;
  readonly subject?: string;
  readonly from?: number;
}

/** A phantom as a case, with some of its parts replaced before they are written. */
async function item(index: number, { image, label, subject, from = index }: Changes = {}): Promise<Case> {
  const p = phantom(from, { shape });
  const forImage = { ...p, ...image?.(p) };
  const forLabel = { ...p, ...label?.(p) };
  return {
    id: `c${index}`,
    subject: subject ?? `s${index}`,
    images: [await writeNifti({ data: forImage.image, shape: forImage.shape, affine: forImage.affine })],
    label: await writeNifti({ data: forLabel.labels, shape: forLabel.shape, affine: forLabel.affine }),
  };
}

const set = (cases: Case[], changes: Partial<Dataset> = {}): Dataset => ({
  name: 'test',
  cases,
  labels: phantomLabels,
  channels: ['T2'],
  warnings: [],
  ...changes,
});
const found = ({ problems }: DatasetReport) =>
  problems.map(({ severity, kind, cases }) => [severity, kind, cases.join()]);

let sound: Case[];
beforeAll(async () => {
  sound = await Promise.all([0, 1, 2].map((index) => item(index)));
});

test('sound data have no problem, and a fingerprint', async () => {
  const seen: number[] = [];
  const report = await checkDataset(set(sound), { onProgress: (loaded) => seen.push(loaded) });
  expect(report.problems).toEqual([]);
  expect(seen).toEqual([1, 2, 3]);
  expect(report.fingerprint).toMatchObject({
    cases: 3,
    subjects: 3,
    shape: { min: shape, median: shape, max: shape },
    orientations: { RAS: 3 },
  });
  expect(report.fingerprint!.classes.map(({ value, cases }) => [value, cases])).toEqual(
    phantomLabels.map((_, value) => [value, 3]),
  );
});

const other = (p: Phantom): Partial<Phantom> => ({
  shape: [20, 20, 6],
  labels: p.labels.slice(0, 20 * 20 * 6),
});

describe('one bad case among sound ones', () => {
  test.each<[string, Changes, unknown[], RegExp]>([
    ['shape', { label: other }, ['error', 'shape', 'c3'], /20 x 20 x 12, its label 20 x 20 x 6/],
    [
      'place',
      { label: ({ affine }) => ({ affine: affine.with(3, affine[3]! + 100) }) },
      ['error', 'place', 'c3'],
      /100\.0 mm apart/,
    ],
    [
      'values',
      { label: ({ labels }) => ({ labels: labels.with(0, 9) }) },
      ['error', 'label values', 'c3'],
      /its label \(the buffer\) holds values.*9 \(1 voxels\).*Expected 0 to 5/,
    ],
    [
      'background only',
      { label: ({ labels }) => ({ labels: labels.map(() => 0) }) },
      ['warning', 'empty class', 'c3'],
      /background only/,
    ],
    [
      'NaN',
      { image: ({ image }) => ({ image: image.with(5, NaN) }) },
      ['error', 'intensity', 'c3'],
      /the buffer: 1 of 4800 voxels are NaN or infinite, expected finite values; replace/,
    ],
    [
      'constant',
      { image: ({ image }) => ({ image: image.map(() => 4) }) },
      ['warning', 'intensity', 'c3'],
      /the image \(all 4\) is constant, which teaches nothing; leave the case out unless that is meant\.$/,
    ],
    [
      'empty',
      { image: ({ image }) => ({ image: image.map(() => 0) }) },
      ['warning', 'intensity', 'c3'],
      /the image \(all 0\) is constant.*Cropping to what is not zero.*refuses it/,
    ],
    [
      'a spike',
      { image: ({ image }) => ({ image: image.with(5, 1e6) }) },
      ['warning', 'intensity', 'c3'],
      /outliers.*to 1000000/,
    ],
    ['spacing', { image: spread, label: spread }, ['warning', 'spacing', 'c3'], /less than half/],
    ['orientation', { image: turned, label: turned }, ['warning', 'orientation', 'c3'], /stored as RAS/],
    [
      'a copy of another subject',
      { from: 1 },
      ['error', 'duplicate', 'c1,c3'],
      /"c1", "c3" are equal.*2 subjects/,
    ],
    [
      'a copy of the same subject',
      { from: 1, subject: 's1' },
      ['warning', 'duplicate', 'c1,c3'],
      /are equal\./,
    ],
  ])('%s', async (_, changes, expected, message) => {
    const report = await checkDataset(set([...sound, await item(3, changes)]));
    expect(found(report)).toEqual([expected]);
    expect(report.problems[0]!.message).toMatch(message);
  });
});

describe('labels that are known in part', () => {
  const area = 20 * 20;
  /** Two slices and a scribble along x of a phantom's label. */
  const drawn = ({ labels }: Phantom) => ({
    labels: labels.map((value, at) => {
      const z = Math.floor(at / area);
      const isKnown = z === 2 || z === 7 || (at >= 9 * area && at < 9 * area + 5);
      return isKnown ? value : 255;
    }),
  });
  const known = { ignoreLabel: 255 };

  test('are told with their voxels and slices, along the axes of the body', async () => {
    // As stored: x is up.
    const affine = [0, 0, 2, 0, 0, 2, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1];
    const sagittal = { image: () => ({ affine }), label: (p: Phantom) => ({ ...drawn(p), affine }) };
    const report = await checkDataset(
      set([...sound, await item(3, { label: drawn }), await item(4, sagittal)], known),
    );
    const voxels = 2 * area + 5;
    expect(report.cases.map(({ annotated }) => annotated)).toEqual([
      ...sound.map(() => undefined),
      { voxels, slices: [20, 20, 3] },
      { voxels, slices: [3, 20, 20] },
    ]);
    expect(report.problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  });

  test('a scribble of one class is no wrong file; a label without any is an error', async () => {
    const one = { label: () => ({ labels: new Uint8Array(area * 12).fill(255).fill(2, 50, 60) }) };
    const none = { label: () => ({ labels: new Uint8Array(area * 12).fill(255) }) };
    const report = await checkDataset(set([...sound, await item(3, one), await item(4, none)], known));
    expect(found(report)).toEqual([['error', 'label values', 'c4']]);
    expect(report.problems[0]!.message).toMatch(
      /^Case "c4": no voxel of its label is annotated, all are unknown;/,
    );
  });
});

describe('labels of another kind', () => {
  const values = (change: (value: number, at: number, p: Phantom) => number): Changes => ({
    label: (p) => ({ labels: Float32Array.from(p.labels, (value, at) => change(value, at, p)) as never }),
  });
  const two = { labels: ['background', 'organ'] };

  test.each<[string, Changes, Partial<Dataset>, RegExp]>([
    [
      'a mask of 0 and 255',
      values((value) => (value > 0 ? 255 : 0)),
      two,
      /the buffer\) holds values outside the classes: 255 \(\d+ voxels\)\. Expected 0 to 1.*save 255 as 1.*--ignore/,
    ],
    [
      'a mask of 0 and 255, no names',
      values((value) => (value > 0 ? 255 : 0)),
      { labels: [] },
      /save 255 as 1/,
    ],
    [
      'a mask of 0 and -1',
      values((value) => (value > 0 ? -1 : 0)),
      two,
      /-1 \(.*number the classes.*save unknown voxels as 255/,
    ],
    [
      'shares',
      values((value) => value / 5),
      two,
      /shares or probabilities: save 1 where they are 0\.5 or more/,
    ],
    [
      'interpolated',
      values((value, at) => Math.min(5, value + (at % 2) / 2)),
      {},
      /interpolation: resample labels to the nearest/,
    ],
    [
      'values with gaps',
      values((value) => (value === 5 ? 9 : value)),
      {},
      /9 \(.*number the classes of all labels/,
    ],
    ['an image of another case', values((_, at) => at - 100.5), {}, /image and label are exchanged/],
    [
      'an image of another case, within the classes',
      values((_, at) => 60 + at / 50 + 0.01),
      { labels: [] },
      /image and label are exchanged/,
    ],
    [
      'its own image',
      values((_, at, { image }) => image[at]!),
      {},
      /voxels are those of the image: give the label/,
    ],
    [
      'NaN outside of the body',
      values((value) => (value === 0 ? NaN : value)),
      {},
      /NaN.*save the value of the background/,
    ],
  ])('%s', async (_, changes, more, message) => {
    const report = await checkDataset(set([await item(0, changes)], more));
    const errors = report.problems.filter(({ severity }) => severity === 'error');
    expect(errors.map(({ kind, cases }) => [kind, cases])).toEqual([['label values', ['c0']]]);
    expect(errors[0]!.message).toMatch(message);
  });

  test('numbers of any type that mean classes are none of it', async () => {
    const cases = await Promise.all(
      [0, 1].map((index) =>
        item(
          index,
          values((value) => value),
        ),
      ),
    );
    expect((await checkDataset(set(cases))).problems).toEqual([]);
  });
});

test('files in the wrong place, where no value tells', async () => {
  const bare = { labels: [], channels: [] };
  const binary = (p: Phantom) => p.labels.map((value) => Number(value > 1));
  const own = await checkDataset(
    set(
      [
        await item(0, {
          image: (p) => ({ image: Float32Array.from(binary(p)) }),
          label: (p) => ({ labels: binary(p) }),
        }),
      ],
      bare,
    ),
  );
  expect(found(own)).toEqual([['warning', 'label values', 'c0']]);
  expect(own.problems[0]!.message).toMatch(
    /label the buffer holds the voxels of the image the buffer; give the right/,
  );

  const copied: Case = { ...(await item(3)), label: sound[1]!.label! };
  const twice = await checkDataset(set([...sound, copied]));
  expect(found(twice)).toEqual([['warning', 'duplicate', 'c1,c3']]);
  expect(twice.problems[0]!.message).toMatch(/Labels are equal, but their images are not.*another case/);
  expect((await checkDataset(set([...sound, { ...copied, subject: 's1' }]))).problems).toEqual([]);

  const full = await item(3, { label: ({ labels }) => ({ labels: labels.map(() => 2) }) });
  expect(found(await checkDataset(set([...sound, full])))).toEqual([['warning', 'empty class', 'c3']]);

  const series = phantom(0, { shape });
  const long = await writeNifti({
    data: Float32Array.from({ length: 20 * series.image.length }, (_, at) => series.image[at % 4800]! + at),
    shape: [...shape, 20],
    affine: series.affine,
  });
  const over = await checkDataset(set([{ ...sound[0]!, images: [long] }], bare));
  expect(found(over)).toEqual([['warning', 'channels', 'c0']]);
  expect(over.problems[0]!.message).toMatch(/20 channels; of a series over time, save one time point/);
});

function spread({ affine }: Phantom): Partial<Phantom> {
  return { affine: affine.map((value, i) => (i < 12 ? value / 3 : value)) };
}

function turned({ affine }: Phantom): Partial<Phantom> {
  return { affine: affine.with(0, -affine[0]!) };
}

/** A file's bytes with some of its header's changed. */
const patched = (file: Uint8Array, change: (header: DataView) => void): Uint8Array => {
  const bytes = file.slice();
  change(new DataView(bytes.buffer));
  return bytes;
};

describe('headers that a person should know of', () => {
  /** Three cases, all of whose files have these bytes of the header changed. */
  const changed = async (change: (header: DataView) => void): Promise<DatasetReport> =>
    checkDataset(
      set(
        await Promise.all(
          [0, 1, 2].map(async (index) => {
            const p = phantom(index, { shape });
            const file = async (data: Float32Array | Uint8Array) =>
              patched(await writeNifti({ data, shape, affine: p.affine }, { gzip: false }), change);
            return {
              id: `c${index}`,
              subject: `s${index}`,
              images: [await file(p.image)],
              label: await file(p.labels),
            };
          }),
        ),
      ),
    );
  const sform = 280;

  test.each<[string, (header: DataView) => void, string, RegExp]>([
    [
      'zeros in the sform',
      (header) => [0, 1, 2, 3].forEach((i) => header.setFloat32(sform + 16 + 4 * i, 0, true)),
      'spacing',
      /sform has zeros.*sform_code to 0/,
    ],
    [
      'a qform elsewhere',
      (header) => header.setFloat32(268, header.getFloat32(268, true) + 5, true),
      'place',
      /qform and sform.*up to 5\.00 mm apart/,
    ],
    [
      'a tilted gantry',
      (header) => header.setFloat32(sform + 16 + 8, 5, true),
      'spacing',
      /axes are not perpendicular/,
    ],
    ['micrometres', (header) => header.setUint8(123, 3), 'spacing', /micrometres; it is converted to mm/],
    ['metres', (header) => header.setUint8(123, 1), 'spacing', /metres; it is converted to mm/],
  ])('%s: said once, for all cases', async (_, change, kind, message) => {
    const { problems } = await changed(change);
    const about = problems.filter((problem) => message.test(problem.message));
    expect(about.map(({ severity, cases, kind: of }) => [severity, of, cases])).toEqual([
      ['warning', kind, ['c0', 'c1', 'c2']],
    ]);
    expect(problems.every(({ severity }) => severity === 'warning')).toBe(true);
  });

  test.each([
    [1, 0.02],
    [3, 20000],
    [2, 20],
    [0, 20],
  ])('xyzt_units %i counts in what NIfTI says: %f is 20 mm', async (units, stored) => {
    const affine = [stored, 0, 0, 0, 0, stored, 0, 0, 0, 0, stored, 0, 0, 0, 0, 1];
    const file = await writeNifti({ data: new Float32Array(8), shape: [2, 2, 2], affine }, { gzip: false });
    const source = patched(file, (header) => header.setUint8(123, units));
    const read = await readNifti(source);
    for (const mm of read.spacing) expect(mm).toBeCloseTo(20, 4);
    // Written back it is as it was; on another grid it is in mm.
    const same = await writeNifti(read, { gzip: false });
    expect([same[123], (await readNifti(same)).affine]).toEqual([units, read.affine]);
    const moved = await readNifti(await writeNifti({ ...read, affine: read.affine.with(3, 7) }));
    for (const mm of moved.spacing) expect(mm).toBeCloseTo(20, 4);
  });
});

test('a NaN in an affine is a problem of its own case', async () => {
  const sform = { code: 1, rows: [1, NaN, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] };
  const bad = { ...(await item(3)), images: [make({ sform })] };
  const report = await checkDataset(set([...sound, bad]));
  expect(found(report)).toEqual([['error', 'corrupt', 'c3']]);
  expect(report.problems[0]!.message).toMatch(
    /Case "c3": the image cannot be read\. the buffer: its affine has /,
  );
  expect(report.cases).toHaveLength(3);
});

test('values with a gap, labels without any class, and constant images are told once', async () => {
  const bare = { labels: [], channels: [] };
  const all = (changes: Changes) => Promise.all([0, 1, 2].map((index) => item(index, changes)));
  const gap = await checkDataset(
    set(
      await all({ label: ({ labels }) => ({ labels: labels.map((v) => (v === 3 || v === 5 ? 0 : v)) }) }),
      bare,
    ),
  );
  expect(found(gap)).toEqual([['warning', 'empty class', '']]);
  expect(gap.problems[0]!.message).toMatch(/up to 4, but no case shows the value "3"/);
  const empty = await checkDataset(
    set(await all({ label: ({ labels }) => ({ labels: labels.map(() => 0) }) }), bare),
  );
  expect(found(empty)).toEqual([['warning', 'empty class', '']]);
  const flat = await checkDataset(set(await all({ image: ({ image }) => ({ image: image.map(() => 5) }) })));
  expect(found(flat)).toEqual([0, 1, 2].map((index) => ['warning', 'intensity', `c${index}`]));
});

test('with a split, what it refuses is an error, and copies that it keeps together are none', async () => {
  const copy = await item(3, { from: 1 });
  const parts = (first: string[], second: string[]): Split => ({
    ...splitCases(sound),
    train: { subjects: [], cases: first },
    validation: { subjects: [], cases: second },
    test: { subjects: [], cases: [] },
  });
  const look = async (split: Split) =>
    found(await checkDataset(set([...sound, copy]), { split: () => split }));
  expect(await look(parts(['c0', 'c1', 'c3'], ['c2']))).toEqual([['warning', 'duplicate', 'c1,c3']]);
  expect(await look(parts(['c0', 'c1'], ['c2', 'c3']))).toEqual([['error', 'duplicate', 'c1,c3']]);
  expect(await look(parts([], ['c0', 'c1', 'c2', 'c3']))).toEqual([
    ['error', 'subjects', ''],
    ['warning', 'duplicate', 'c1,c3'],
  ]);
  const few = await checkDataset(set(sound.slice(0, 2)), { split: (cases) => splitCases(cases) });
  expect(found(few)).toEqual([['error', 'subjects', '']]);
});

test('everything is listed at once: corrupt files, a class that nobody shows, channels, warnings of the data set', async () => {
  const broken: Case = { ...sound[0]!, id: 'broken', images: [new Uint8Array(400)] };
  const cut: Case = { ...sound[1]!, id: 'cut', label: ((await item(1)).label as Uint8Array).slice(0, -200) };
  const report = await checkDataset(
    set([sound[2]!, broken, cut], {
      labels: [...phantomLabels, 'tail'],
      channels: ['T2', 'ADC'],
      warnings: ['By case.'],
    }),
  );
  expect(found(report)).toEqual([
    ['warning', 'subjects', ''],
    ['error', 'channels', 'c2'],
    ['error', 'corrupt', 'broken'],
    ['error', 'corrupt', 'cut'],
    ['error', 'channels', 'cut'],
    ['warning', 'empty class', ''],
  ]);
  expect(report.problems.at(-1)!.message).toContain('class 6 "tail"');
  expect(report.cases.map(({ id }) => id)).toEqual(['c2', 'cut']);
});

test('can be stopped', async () => {
  await expect(checkDataset(set(sound), { signal: AbortSignal.abort() })).rejects.toThrow(Aborted);
});

test('the hippocampus data set can be trained on', async ({ skip }) => {
  skip(!existsSync('../shared/data/hippocampus'), 'the hippocampus data is not beside the checkout');
  const dataset = await openDatasetFolder('../shared/data/hippocampus');
  const report = await checkDataset({ ...dataset, cases: dataset.cases.slice(0, 40) });
  expect(report.problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  expect(report.fingerprint).toMatchObject({ spacing: { median: [1, 1, 1] } });
});
