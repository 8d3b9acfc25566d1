// Data set layouts: what is found, which label belongs to which image, and a message for each defect.
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, rmdir, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { modelFilesIn, openDatasetFolder, openFolderPair } from '../../src/data/dataset.node.ts';
import { openDataset, pairDataset } from '../../src/data/dataset.ts';
import type { FileEntry } from '../../src/data/case.ts';
import { readHeader, writeNifti } from '../../src/data/nifti.ts';
import { random } from '../../src/data/random.ts';
import { InvalidDataset, UNet3DError } from '../../src/errors.ts';
import { mutatedJson, mutatedText } from '../../scripts/fuzz/mutations.ts';

/** Entries whose source is the path's own text, unless a content is given. */
const entries = (paths: string[], contents: Record<string, unknown> = {}): FileEntry[] => [
  ...paths.map((path) => ({ path, source: new Blob([path]) })),
  ...Object.entries(contents).map(([path, content]) => ({
    path,
    source: new Blob([typeof content === 'string' ? content : JSON.stringify(content)]),
  })),
];
const textOf = (source: unknown) => (source as Blob).text();
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable('must be refused'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(InvalidDataset);
      return (error as Error).message;
    },
  );

const identity = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

const decathlon = {
  name: 'Hippocampus',
  modality: { '0': 'MRI' },
  labels: { '0': 'background', '1': 'Anterior', '2': 'Posterior' },
  training: [
    { image: './imagesTr/a.nii.gz', label: './labelsTr/a.nii.gz' },
    { image: './imagesTr/b.nii.gz', label: './labelsTr/b.nii.gz' },
  ],
};
const nnunet = {
  channel_names: { '0': 'T2', '1': 'ADC' },
  labels: { background: 0, zone: 1, ignore: 2 },
  numTraining: 2,
  file_ending: '.nii.gz',
};

describe('Medical Segmentation Decathlon', () => {
  test('cases, names and classes come from dataset.json', async () => {
    const files = ['imagesTr/a.nii.gz', 'imagesTr/b.nii.gz', 'labelsTr/a.nii.gz', 'labelsTr/b.nii.gz'];
    // A picked folder, and the hidden files that macOS leaves in archives.
    const all = entries([...files, 'imagesTr/._a.nii.gz'], { 'dataset.json': decathlon });
    const set = await openDataset(all.map((entry) => ({ ...entry, path: `Task04/${entry.path}` })));
    expect(set).toMatchObject({
      name: 'Hippocampus',
      labels: ['background', 'Anterior', 'Posterior'],
      channels: ['MRI'],
    });
    expect(set.cases.map(({ id, subject }) => [id, subject])).toEqual([
      ['a', 'a'],
      ['b', 'b'],
    ]);
    expect(await textOf(set.cases[1]!.images[0])).toBe('imagesTr/b.nii.gz');
    expect(await textOf(set.cases[1]!.label)).toBe('labelsTr/b.nii.gz');
    expect(set.warnings).toEqual([expect.stringContaining('No subjects.csv')]);
  });

  test('images that lie there as channels are found', async () => {
    const files = ['imagesTr/a_0000.nii.gz', 'imagesTr/a_0001.nii.gz', 'labelsTr/a.nii.gz'];
    const json = { ...decathlon, training: decathlon.training.slice(0, 1) };
    const set = await openDataset(entries(files, { 'dataset.json': json }));
    expect(set.cases[0]!.images).toHaveLength(2);
  });

  test('missing files are listed', async () => {
    const files = ['imagesTr/a.nii.gz', 'imagesTr/b.nii.gz', 'labelsTr/a.nii.gz'];
    const message = await failure(openDataset(entries(files, { 'dataset.json': decathlon })));
    expect(message).toMatch(/1 file.*labelsTr\/b\.nii\.gz/);
  });
});

describe('nnU-Net v2', () => {
  const files = ['imagesTr/p_1_0001.nii.gz', 'imagesTr/p_1_0000.nii.gz', 'labelsTr/p_1.nii.gz'];

  test.each([
    ['an empty list', []],
    ['a list from before', [{ image: 'imagesTr/old.nii.gz', label: 'labelsTr/old.nii.gz' }]],
  ])('a list of the Decathlon is left unread, as by nnU-Net: %s', async (_, training) => {
    const set = await openDataset(entries(files, { 'dataset.json': { ...nnunet, training } }));
    expect(set.cases.map(({ id }) => id)).toEqual(['p_1']);
  });

  test('numbers that only Python writes stand for none', async () => {
    const json = JSON.stringify({ ...nnunet, note: 'NaN \\" Infinity' }).replace(
      '"numTraining":2',
      '"mean":[NaN,-Infinity]',
    );
    expect((await openDataset(entries(files, { 'dataset.json': json }))).cases).toHaveLength(1);
    const wrong = json.replace('"zone":1', '"zone":NaN');
    expect(await failure(openDataset(entries(files, { 'dataset.json': wrong })))).toMatch(
      /labels.zone is null; expected/,
    );
  });

  test('channels are grouped in order, "ignore" is no class', async () => {
    const set = await openDataset(entries([...files, 'imagesTs/q_0000.nii.gz'], { 'dataset.json': nnunet }));
    expect(set).toMatchObject({ labels: ['background', 'zone'], channels: ['T2', 'ADC'], ignoreLabel: 2 });
    expect(set.cases.map(({ id }) => id)).toEqual(['p_1']);
    expect(await Promise.all(set.cases[0]!.images.map(textOf))).toEqual([files[1], files[0]]);
  });

  test.each([255, 7])('"ignore" may be %i, whatever the layout', async (value) => {
    const labels = { background: 0, zone: 1, ignore: value };
    const set = await openDataset(entries(files, { 'dataset.json': { ...nnunet, labels } }));
    expect(set).toMatchObject({ labels: ['background', 'zone'], ignoreLabel: value });
    const paths = ['imagesTr/a.nii.gz', 'imagesTr/b.nii.gz', 'labelsTr/a.nii.gz', 'labelsTr/b.nii.gz'];
    const listed = { ...decathlon, labels: { ...decathlon.labels, [value]: 'ignore' } };
    const other = await openDataset(entries(paths, { 'dataset.json': listed }));
    expect(other).toMatchObject({ labels: ['background', 'Anterior', 'Posterior'], ignoreLabel: value });
  });

  test('"ignore" may lie between the classes, which keep their values', async () => {
    const labels = { background: 0, ignore: 1, zone: 2 };
    const set = await openDataset(entries(files, { 'dataset.json': { ...nnunet, labels } }));
    expect(set).toMatchObject({ labels: ['background', 'ignore', 'zone'], ignoreLabel: 1 });
    const alone = { ...nnunet, labels: { ignore: 0, zone: 1 } };
    expect(await failure(openDataset(entries(files, { 'dataset.json': alone })))).toMatch(/names 1 class/);
    const twice = { ...nnunet, labels: { 0: 'background', 1: 'zone', 2: 'ignore', 255: 'ignore' } };
    expect(await failure(openDataset(entries(files, { 'dataset.json': twice })))).toMatch(/values 2 and 255/);
  });

  test.each([
    [1, /"zone" and "ignore"/],
    [256, /expected 0 to 255/],
  ])('"ignore" may not be %i', async (value, expected) => {
    const json = { ...nnunet, labels: { background: 0, zone: 1, ignore: value } };
    expect(await failure(openDataset(entries(files, { 'dataset.json': json })))).toMatch(expected);
  });

  test.each([
    [files.slice(1), nnunet, /numbered from p_1_0000|imagesTr\/p_1_0001\.nii\.gz/],
    [files.slice(0, 2), nnunet, /labelsTr\/p_1\.nii\.gz/],
    [files, { ...nnunet, file_ending: '.png' }, /file_ending "\.png"/],
    [files, { ...nnunet, channel_names: { '0': 'T2' } }, /2 channel files.*1 channel/],
  ])('files %j with a wrong description or gaps are refused', async (paths, json, expected) => {
    expect(await failure(openDataset(entries(paths, { 'dataset.json': json })))).toMatch(expected);
  });
});

