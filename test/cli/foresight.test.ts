/**
 * `check` without errors if and only if a training would start: over 200 made-up data sets, each with up to three
 * oddities, the check beside what `train` does with its data before the first step.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkDataset } from '../../src/data/check.ts';
import { openFromArguments, splitOf } from '../../src/cli/dataset-options.ts';
import type { Io } from '../../src/cli/io.ts';
import { openData } from '../../src/cli/open-data.ts';
import { writeNifti } from '../../src/data/nifti.ts';
import { random, type Random } from '../../src/data/random.ts';
import { UNet3DError } from '../../src/errors.ts';
import { temporaryFolder, turned } from './support.ts';

const io: Io = {
  out: () => undefined,
  err: () => undefined,
  written: () => Promise.resolve(undefined),
  status: () => undefined,
  isTerminal: false,
  columns: 80,
  signal: new AbortController().signal,
};

/** A file before it is written; `bytes` last changes what is written. */
interface Draft {
  data: Float32Array;
  shape: number[];
  affine: number[];
  bytes?: (file: Uint8Array) => Uint8Array;
}
interface DraftCase {
  images: Draft[];
  label: Draft;
}
interface DraftSet {
  cases: DraftCase[];
  json?: { labels: Record<string, number>; channels: number };
}

const setFloat = (at: number, value: number) => (file: Uint8Array) => {
  new DataView(file.buffer, file.byteOffset).setFloat32(at, value, true);
  return file;
};
const setByte = (at: number, value: number) => (file: Uint8Array) => file.with(at, value);
const repeated = ({ data, shape, ...rest }: Draft, more: number[]): Draft => {
  const times = more.reduce((a, b) => a * b, 1);
  const all = new Float32Array(data.length * times);
  for (let i = 0; i < times; i++) all.set(data, i * data.length);
  return { ...rest, data: all, shape: [...shape, ...more] };
};
type Change = (set: DraftSet, r: Random) => void;
const oneCase =
  (change: (item: DraftCase, r: Random) => void): Change =>
  (set, r) => {
    if (set.cases.length > 0) change(set.cases[r.int(set.cases.length)]!, r);
  };
const someFile = (change: (draft: Draft, r: Random) => Draft): Change =>
  oneCase((item, r) => {
    if (r.int(2) === 0) item.label = change(item.label, r);
    else item.images[0] = change(item.images[0]!, r);
  });
const everyFile =
  (change: (draft: Draft) => Draft): Change =>
  (set) => {
    for (const item of set.cases) {
      item.label = change(item.label);
      item.images = item.images.map(change);
    }
  };
const voxel =
  (value: number) =>
  (draft: Draft, r: Random): Draft => ({
    ...draft,
    data: draft.data.with(r.int(draft.data.length), value),
  });
const atByte =
  (bytes: NonNullable<Draft['bytes']>) =>
  (draft: Draft): Draft => ({ ...draft, bytes });
const shifted =
  (mm: number) =>
  (draft: Draft): Draft => ({ ...draft, affine: draft.affine.with(3, draft.affine[3]! + mm) });