describe('the value of unknown voxels, as the caller says it', () => {
  const pair = [entries(['a.nii.gz']), entries(['b/a.nii.gz'])] as const;
  const files = ['imagesTr/a.nii.gz', 'imagesTr/b.nii.gz', 'labelsTr/a.nii.gz', 'labelsTr/b.nii.gz'];
  const open = (ignoreLabel: number, json: object = decathlon) =>
    openDataset(entries(files, { 'dataset.json': json }), { ignoreLabel });

  test.each([0, 2, 255])('%i in two folders', async (ignoreLabel) => {
    expect(await pairDataset(...pair, { ignoreLabel })).toMatchObject({ labels: [], ignoreLabel });
    for (const wrong of [-1, 256, 1.5])
      await expect(pairDataset(...pair, { ignoreLabel: wrong })).rejects.toThrow(/ignoreLabel/);
  });

  test('beside dataset.json: none of its classes, the highest, or one between others', async () => {
    const { labels } = await openDataset(entries(files, { 'dataset.json': decathlon }));
    expect(await open(255)).toMatchObject({ labels, ignoreLabel: 255 });
    expect(await open(2)).toMatchObject({ labels: labels.slice(0, 2), ignoreLabel: 2 });
    expect(await open(1)).toMatchObject({ labels, ignoreLabel: 1 });
  });

  test('refused where dataset.json says another, or where it leaves one class', async () => {
    const told = { ...decathlon, labels: { ...decathlon.labels, 7: 'ignore' } };
    expect(await open(7, told)).toMatchObject({ ignoreLabel: 7 });
    expect(await failure(open(8, told))).toMatch(/value 8, but dataset\.json says 7/);
    const two = { ...decathlon, labels: { 0: 'background', 1: 'zone' } };
    expect(await failure(open(1, two))).toMatch(/fewer than two classes/);
  });
});

describe('a dataset.json further down', () => {
  const files = ['imagesTr/a.nii.gz', 'imagesTr/b.nii.gz', 'labelsTr/a.nii.gz', 'labelsTr/b.nii.gz'];
  const below = (folder: string, json: object = decathlon): FileEntry[] =>
    entries(files, { 'dataset.json': json }).map((entry) => ({ ...entry, path: folder + entry.path }));

  test.each([
    ['Task04/Task04/', decathlon],
    ['nnUNet_raw/old/Dataset004/', { ...decathlon, training: undefined }],
  ])('in %s is that of the data set', async (folder, json) => {
    const results = entries([], { 'nnUNet_results/dataset.json': nnunet, 'broken/dataset.json': '{' });
    const table = entries([], { 'subjects.csv': 'case,subject\na,anna\nb,anna\n' });
    for (const others of [[], results, table]) {
      const set = await openDataset([...below(folder, json), ...others]);
      expect(set).toMatchObject({ name: 'Hippocampus', labels: ['background', 'Anterior', 'Posterior'] });
      expect(set.cases.map(({ id }) => id)).toEqual(['a', 'b']);
      expect(new Set(set.cases.map(({ subject }) => subject)).size).toBe(others === table ? 1 : 2);
    }
  });

  test('of several none is taken, but for those below another', async () => {
    const two = [...below('raw/A/'), ...below('raw/B/')];
    expect(await failure(openDataset(two))).toBe(
      'There are 2 files dataset.json, in "A/", "B/"; give one data set after another, each by the folder of its dataset.json.',
    );
    const set = await openDataset([
      ...below('top/raw/A/'),
      ...below('top/raw/A/B/', nnunet),
      ...entries(['top/x']),
    ]);
    expect(set.name).toBe('Hippocampus');
    expect(await openDataset([...below('A/'), ...below('A/B/', nnunet)])).toMatchObject({
      labels: set.labels,
    });
  });
});

describe('files as dataset.json lists them', () => {
  const list = { labels: { background: 0, bone: 1 }, channel_names: ['T1', 'T2'] };
  const dataset = {
    anna: { images: ['scans/1.nii.gz', './scans/../more/1.nii.gz'], label: 'anna/label.nii.gz' },
    bert: { images: ['scans/2.nii.gz', 'more/2.nii.gz'], label: 'bert/label.nii.gz' },
  };
  const files = [
    'scans/1.nii.gz',
    'scans/2.nii.gz',
    'more/1.nii.gz',
    'more/2.nii.gz',
    'anna/label.nii.gz',
    'bert/label.nii.gz',
  ];

  test('cases are named by their key', async () => {
    const set = await openDataset(entries(files, { 'dataset.json': { ...list, dataset } }));
    expect(set).toMatchObject({ channels: ['T1', 'T2'], labels: ['background', 'bone'] });
    expect(set.cases.map(({ id }) => id)).toEqual(['anna', 'bert']);
    expect(await Promise.all(set.cases[0]!.images.map(textOf))).toEqual([files[0], files[2]]);
  });

  test('letters composed or not name one file', async () => {
    const training = [{ image: 'x/Jose\u0301.nii', label: 'y/José.nii' }];
    const set = await openDataset(
      entries(['x/José.nii', 'y/Jose\u0301.nii'], { 'dataset.json': { ...list, training } }),
    );
    expect(set.cases.map(({ id }) => id)).toEqual(['José']);
  });

  test('a folder per case names the cases where their files have one name', async () => {
    const training = ['p1', 'p2'].map((id) => ({ image: `${id}/image.nii`, label: `${id}/label.nii` }));
    const paths = training.flatMap(({ image, label }) => [image, label]);
    const set = await openDataset(entries(paths, { 'dataset.json': { ...list, training } }));
    expect(set.cases.map(({ id }) => id)).toEqual(['p1', 'p2']);
  });

  test.each(['/data/1.nii.gz', '../1.nii.gz', 'C:\\data\\1.nii.gz', 'scans/../../1.nii.gz'])(
    'a browser says that it cannot open %s',
    async (path) => {
      const outside = { ...dataset, bert: { images: [path, files[3]], label: 'bert/label.nii.gz' } };
      const message = await failure(
        openDataset(entries(files, { 'dataset.json': { ...list, dataset: outside } })),
      );
      expect(message).toMatch(/1 file\(s\) outside of the data set's folder.*A browser cannot open/);
      expect(message).toContain(path);
    },
  );

  test.each(['../evil', 'a/b', 'a\\b', '..', '', 'a\u0000b'])('a case named %j is refused', async (id) => {
    const named = { [id]: dataset.anna };
    expect(
      await failure(openDataset(entries(files, { 'dataset.json': { ...list, dataset: named } }))),
    ).toMatch(/A case is named/);
  });

  test('nnU-Net: 4-D images under the very names of their labels, endings in capitals', async () => {
    const paths = ['pancreas_0001', 'scan_0000'].flatMap((id) => [
      `imagesTr/${id}.NII.GZ`,
      `labelsTr/${id}.nii.gz`,
    ]);
    const set = await openDataset(entries(paths, { 'dataset.json': nnunet }));
    expect(set.cases.map(({ id, images }) => [id, images.length])).toEqual([
      ['pancreas_0001', 1],
      ['scan_0000', 1],
    ]);
  });

  test('nnU-Net: an id that is another id with a number', async () => {
    const one = { ...nnunet, channel_names: { '0': 'T2' } };
    const paths = [
      'imagesTr/scan_0000.nii.gz',
      'imagesTr/scan_0000_0000.nii.gz',
      'labelsTr/scan.nii.gz',
      'labelsTr/scan_0000.nii.gz',
    ];
    const set = await openDataset(entries(paths, { 'dataset.json': one }));
    expect(await Promise.all(set.cases.map(async ({ id, images }) => [id, await textOf(images[0])]))).toEqual(
      [
        ['scan', 'imagesTr/scan_0000.nii.gz'],
        ['scan_0000', 'imagesTr/scan_0000_0000.nii.gz'],
      ],
    );
  });
});

test.each([
  ['{', /not valid JSON/],
  ['[]', /it is \[\]; expected an object/],
  ['{"labels": {"0": "background", "0": "bone"}}', /has the name "0" twice/],
  [{}, /labels is missing; expected \{"0": "background"/],
  [{ labels: 5 }, /labels is 5; expected/],
  [{ labels: { background: 0, bone: null } }, /labels\.bone is null; expected a name or a value/],
  [{ labels: { 0: 'background', 1: 'bone', 2: 'bone' } }, /two classes "bone".*its own name/],
  [{ ...decathlon, modality: 'MRI' }, /modality is "MRI"; expected names of channels/],
  [{ ...decathlon, training: [{ image: 7, label: 'a.nii' }] }, /training\[0\]\.image is 7; expected/],
  [{ labels: { background: 0 } }, /1 class/],
  [{ labels: { background: 0, whole: [1, 2] } }, /regions_class_order is missing; expected 1/],
  [{ labels: { background: 0, bone: 2 } }, /no class for the value 1/],
  [{ labels: { background: 0, bone: 1, skin: 1 } }, /value 1 to two classes/],
  [{ labels: { background: 0, bone: 'x' } }, /"bone" the value "x"/],
  [{ ...decathlon, training: [{ image: 'a.nii' }] }, /training\[0\]\.label is missing/],
  [{ ...decathlon, training: [] }, /no case/],
])('broken dataset.json %j', async (json, expected) => {
  expect(await failure(openDataset(entries([], { 'dataset.json': json })))).toMatch(expected);
});

test('a damaged dataset.json: a value or a named refusal', async () => {
  for (let seed = 0; seed < 600; seed++) {
    const source = random(seed, 'dataset.json');
    const description = seed % 2 ? decathlon : nnunet;
    const json =
      source.int(4) === 0
        ? mutatedText(JSON.stringify(description), source)
        : JSON.stringify(mutatedJson(description, source));
    const files = ['imagesTr/a.nii.gz', 'labelsTr/a.nii.gz', 'imagesTr/b_0000.nii.gz', 'labelsTr/b.nii.gz'];
    const error = await openDataset(entries(files, { 'dataset.json': json })).then(
      () => undefined,
      (problem: unknown) => problem,
    );
    if (error !== undefined) expect(error, `seed ${seed}`).toBeInstanceOf(UNet3DError);
  }
});

describe('two folders', () => {
  test('equal names', async () => {
    const set = await openDataset(
      entries(['images/2.nii', 'images/1.nii.gz', 'labels/1.nii.gz', 'labels/2.nii']),
    );
    expect(set.cases.map(({ id }) => id)).toEqual(['1', '2']);
    expect(set).toMatchObject({ name: 'dataset', labels: [], channels: [] });
  });

  test("the study's layout: a word more in every label's name", async () => {
    const ids = ['Case_004_Week0', 'Case_004_Week1', 'Case_005_Week0'];
    const set = await openDataset(
      entries([
        ...ids.map((id) => `semantic_MRs_anon/${id}_LFOV.nii.gz`),
        ...ids.map((id) => `semantic_labels_anon/${id}_SEMANTIC_LFOV.nii.gz`),
      ]),
      { subjects: /Case_(\d+)_Week\d+_LFOV/ },
    );
    expect(set.cases.map(({ id, subject }) => [id, subject])).toEqual([
      ['Case_004_Week0_LFOV', '004'],
      ['Case_004_Week1_LFOV', '004'],
      ['Case_005_Week0_LFOV', '005'],
    ]);
    expect(await textOf(set.cases[2]!.label)).toContain('Case_005_Week0_SEMANTIC_LFOV');
    expect(set.warnings).toEqual([]);
  });

  test('img/seg words, case numbers that look like channels, and channels', async () => {
    const words = await openDataset(
      entries(['images/img01.nii', 'images/img02.nii', 'labels/seg01.nii', 'labels/seg02.nii']),
    );
    expect(await textOf(words.cases[1]!.label)).toBe('labels/seg02.nii');
    const numbers = await openDataset(
      entries(['imagesTr/c_0000.nii', 'imagesTr/c_0001.nii', 'labelsTr/c_0000.nii', 'labelsTr/c_0001.nii']),
    );
    expect(numbers.cases.map(({ images }) => images.length)).toEqual([1, 1]);
    const channels = await openDataset(
      entries(['imagesTr/c_0000.nii', 'imagesTr/c_0001.nii', 'labelsTr/c.nii']),
    );
    expect(channels.cases.map(({ images }) => images.length)).toEqual([2]);
  });

  test.each([
    [['images/a.nii', 'images/b.nii', 'labels/a.nii'], /1 image\(s\) without a label: "b"/],
    [['images/a.nii', 'labels/a.nii', 'labels/c.nii'], /1 label\(s\) without an image: "c"/],
    [['images/case5.nii', 'labels/case6.nii'], /without a label: "case5".*without an image: "case6"/],
    [['images/a.nii', 'images/a.nii.gz', 'labels/a.nii'], /Several files have the name "a"/],
    [['images/a.nii', 'scans/a.nii', 'labels/a.nii'], /folders "images", "labels", "scans"/],
    [['images/a.nii'], /one folder of images and one of labels/],
    [['readme.txt'], /no NIfTI file among 1 files/],
    [[], /among 0 files/],
  ])('%j is refused', async (paths, expected) => {
    expect(await failure(openDataset(entries(paths)))).toMatch(expected);
  });

  test.each<[string, string[], left: string[], kept: [id: string, images: string, label: string][]]>([
    [
      'two folders',
      ['images/a.nii', 'images/b.nii', 'images/c.nii', 'labels/b.nii'],
      ['a', 'c'],
      [['b', 'images/b.nii', 'labels/b.nii']],
    ],
    [
      'names that all labels share a word of',
      ['scans/c1_mr.nii', 'scans/c2_mr.nii', 'scans/c3_mr.nii', 'drawn/c1_seg.nii', 'drawn/c3_seg.nii'],
      ['c2_mr'],
      [
        ['c1_mr', 'scans/c1_mr.nii', 'drawn/c1_seg.nii'],
        ['c3_mr', 'scans/c3_mr.nii', 'drawn/c3_seg.nii'],
      ],
    ],
    [
      'channels',
      [
        'imagesTr/a_0000.nii',
        'imagesTr/a_0001.nii',
        'imagesTr/b_0000.nii',
        'imagesTr/b_0001.nii',
        'labelsTr/b.nii',
      ],
      ['a'],
      [['b', 'imagesTr/b_0000.nii, imagesTr/b_0001.nii', 'labelsTr/b.nii']],
    ],
    [
      'a folder per case',
      ['p1/t1.nii', 'p1/seg.nii', 'p2/t1.nii', 'p3/t1.nii', 'p3/seg.nii'],
      ['p2'],
      [
        ['p1', 'p1/t1.nii', 'p1/seg.nii'],
        ['p3', 'p3/t1.nii', 'p3/seg.nii'],
      ],
    ],
    [
      'BIDS',
      [
        'sub-01/anat/sub-01_T1w.nii',
        'sub-02/anat/sub-02_T1w.nii',
        'derivatives/labels/sub-02/anat/sub-02_dseg.nii',
      ],
      ['sub-01_T1w'],
      [['sub-02_T1w', 'sub-02/anat/sub-02_T1w.nii', 'derivatives/labels/sub-02/anat/sub-02_dseg.nii']],
    ],
  ])(
    'of images of which some have labels, %s, those alone are taken where that is asked for',
    async (_, paths, left, kept) => {
      const { cases, warnings } = await openDataset(entries(paths), { onlyLabelled: true });
      const found = cases.map(async ({ id, images, label }) => [
        id,
        (await Promise.all(images.map(textOf))).join(', '),
        await textOf(label),
      ]);
      expect(await Promise.all(found)).toEqual(kept);
      const told = left.map((name) => `"${name}"`).join(', ');
      expect(warnings.find((text) => text.includes('without a label'))).toBe(
        `${left.length} image(s) without a label are left out: ${told}.`,
      );
    },
  );

  test('where only labelled images are taken, a label without its image is refused all the same', async () => {
    const paths = ['images/a.nii', 'images/b.nii', 'labels/a.nii', 'labels/z.nii'];
    const opened = openDataset(entries(paths), { onlyLabelled: true });
    expect(await failure(opened)).toMatch(/1 label\(s\) without an image: "z"/);
    const none = openDataset(entries(['images/a.nii', 'labels/z.nii']), { onlyLabelled: true });
    expect(await failure(none)).toMatch(/without an image: "z"/);
  });

  // Image and label of each pair; the rule is that the identifier is equal, in whatever script it is written.
  test.each<[string, [image: string, label: string][]]>([
    [
      'Greek',
      [
        ['α_1', 'α_1'],
        ['β_2', 'β_2'],
      ],
    ],
    [
      'Greek with a suffix',
      [
        ['ασθενής_1', 'ασθενής_1_seg'],
        ['ασθενής_2', 'ασθενής_2_seg'],
      ],
    ],
    [
      'letters cross over',
      [
        ['α_1', 'α_1_seg'],
        ['β_1', 'β_1_seg'],
        ['α_2', 'α_2_seg'],
      ],
    ],
    [
      'Chinese with a suffix',
      [
        ['病例_1', '病例_1_标签'],
        ['病例_2', '病例_2_标签'],
      ],
    ],
    [
      'Chinese without numbers',
      [
        ['张三', '张三_分割'],
        ['李四', '李四_分割'],
      ],
    ],
    [
      'Hindi, whose vowels are marks',
      [
        ['रोगी_१', 'रोगी_१_mask'],
        ['रागी_१', 'रागी_१_mask'],
      ],
    ],
    [
      'Arabic digits',
      [
        ['مريض٤', 'مريض٤_seg'],
        ['مريض٥', 'مريض٥_seg'],
      ],
    ],
    [
      'emoji',
      [
        ['😀_1', '😀_1_seg'],
        ['😎_1', '😎_1_seg'],
      ],
    ],
    [
      'composed and decomposed',
      [
        ['José', 'Jose\u0301'],
        ['Zoe\u0308_1', 'Zoë_1'],
        ['한글', '한글'.normalize('NFD')],
      ],
    ],
    [
      'decomposed with a suffix',
      [
        ['Jose\u0301_1', 'José_1_seg'],
        ['Zoë_1', 'Zoe\u0308_1_seg'],
      ],
    ],
    [
      'numbers with a suffix',
      [
        ['001', '001_seg'],
        ['002', '002_seg'],
      ],
    ],
    [
      'as LiTS',
      [
        ['volume-0', 'segmentation-0'],
        ['volume-1', 'segmentation-1'],
      ],
    ],
    [
      'as BraTS',
      [
        ['BraTS_001_flair', 'BraTS_001_seg'],
        ['BraTS_002_flair', 'BraTS_002_seg'],
      ],
    ],
    [
      'ids that look like channels',
      [
        ['pancreas_0001', 'pancreas_0001_seg'],
        ['pancreas_0007', 'pancreas_0007_seg'],
      ],
    ],
    [
      'ids that look like channels, equal',
      [
        ['scan_0000', 'scan_0000'],
        ['scan_0002', 'scan_0002'],
      ],
    ],
  ])('%s', async (_name, pairs) => {
    const files = pairs.flatMap(([image, label]) => [`images/${image}.nii.gz`, `labels/${label}.nii.gz`]);
    const set = await openDataset(entries(files.sort()));
    expect(set.cases).toHaveLength(pairs.length);
    for (const { id, images, label } of set.cases) {
      const pair = pairs.find(([image]) => image.normalize('NFC') === id);
      expect(await textOf(images[0])).toBe(`images/${pair![0]}.nii.gz`);
      expect(await textOf(label)).toBe(`labels/${pair![1]}.nii.gz`);
    }
  });

  test.each([
    [['α_1'], ['β_1'], /without a label: "α_1".*without an image: "β_1"/],
    [['α_1', 'α_2'], ['β_1', 'β_2'], /without a label: "α_1", "α_2".*without an image: "β_1", "β_2"/],
    [['α_1', 'β_2'], ['β_1_seg', 'α_2_seg'], /without a label: "α_1", "β_2"/],
    [['anna_1'], ['bert_1'], /without a label: "anna_1"/],
    [['anna_scan_1'], ['bert_scan_1'], /without a label: "anna_scan_1"/],
    [['张_1', '张_2'], ['李_1', '李_2'], /without a label/],
    [['a-1', 'a 1'], ['a_1_seg'], /3 name\(s\) that could belong to several: "a 1", "a-1", "a_1_seg"/],
    [['José'.normalize('NFC'), 'José'.normalize('NFD')], ['José'], /Several files have the name "José"/],
    [['c_0000', 'c_0002'], ['c'], /numbered from c_0000 without gaps/],
  ])('images %j and labels %j are refused', async (images, labels, expected) => {
    const files = [
      ...images.map((name) => `images/${name}.nii`),
      ...labels.map((name) => `labels/${name}.nii`),
    ];
    expect(await failure(openDataset(entries(files)))).toMatch(expected);
  });

  test('eight thousand cases are matched in one go', async () => {
    const ids = Array.from({ length: 8000 }, (_, i) => `case_${i}`);
    const compared = ids.flatMap((id) => [`images/${id}.nii`, `labels/${id}_seg.nii`]);
    expect((await openDataset(entries(compared))).cases).toHaveLength(8000);
  });

  test('a folder per case', async () => {
    const files = ['1', '2'].flatMap((n) => [
      `site/p_${n}/p_${n}_t1.nii`,
      `site/p_${n}/p_${n}_flair.nii`,
      `site/p_${n}/p_${n}_seg.nii`,
    ]);
    const set = await openDataset(entries(files));
    expect(set.cases.map(({ id }) => id)).toEqual(['p_1', 'p_2']);
    expect(set.channels).toEqual(['flair', 't1']);
    expect(await Promise.all(set.cases[1]!.images.map(textOf))).toEqual([files[4], files[3]]);
    expect(await textOf(set.cases[1]!.label)).toBe(files[5]);
    const other = [...files.filter((file) => !file.includes('p_2_t1')), 'site/p_2/p_2_dwi.nii'];
    expect(await failure(openDataset(entries(other)))).toMatch(/folders "p_2" hold other images than "p_1"/);
  });

  test('of files of several channels, the names are not those of channels', async () => {
    const volume = (...shape: number[]) =>
      writeNifti({ data: new Float32Array(shape.reduce((a, b) => a * b)), shape, affine: identity });
    const [one, three] = [await volume(2, 2, 2), await volume(2, 2, 2, 3)];
    const channelsOf = async (dwi: Uint8Array) => {
      const files = { adc: one, dwi, seg: one };
      const all = ['a', 'b'].flatMap((id) =>
        Object.entries(files).map(([name, source]) => ({ path: `${id}/${name}.nii`, source })),
      );
      return (await openDataset(all)).channels;
    };
    expect(await channelsOf(one)).toEqual(['adc', 'dwi']);
    expect(await channelsOf(three)).toEqual([]);
  });

  test('what trainings have segmented further down is no part of it', async () => {
    const run = ['config.json', 'split.json', 'predictions/a.nii.gz'].map((name) => `runs/1/${name}`);
    const files = ['images/a.nii', 'labels/a.nii', 'images/predictions/b.nii', 'labels/b.nii'];
    const { cases } = await openDataset(entries([...files, ...run]));
    expect(cases.map(({ id }) => id)).toEqual(['a', 'b']);
    const below = ['config.json', 'split.json', 'predictions/a.nii'].map((name) => `run/${name}`);
    const pair = await pairDataset(entries(['a.nii', ...below]), entries(['a.nii', ...below]));
    expect(pair.cases.map(({ id }) => id)).toEqual(['a']);
  });

  test('maps of uncertainty beside what they belong to are no labels', async () => {
    const json = { channel_names: { 0: 'MR' }, labels: { background: 0, part: 1 }, file_ending: '.nii.gz' };
    for (const [image, label, contents] of [
      ['images/NAME', 'labels/NAME', {}],
      ['NAME', 'NAME_seg', {}],
      ['imagesTr/NAME_0000', 'labelsTr/NAME', { 'dataset.json': json }],
    ] as const) {
      const files = ['a', 'b'].flatMap((name) =>
        [image, label, `${label}_uncertainty`].map((path) => `${path.replace('NAME', name)}.nii.gz`),
      );
      const { cases } = await openDataset(entries(files, contents));
      expect(cases.map(({ id }) => id)).toEqual(['a', 'b']);
    }
  });

  // Layouts of public data sets, each as its download unpacks.
  const four = [0, 1, 2, 3];
  const each = (...paths: ((n: number) => string)[]) => four.flatMap((n) => paths.map((path) => path(n)));
  test.each<[string, string[], (n: number) => [id: string, image: string, label: string]]>([
    [
      'LiTS, in one folder',
      each(
        (n) => `volume-${n}.nii`,
        (n) => `segmentation-${n}.nii`,
      ),
      (n) => [`volume-${n}`, `volume-${n}.nii`, `segmentation-${n}.nii`],
    ],
    [
      'MM-WHS, in one folder',
      each(
        (n) => `ct_train_100${n}_image.nii.gz`,
        (n) => `ct_train_100${n}_label.nii.gz`,
      ),
      (n) => [`ct_train_100${n}_image`, `ct_train_100${n}_image.nii.gz`, `ct_train_100${n}_label.nii.gz`],
    ],
    [
      'KiTS, a folder per case',
      each(
        (n) => `case_0000${n}/imaging.nii.gz`,
        (n) => `case_0000${n}/segmentation.nii.gz`,
      ),
      (n) => [`case_0000${n}`, `case_0000${n}/imaging.nii.gz`, `case_0000${n}/segmentation.nii.gz`],
    ],
    [
      'ACDC, two frames and their truth per folder',
      each(
        (n) => `patient00${n}/patient00${n}_frame01.nii.gz`,
        (n) => `patient00${n}/patient00${n}_frame01_gt.nii.gz`,
        (n) => `patient00${n}/patient00${n}_frame12.nii.gz`,
        (n) => `patient00${n}/patient00${n}_frame12_gt.nii.gz`,
        (n) => `patient00${n}/Info.cfg`,
      ),
      (n) => [
        `patient00${n}_frame12`,
        `patient00${n}/patient00${n}_frame12.nii.gz`,
        `patient00${n}/patient00${n}_frame12_gt.nii.gz`,
      ],
    ],
    [
      'BIDS, labels among the derivatives',
      each(
        (n) => `sub-0${n}/anat/sub-0${n}_T2w.nii.gz`,
        (n) => `derivatives/labels/sub-0${n}/anat/sub-0${n}_T2w_seg.nii.gz`,
      ),
      (n) => [
        `sub-0${n}_T2w`,
        `sub-0${n}/anat/sub-0${n}_T2w.nii.gz`,
        `derivatives/labels/sub-0${n}/anat/sub-0${n}_T2w_seg.nii.gz`,
      ],
    ],
    [
      'BIDS, with sessions and runs',
      each(
        (n) => `sub-1/ses-${n}/anat/sub-1_ses-${n}_run-1_T1w.nii.gz`,
        (n) => `derivatives/manual/sub-1/ses-${n}/anat/sub-1_ses-${n}_run-1_T1w_label-GM_mask.nii.gz`,
      ),
      (n) => [
        `sub-1_ses-${n}_run-1_T1w`,
        `sub-1/ses-${n}/anat/sub-1_ses-${n}_run-1_T1w.nii.gz`,
        `derivatives/manual/sub-1/ses-${n}/anat/sub-1_ses-${n}_run-1_T1w_label-GM_mask.nii.gz`,
      ],
    ],
    [
      'BIDS, whose labels have another suffix',
      each(
        (n) => `images/sub-0${n}_ses-1_run-1_T1w.nii.gz`,
        (n) => `labels/sub-0${n}_ses-1_run-1_space-orig_desc-manual_dseg.nii.gz`,
      ),
      (n) => [
        `sub-0${n}_ses-1_run-1_T1w`,
        `images/sub-0${n}_ses-1_run-1_T1w.nii.gz`,
        `labels/sub-0${n}_ses-1_run-1_space-orig_desc-manual_dseg.nii.gz`,
      ],
    ],
    [
      'VerSe',
      each(
        (n) => `rawdata/sub-verse00${n}/sub-verse00${n}_ct.nii.gz`,
        (n) => `derivatives/sub-verse00${n}/sub-verse00${n}_seg-vert_msk.nii.gz`,
      ),
      (n) => [
        `sub-verse00${n}_ct`,
        `rawdata/sub-verse00${n}/sub-verse00${n}_ct.nii.gz`,
        `derivatives/sub-verse00${n}/sub-verse00${n}_seg-vert_msk.nii.gz`,
      ],
    ],
    [
      'BTCV',
      each(
        (n) => `img/img000${n}.nii.gz`,
        (n) => `label/label000${n}.nii.gz`,
      ),
      (n) => [`img000${n}`, `img/img000${n}.nii.gz`, `label/label000${n}.nii.gz`],
    ],
    [
      'FLARE, a channel number on the images',
      each(
        (n) => `images/FLARE22_Tr_000${n}_0000.nii.gz`,
        (n) => `labels/FLARE22_Tr_000${n}.nii.gz`,
      ),
      (n) => [
        `FLARE22_Tr_000${n}`,
        `images/FLARE22_Tr_000${n}_0000.nii.gz`,
        `labels/FLARE22_Tr_000${n}.nii.gz`,
      ],
    ],
    [
      'image/ and gt/',
      each(
        (n) => `image/0${n}.nii.gz`,
        (n) => `gt/0${n}.nii.gz`,
      ),
      (n) => [`0${n}`, `image/0${n}.nii.gz`, `gt/0${n}.nii.gz`],
    ],
    [
      '3D Slicer, with what desktops leave behind',
      [
        ...each(
          (n) => `scans/${n} T2.nii.gz`,
          (n) => `masks/${n} T2.seg.nii.gz`,
        ),
        ...[
          'scans/._1 T2.nii.gz',
          '.DS_Store',
          'masks/Thumbs.db',
          'masks/1 T2.json',
          'scans/1 T2.nii.gz.part',
        ],
        '__MACOSX/scans/._1 T2.nii.gz',
      ],
      (n) => [`${n} T2`, `scans/${n} T2.nii.gz`, `masks/${n} T2.seg.nii.gz`],
    ],
    [
      'ids that begin as others, and ids with dots',
      [0, 1, 2, 3].flatMap((n) => {
        const id = ['case_1', 'case_10', 'case_1_0', '1.2.840.1'][n]!;
        return [`images/${id}.nii`, `labels/${id}.seg.nii.gz`];
      }),
      (n) => {
        const id = ['case_1', 'case_10', 'case_1_0', '1.2.840.1'][n]!;
        return [id, `images/${id}.nii`, `labels/${id}.seg.nii.gz`];
      },
    ],
  ])('%s', async (_name, paths, expected) => {
    const { cases } = await openDataset(entries(paths));
    for (const n of four) {
      const [id, image, label] = expected(n);
      const item = cases.find((found) => found.id === id);
      expect([await textOf(item?.images[0]), await textOf(item?.label)]).toEqual([image, label]);
    }
    expect(cases).toHaveLength(paths.filter((path) => /_frame\d+\.nii/.test(path)).length || four.length);
  });

  test.each([
    [
      ['T1w', 'T2w'].map((name) => `images/sub-1_${name}.nii`).concat('labels/sub-1_T1w_seg.nii'),
      /1 image\(s\) without a label: "sub-1_T2w"/,
    ],
    [['images/sub-1_T1w.nii', 'labels/sub-2_dseg.nii'], /without a label: "sub-1_T1w"/],
    [['p1.nii', 'p1_gt.nii', 'p2.nii'], /1 image\(s\) without a label: "p2"/],
    [['P1/a.nii', 'P1/a_seg.nii', 'P1/b.nii', 'P1/b_seg.nii', 'P1/4d.nii'], /without a label: "4d"/],
    [
      ['s1', 's2'].flatMap((n) => ['ct', 'masks/liver', 'masks/spleen'].map((name) => `${n}/${name}.nii`)),
      /join several masks of a case into one/,
    ],
    [
      ['train/images/a.nii', 'train/labels/a.nii', 'test/images/b.nii', 'test/labels/b.nii'],
      /folders "test\/images", "test\/labels", "train\/images", "train\/labels"/,
    ],
    [
      ['images/a.nii', 'labels/a.nii.bz2'],
      /1 file\(s\) of other formats are not read: "labels\/a\.nii\.bz2"/,
    ],
    [
      ['images/a.mha', 'labels/a.mha'],
      /no NIfTI file among 2 files.*"images\/a\.mha", "labels\/a\.mha"; convert/,
    ],
  ])('%j is refused with what to do', async (paths, expected) => {
    expect(await failure(openDataset(entries(paths)))).toMatch(expected);
  });

  test('named apart', async () => {
    const set = await pairDataset(entries(['x/a.nii', 'x/notes.txt']), entries(['y/a.nii']), {
      name: 'mine',
    });
    expect(set).toMatchObject({ name: 'mine', cases: [{ id: 'a' }] });
  });
});

describe('subjects', () => {
  const files = ['images/l1.nii', 'images/l2.nii', 'labels/l1.nii', 'labels/l2.nii'];
  const table = 'case,subject\r\nl1.nii.gz,anna\r\n"l2",anna\r\n';

  test('the data set brings its own table', async () => {
    const set = await openDataset(entries(files, { 'subjects.csv': table }));
    expect(set.cases.map(({ subject }) => subject)).toEqual(['anna', 'anna']);
    expect(set.warnings).toEqual([]);
  });

  test.each([
    ['case,subject\nl1,"Doe, John"\nl2,"Doe, Jane"', ['Doe, John', 'Doe, Jane']],
    ['\uFEFFcase,subject\r\nl1,"John ""Jack"" Doe"\r\n\r\nl2, anna ,\r\n', ['John "Jack" Doe', 'anna']],
    ['Subject;note;Case\nDoe, John;"a;b";l1\nDoe, Jane;;l2', ['Doe, John', 'Doe, Jane']],
    ['case\tsubject\nl1\tDoe, John\nl2\tDoe; Jane', ['Doe, John', 'Doe; Jane']],
  ])('%j names two', async (subjects, expected) => {
    const set = await openDataset(entries(files), { subjects });
    expect(set.cases.map(({ subject }) => subject)).toEqual(expected);
  });

  test.each([
    ['case,subject\nl1,anna', /lacks 1 case\(s\): "l2"/],
    ['name,who\nl1,anna', /columns "name", "who"/],
    ['case,subject\nl1', /line 2/],
    [
      'case,subject\nl1,Doe, John\nl2,Doe, Jane',
      /line 2 is "l1, Doe, John".*quote one that holds a separator/,
    ],
    ['case,subject\nl2,anna\nl1,"Doe, John\nl3,bert', /line 3 has a quotation mark that is not closed/],
    ['case,subject\nl1,"Doe" John\nl2,anna', /line 2 has a quotation mark/],
    ['case,subject\nl1,anna\nl1,bert', /"l1" two subjects, "anna" and "bert"/],
    [/x(\d)/, /no group for 2 case/],
  ])('%s is refused', async (subjects, expected) => {
    expect(await failure(openDataset(entries(files), { subjects }))).toMatch(expected);
  });
});

describe('in a directory', () => {
  async function folder(files: string[], contents: Record<string, string> = {}): Promise<string> {
    const root = await mkdtemp(join(tmpdir(), 'unet3d-dataset-'));
    onTestFinished(() => rm(root, { recursive: true }));
    for (const file of [...files, ...Object.keys(contents)]) {
      await mkdir(dirname(join(root, file)), { recursive: true });
      await writeFile(join(root, file), contents[file] ?? '');
    }
    return root;
  }

  test('sources are paths, dataset.json and subjects.csv are read', async () => {
    const files = decathlon.training.flatMap(({ image, label }) => [image, label]);
    const root = await folder(files, {
      'dataset.json': JSON.stringify(decathlon),
      'subjects.csv': 'case,subject\na,s\nb,s',
    });
    const set = await openDatasetFolder(root);
    expect(set.cases[0]).toEqual({
      id: 'a',
      subject: 's',
      images: [join(root, 'imagesTr/a.nii.gz')],
      label: join(root, 'labelsTr/a.nii.gz'),
    });
  });

  test('two named folders', async () => {
    const root = await folder(['mr/a.nii', 'truth/a.nii']);
    const set = await openFolderPair(join(root, 'mr'), join(root, 'truth'));
    expect(set.cases[0]!.label).toBe(join(root, 'truth/a.nii'));
    expect(await failure(openDatasetFolder(join(root, 'none')))).toMatch(/none does not exist/);
  });

  test('links to files and folders, as DataLad keeps them; loops end; a missing target is its own case’s matter', async () => {
    const store = await folder(['objects/k1', 'objects/k2', 'shared/1.nii', 'shared/2.nii']);
    const root = await folder([]);
    await mkdir(join(root, 'images'));
    await symlink(join(store, 'objects/k1'), join(root, 'images/1.nii'));
    await symlink(join(store, 'objects/gone'), join(root, 'images/2.nii'));
    await symlink(join(store, 'shared'), join(root, 'labels'));
    await symlink('/nowhere', join(root, 'README'));
    await symlink('self', join(root, 'self'));
    await symlink('..', join(root, 'images/up'));
    const set = await openDatasetFolder(root);
    expect(set.cases.map(({ id }) => id)).toEqual(['1', '2']);
    expect(set.cases[1]!.label).toBe(join(root, 'labels/2.nii'));
    expect(set.warnings).toContainEqual(expect.stringMatching(/images\/up leads back to/));
    await expect(readHeader(set.cases[1]!.images[0]!)).rejects.toThrow(
      /images\/2\.nii is a link to .*objects\/gone.*get the file/,
    );
    await rm(join(root, 'images/up'));
    expect((await openFolderPair(join(root, 'images'), join(root, 'labels'))).cases).toHaveLength(2);
  });

  test.runIf(process.platform === 'linux')(
    'a folder whose name is no UTF-8 is left out with a warning, and the others are read',
    async () => {
      const root = await folder(['images/1.nii', 'labels/1.nii']);
      const latin1 = Buffer.concat([Buffer.from(`${root}/Pr`), Buffer.of(0xe9)]);
      await mkdir(latin1);
      onTestFinished(() => rmdir(latin1));
      const { cases, warnings } = await openDatasetFolder(root);
      expect(cases.map(({ id }) => id)).toEqual(['1']);
      expect(warnings).toContainEqual(expect.stringMatching(/Pr\ufffd cannot be read \(ENOENT.*left out/));
      // Of a model it may hold a fold.
      await expect(modelFilesIn(root)).rejects.toThrow(
        /Pr\ufffd cannot be read, and may hold a part of the model/,
      );
    },
  );

  test('folders at any depth', async () => {
    const deep = 'a/b/c/d/e/f';
    const root = await folder([`${deep}/images/1.nii`, `${deep}/labels/1.nii`]);
    expect((await openDatasetFolder(root)).cases[0]!.label).toBe(join(root, deep, 'labels/1.nii'));
  });

  test('dataset.json with absolute paths, paths above it, variables and a subfolder of its own', async () => {
    const store = await folder(['i/1.nii.gz', 'i/2.nii.gz', 'l/1.nii.gz', 'l/2.nii.gz', 'raw/x/l3.nii.gz']);
    vi.stubEnv('TEST_STORE', store);
    onTestFinished(() => void vi.unstubAllEnvs());
    const dataset = {
      one: { images: [join(store, 'i/1.nii.gz')], label: '../l/1.nii.gz' },
      two: { images: ['$TEST_STORE/i/2.nii.gz'], label: '${TEST_STORE}/l/2.nii.gz' },
      three: { images: ['../i/1.nii.gz'], label: 'x/l3.nii.gz' },
    };
    await writeFile(
      join(store, 'raw/dataset.json'),
      JSON.stringify({ ...nnunet, channel_names: { 0: 'T2' }, dataset }),
    );
    const set = await openDatasetFolder(join(store, 'raw'));
    expect(set.cases.map(({ id, images, label }) => [id, ...images, label])).toEqual([
      ['one', join(store, 'i/1.nii.gz'), join(store, 'l/1.nii.gz')],
      ['two', join(store, 'i/2.nii.gz'), join(store, 'l/2.nii.gz')],
      ['three', join(store, 'i/1.nii.gz'), join(store, 'raw/x/l3.nii.gz')],
    ]);
    const gone = { ...dataset, three: { images: ['../i/9.nii.gz'], label: 'x/l3.nii.gz' } };
    await writeFile(join(store, 'raw/dataset.json'), JSON.stringify({ ...nnunet, dataset: gone }));
    expect(await failure(openDatasetFolder(join(store, 'raw')))).toMatch(
      /1 file.*are missing: "\.\.\/i\/9\.nii\.gz"/,
    );
  });

  test('the hippocampus data set', async ({ skip }) => {
    skip(!existsSync('../shared/data/hippocampus'), 'the hippocampus data is not beside the checkout');
    const set = await openDatasetFolder('../shared/data/hippocampus');
    expect(set.labels).toEqual(['background', 'Anterior', 'Posterior']);
    expect(set.cases).toHaveLength(208);
    expect(new Set(set.cases.map(({ subject }) => subject)).size).toBeLessThan(208);
    expect(set.warnings).toEqual([]);
  });
});

describe('folders below those of images and labels', () => {
  const paired = async (paths: string[]) =>
    Object.fromEntries(
      await Promise.all(
        (await openDataset(entries(paths))).cases.map(
          async ({ id, images, label }) =>
            [id, [...(await Promise.all(images.map(textOf))), await textOf(label)].join(' ')] as const,
        ),
      ),
    );
  const side = (top: string, ...names: string[]) => names.map((name) => `${top}/${name}.nii.gz`);

  test.each([
    [
      'a folder per subject, one name in all',
      [
        ...side('images', 'sub-1/anat/T1w', 'sub-2/anat/T1w'),
        ...side('labels', 'sub-1/anat/T1w', 'sub-2/anat/T1w'),
      ],
      {
        'sub-1_anat': 'images/sub-1/anat/T1w.nii.gz labels/sub-1/anat/T1w.nii.gz',
        'sub-2_anat': 'images/sub-2/anat/T1w.nii.gz labels/sub-2/anat/T1w.nii.gz',
      },
    ],
    [
      'labels in one folder',
      [...side('scans', 'sub-1/T1w', 'sub-2/T1w'), ...side('masks', 'sub-1', 'sub-2')],
      {
        'sub-1': 'scans/sub-1/T1w.nii.gz masks/sub-1.nii.gz',
        'sub-2': 'scans/sub-2/T1w.nii.gz masks/sub-2.nii.gz',
      },
    ],
    [
      'several visits each',
      [
        ...side('images', 'a/week 0', 'a/week 4', 'b/week 0'),
        ...side('labels', 'a/week 0', 'a/week 4', 'b/week 0'),
      ],
      undefined,
    ],
  ])('%s', async (_, paths, expected) => {
    const found = await paired(paths);
    if (expected) expect(found).toEqual(expected);
    // Each image has the label of its own folder.
    for (const pair of Object.values(found)) {
      const [image, label] = pair.split(/ (?=labels|masks)/) as [string, string];
      expect(label.replace(/^(labels|masks)/, '')).toMatch(image.split('/')[1]!);
    }
    expect(Object.keys(found)).toHaveLength(paths.length / 2);
  });

  test('what lacks its label is named with its folder', async () => {
    const paths = [...side('images', 'a/x', 'b/x'), ...side('labels', 'a/x')];
    expect(await failure(openDataset(entries(paths)))).toMatch(/without a label: "b"|Names do not match/);
  });
});