const oddities: Readonly<Record<string, Change>> = {
  'a label of four axes': oneCase((item) => (item.label = repeated(item.label, [2]))),
  'labels of four axes everywhere': (set) => {
    for (const item of set.cases) item.label = repeated(item.label, [2]);
  },
  'a label x, y, z, 1': oneCase((item) => (item.label = repeated(item.label, [1]))),
  'a flat image': oneCase((item) => {
    const flat = (draft: Draft): Draft => ({
      ...draft,
      shape: [draft.shape[0]!, draft.data.length / draft.shape[0]!],
    });
    item.images = item.images.map(flat);
    item.label = flat(item.label);
  }),
  'an image x, y, z, 1, 3': oneCase((item) => (item.images[0] = repeated(item.images[0]!, [1, 3]))),
  'an image of two channels': oneCase((item) => (item.images[0] = repeated(item.images[0]!, [2]))),
  'images of two channels': (set) => {
    for (const item of set.cases) item.images[0] = repeated(item.images[0]!, [2]);
  },
  'one slice': (set) => {
    for (const item of set.cases)
      for (const draft of [item.label, ...item.images]) {
        if (draft.shape.length !== 3) continue;
        draft.data = draft.data.slice(0, draft.shape[0]! * draft.shape[1]!);
        draft.shape = [draft.shape[0]!, draft.shape[1]!, 1];
      }
  },
  'NaN in a voxel': someFile(voxel(NaN)),
  'infinity in a voxel': someFile(voxel(-Infinity)),
  'a huge voxel': oneCase((item, r) => (item.images[0] = voxel(3e38)(item.images[0]!, r))),
  'NaN in an sform': someFile(atByte(setFloat(280, NaN))),
  'infinity in an sform': someFile(atByte(setFloat(300, Infinity))),
  'zeros in one sform': someFile((draft) => ({
    ...draft,
    affine: draft.affine.map((v, i) => (i < 4 ? 0 : v)),
  })),
  'zeros in every sform': everyFile((draft) => ({
    ...draft,
    affine: draft.affine.map((v, i) => (i < 12 ? 0 : v)),
  })),
  'a file in metres': someFile(atByte(setByte(123, 1))),
  'all files in micrometres': everyFile(atByte(setByte(123, 3))),
  'a file a little aside': someFile(shifted(0.1)),
  'a file elsewhere': someFile(shifted(76)),
  'a file of another shape': someFile((draft) => ({
    ...draft,
    data: Float32Array.from({ length: 12 }, (_, at) => draft.data[at % draft.data.length]!),
    shape: [2, 3, 2],
  })),
  'a file in other axes': someFile((draft) =>
    draft.shape.length === 3 ? { ...draft, ...turned(draft) } : draft,
  ),
  'a file of other bytes': someFile(atByte(() => new TextEncoder().encode('no NIfTI file'))),
  'an empty file': someFile(atByte(() => new Uint8Array())),
  'a truncated file': someFile(atByte((file) => file.slice(0, -5))),
  'a file in colours': someFile(atByte(setByte(70, 128))),
  'no axis': someFile(atByte(setByte(40, 0))),
  'a negative axis': someFile(atByte(setByte(43, 255))),
  'a quaternion that is none': someFile(atByte((file) => setFloat(256, 3)(file.with(252, 1).with(254, 0)))),
  'a label value too high': oneCase((item, r) => (item.label = voxel(300)(item.label, r))),
  'a label value of 255': oneCase((item, r) => (item.label = voxel(255)(item.label, r))),
  'a label value of 4': oneCase((item, r) => (item.label = voxel(4)(item.label, r))),
  'a label value below 0': oneCase((item, r) => (item.label = voxel(-1)(item.label, r))),
  'a label value of one half': oneCase((item, r) => (item.label = voxel(0.5)(item.label, r))),
  'an empty label': oneCase((item) => (item.label.data = item.label.data.map(() => 0))),
  'empty labels': (set) => {
    for (const { label } of set.cases) label.data = label.data.map(() => 0);
  },
  'masks of 0 and 255': (set) => {
    for (const { label } of set.cases) label.data = label.data.map((value) => (value > 0 ? 255 : 0));
  },
  'a label of shares': oneCase(({ label }) => (label.data = label.data.map((value) => value / 3))),
  'labels of one value': (set) => {
    for (const { label } of set.cases) label.data = label.data.map(() => 1);
  },
  'a label that is its image': oneCase((item) => (item.label = { ...item.images[0]! })),
  'a label of another case': ({ cases }, r) => {
    if (cases.length > 0) cases[r.int(cases.length)]!.label = { ...cases[r.int(cases.length)]!.label };
  },
  'images and labels exchanged': (set) => {
    for (const item of set.cases) [item.images[0], item.label] = [item.label, item.images[0]!];
  },
  'images of 20 volumes': (set) => {
    for (const item of set.cases) item.images[0] = repeated(item.images[0]!, [20]);
  },
  'a slope in a label': oneCase((item) => (item.label = atByte(setFloat(112, 0.5))(item.label))),
  'a file of zeros': someFile(atByte((file) => file.fill(0))),
  'a header that ends early': someFile(atByte((file) => file.slice(0, 200))),
  'constant images': (set) => {
    for (const { images } of set.cases) for (const image of images) image.data = image.data.map(() => 7);
  },
  'a copy': ({ cases }, r) => {
    const [from, to] = [r.int(cases.length), r.int(cases.length)];
    cases[to] = { ...cases[to]!, images: cases[from]!.images };
  },
  'too few cases': (set) => set.cases.splice(2),
  'dataset.json': (set, r) =>
    (set.json = { labels: { background: 0, a: 1, b: 2, ignore: 255 }, channels: 1 + r.int(2) }),
  'two files per image': (set) => {
    set.json ??= { labels: { background: 0, a: 1, b: 2 }, channels: 2 };
    for (const { images } of set.cases)
      images.push({ ...images[0]!, data: images[0]!.data.map((v) => v * v) });
  },
  'a second channel elsewhere': (set) => {
    const item = set.cases.at(-1)!;
    item.images.push(shifted(76)(item.images[0]!));
  },
};

function soundSet(r: Random): DraftSet {
  const shape = [3 + r.int(3), 3 + r.int(3), 3 + r.int(3)];
  const voxels = shape.reduce((a, b) => a * b, 1);
  const affine = [1.5, 0, 0, -3, 0, 1, 0, 8, 0, 0, 2, r.int(9), 0, 0, 0, 1];
  const make = (value: () => number): Draft => ({
    data: Float32Array.from({ length: voxels }, value),
    shape: [...shape],
    affine,
  });
  const cases = Array.from({ length: 3 + r.int(4) }, (): DraftCase => ({
    images: [make(() => r.uniform(0, 100))],
    label: make(() => r.int(3)),
  }));
  return { cases };
}

async function write(folder: string, { cases, json }: DraftSet): Promise<void> {
  const [images, labels] = json ? ['imagesTr', 'labelsTr'] : ['images', 'labels'];
  await mkdir(join(folder, images), { recursive: true });
  await mkdir(join(folder, labels), { recursive: true });
  const file = async (path: string, { data, shape, affine, bytes }: Draft): Promise<void> => {
    const made = await writeNifti({ data, shape, affine }, { datatype: 'float32', gzip: false });
    await writeFile(join(folder, path), bytes ? bytes(made) : made);
  };
  for (const [index, item] of cases.entries()) {
    const name = `case${index}`;
    await file(`${labels}/${name}.nii`, item.label);
    for (const [channel, image] of item.images.entries())
      await file(
        item.images.length > 1 || json ? `${images}/${name}_000${channel}.nii` : `${images}/${name}.nii`,
        image,
      );
  }
  if (!json) return;
  const channelNames = Object.fromEntries(Array.from({ length: json.channels }, (_, i) => [i, `MR${i}`]));
  const text = {
    labels: json.labels,
    channel_names: channelNames,
    file_ending: '.nii',
    numTraining: cases.length,
  };
  await writeFile(join(folder, 'dataset.json'), JSON.stringify(text));
}

/** The messages of what refuses; none where nothing does. */
async function refusals(look: () => Promise<readonly string[]>): Promise<readonly string[]> {
  try {
    return await look();
  } catch (error) {
    if (error instanceof UNet3DError) return [error.message];
    throw error;
  }
}

const training = {
  seed: 0,
  preprocessing: 'plain',
  cache: 2 ** 24,
} as const;

test('check finds an error if and only if a training refuses the data', async () => {
  const names = Object.keys(oddities);
  const root = await temporaryFolder();
  const seen = { fine: 0, refused: 0 };
  const met = new Set<string>();
  for (let trial = 0; trial < 200; trial++) {
    const r = random(trial, 'foresight');
    const chosen = Array.from({ length: Math.max(trial < names.length ? 1 : 0, r.int(4)) }, (_, i) =>
      i === 0 && trial < names.length ? names[trial]! : names[r.int(names.length)]!,
    );
    const set = soundSet(r);
    for (const name of chosen) oddities[name]!(set, r);
    const folder = join(root, String(trial));
    await write(folder, set);
    const checked = await refusals(async () => {
      const dataset = await openFromArguments(io, folder, {});
      const { problems } = await checkDataset(dataset, { split: (cases) => splitOf(cases, training) });
      return problems.filter(({ severity }) => severity === 'error').map(({ message }) => message);
    });
    const refused = await refusals(() => openData(io, folder, training).then(() => []));
    const told = `${chosen.join(' + ')}:\n${checked.join('\n')}\ntrain: ${refused.join()}`;
    expect(checked.length > 0, told).toBe(refused.length > 0);
    for (const name of chosen) met.add(name);
    seen[refused.length > 0 ? 'refused' : 'fine'] += 1;
    await rm(folder, { recursive: true });
  }
  expect([...met].sort()).toEqual([...names].sort());
  expect(Math.min(seen.fine, seen.refused)).toBeGreaterThan(40);
}, 400_000);
