// NIfTI files made byte by byte: every datatype and byte order, what must be refused, and writing back.
import { describe, expect, test } from 'vitest';
import { openDataset } from '../../src/data/dataset.ts';
import { readHeader, readNifti, writeNifti } from '../../src/data/nifti.ts';
import { statistics } from '../../src/data/statistics.ts';
import { random } from '../../src/data/random.ts';
import { fromCanonical, orientation, toCanonical } from '../../src/data/volume.ts';
import { wasm } from '../../src/data/wasm.ts';
import { InvalidOption, InvalidVolume, OutOfMemory } from '../../src/errors.ts';
import '../support/files.ts';
import { gzip, joined, make, type Made } from '../support/nifti.ts';

async function refusal(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => expect.unreachable('must be refused'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(InvalidVolume);
  return (error as Error).message;
}

/** Compared as integers: NaN equals itself, 0 is not -0. */
function sameBytes(a: Float32Array, b: Float32Array): boolean {
  const [x, y] = [new Uint32Array(a.buffer), new Uint32Array(b.buffer)];
  return x.length === y.length && x.every((word, i) => word === y[i]);
}

const big = 2n ** 53n + 1n;
const types: [
  string,
  number,
  number,
  (bigint | number)[],
  (v: DataView, at: number, x: never, le: boolean) => void,
][] = [
  ['uint8', 2, 1, [0, 1, 127, 128, 255], (v, at, x) => v.setUint8(at, x)],
  ['int8', 256, 1, [0, 1, 127, -128, -1], (v, at, x) => v.setInt8(at, x)],
  ['int16', 4, 2, [0, 1, 32767, -32768, -2, 258], (v, at, x, le) => v.setInt16(at, x, le)],
  ['uint16', 512, 2, [0, 1, 32768, 65535, 258], (v, at, x, le) => v.setUint16(at, x, le)],
  ['int32', 8, 4, [0, 2 ** 31 - 1, -(2 ** 31), 16777217, -3], (v, at, x, le) => v.setInt32(at, x, le)],
  ['uint32', 768, 4, [0, 2 ** 32 - 1, 2 ** 31, 16777217, 5], (v, at, x, le) => v.setUint32(at, x, le)],
  [
    'int64',
    1024,
    8,
    [0n, big, -big, 2n ** 63n - 1n, -(2n ** 63n), -7n],
    (v, at, x, le) => v.setBigInt64(at, x, le),
  ],
  ['uint64', 1280, 8, [0n, big, 2n ** 64n - 1n, 2n ** 63n, 7n], (v, at, x, le) => v.setBigUint64(at, x, le)],
  ['float32', 16, 4, [0, 0.1, -1e30, 1e-40, Infinity, NaN], (v, at, x, le) => v.setFloat32(at, x, le)],
  [
    'float64',
    64,
    8,
    [0, 0.1, -1e30, 1 / 3, -Infinity, NaN, 1e300],
    (v, at, x, le) => v.setFloat64(at, x, le),
  ],
];

/** Where the voxel x, y, z of [192, 128, 96] lies on canonical axes. */
const turns = {
  RAS: { rows: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], to: [192, 128], at: (x, y, z) => [x, y, z] },
  RAI: { rows: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1, 0], to: [192, 128], at: (x, y, z) => [x, y, 95 - z] },
  PSR: { rows: [0, 0, 1, 0, -1, 0, 0, 0, 0, 1, 0, 0], to: [96, 192], at: (x, y, z) => [z, 191 - x, y] },
} satisfies Record<
  string,
  { rows: number[]; to: [number, number]; at: (x: number, y: number, z: number) => number[] }
>;

test.each(Object.entries(turns))(
  'a volume of 9 MiB of float32, stored as %s',
  async (_, { rows, to, at }) => {
    const shape = [192, 128, 96];
    const noise = random(4);
    const voxels = Uint8Array.from({ length: 192 * 128 * 96 }, () => noise.int(256));
    const expected = new Float32Array(voxels.length);
    for (let z = 0, i = 0; z < 96; z++)
      for (let y = 0; y < 128; y++)
        for (let x = 0; x < 192; x++, i++) {
          const [right, front, up] = at(x, y, z) as [number, number, number];
          expected[(up * to[1] + front) * to[0] + right] = voxels[i]!;
        }
    const { data } = await readNifti(make({ shape, voxels, sform: { code: 1, rows } }), { canonical: true });
    expect(sameBytes(data, expected)).toBe(true);
  },
);

describe.each([true, false])('little-endian %s', (little) => {
  test.each(types)(
    '%s voxels are scaled in float64 and rounded once',
    async (name, datatype, size, some, set) => {
      const count = 3 * 5 * 7; // a whole number of SIMD steps and a rest
      const bytes = new Uint8Array(count * size);
      const values = Array.from({ length: count }, (_, i) => some[i % some.length]!);
      values.forEach((value, i) => set(new DataView(bytes.buffer), i * size, value as never, little));
      const stored = values.map((value) => (name === 'float32' ? Math.fround(Number(value)) : Number(value)));
      for (const [slope, intercept] of [
        [1, 0],
        [0, 5],
        [NaN, 5],
        [0.1, -1000.3],
        [-2.5, 0],
      ] as const)
        for (const version of [1, 2] as const) {
          const file = make({ version, little, shape: [3, 5, 7], datatype, voxels: bytes, slope, intercept });
          const [a, b] = version === 1 ? [Math.fround(slope), Math.fround(intercept)] : [slope, intercept];
          const expected = stored.map((raw) => (a === 0 || Number.isNaN(a) ? raw : raw * a + b));
          const { data, shape } = await readNifti(file);
          expect(shape).toEqual([3, 5, 7]);
          expect(data).toEqual(new Float32Array(expected));
        }
    },
  );
});

test.each([1, 2] as const)(
  'texts of NIfTI-%i end at their first 0, whatever stands behind it',
  async (version) => {
    const file = make({ version, voxels: new Uint8Array(8) });
    const write = (at: number, text: string) => file.set(new TextEncoder().encode(text), at);
    write(version === 1 ? 148 : 240, 'T1\0old');
    write(version === 1 ? 328 : 508, 'Estimate\0left');
    expect(await readHeader(file)).toMatchObject({ description: 'T1', intentName: 'Estimate' });
  },
);

test('voxels start at vox_offset, after extensions; bytes after them are ignored', async () => {
  const voxels = Uint8Array.from({ length: 8 }, (_, i) => i + 1);
  const between = new Uint8Array(4 + 32).fill(77);
  between.set([1, 0, 0, 0, 32, 0, 0, 0]);
  const file = joined(make({ voxels, between }), new Uint8Array(100).fill(9));
  expect([...(await readNifti(file)).data]).toEqual([...voxels]);
  expect([...(await readNifti(make({ voxels, offset: 0 }))).data]).toEqual([...voxels]);
});

test('an extension that claims an absurd size does no harm', async () => {
  const between = new Uint8Array(4 + 32);
  new DataView(between.buffer).setInt32(4, -16, true);
  between[0] = 1;
  expect((await readNifti(make({ between }))).shape).toEqual([2, 2, 2]);
});

test('the affine is the sform, else the qform, else nibabel’s fallback', async () => {
  const sform = { code: 1, rows: [-2, 0, 0, 10, 0, 3, 0, 20, 0, 0, 4, 30] };
  const qform = { code: 5, bcd: [0, 0, Math.SQRT1_2], offset: [1, 2, 3] }; // a quarter turn about z
  const pixdim = [-1, 2, 3, 4, 1, 1, 1, 1];
  const of = async (made: Made): Promise<number[]> => (await readNifti(make({ ...made, pixdim }))).affine;
  expect(await of({ sform, qform })).toEqual([-2, 0, 0, 10, 0, 3, 0, 20, 0, 0, 4, 30, 0, 0, 0, 1]);
  const turned = [0, -3, 0, 1, 2, 0, 0, 2, 0, 0, -4, 3, 0, 0, 0, 1];
  (await of({ qform })).forEach((value, i) => expect(value).toBeCloseTo(turned[i]!, 5));
  expect(await of({})).toEqual([-2, 0, 0, 1, 0, 3, 0, -1.5, 0, 0, 4, -2, 0, 0, 0, 1]);
});

test.each([
  ['LPI', [-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0]],
  ['ARS', [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0]],
  ['IPL', [0, 0, -1, 0, 0, -1, 0, 0, -1, 0, 0, 0]],
])(
  '%s, too large for one piece, is turned while it is decoded as toCanonical turns it',
  async (code, rows) => {
    const shape = [70, 60, 41, 2];
    const voxels = Uint8Array.from({ length: 2 * 70 * 60 * 41 }, (_, i) => (i * 31 + (i >> 7)) % 253);
    const file = make({ shape, voxels, sform: { code: 1, rows } });
    const source = await readNifti(file);
    expect(orientation(source.affine)).toBe(code);
    const { data, ...rest } = toCanonical(source);
    const read = await readNifti(file, { canonical: true });
    expect(read).toMatchObject(rest);
    expect(sameBytes(read.data, data)).toBe(true);
    expect(read).not.toHaveProperty('statistics');

    const looked = await readNifti(file, { canonical: true, statistics: true });
    expect(sameBytes(looked.data, data)).toBe(true);
    const { mean, sd, ...exact } = statistics(data);
    expect(looked.statistics).toMatchObject(exact);
    expect(looked.statistics!.mean).toBeCloseTo(mean, 10);
    expect(looked.statistics!.sd).toBeCloseTo(sd, 10);
  },
);

test('statistics while decoding: of the finite voxels, with the number of the others', async () => {
  const values = Float32Array.of(1, NaN, 3, 8, Infinity, 2, -4, -Infinity);
  const file = make({ datatype: 16, voxels: new Uint8Array(values.buffer) });
  const { statistics: found } = await readNifti(file, { statistics: true });
  expect(found).toMatchObject({ count: 5, nonFinite: 3, min: -4, max: 8, mean: 2 });
  expect(found!.sd).toBeCloseTo(Math.sqrt((1 + 1 + 36 + 36) / 5), 12);
});

test('pairs: with the image given', async () => {
  const voxels = Uint8Array.from({ length: 8 }, (_, i) => 7 * i);
  const header = make({ pair: true });
  for (const [hdr, img] of [
    [header, voxels],
    [await gzip(header), await gzip(voxels)],
    [header, await gzip(voxels)],
  ] as const) {
    const { data } = await readNifti(new Blob([hdr]), { image: new Blob([img]) });
    expect([...data]).toEqual([...voxels]);
    expect([...(await readNifti({ header: new Blob([hdr]), image: img })).data]).toEqual([...voxels]);
  }
  expect(await refusal(readNifti(new Blob([header])))).toMatch(/"image"/);
});

test('pairs among picked files are found by their names', async () => {
  const voxels = (first: number) => Uint8Array.from({ length: 8 }, (_, i) => first + i);
  const entry = (path: string, bytes: Uint8Array<ArrayBuffer>) => ({ path, source: new Blob([bytes]) });
  const half = make({ pair: true });
  const files = [
    entry('set/images/a.hdr', half),
    entry('set/images/a.img', voxels(10)),
    entry('set/images/B.HDR.GZ', await gzip(half)),
    entry('set/images/B.IMG.GZ', await gzip(voxels(20))),
    entry('set/labels/a.hdr', half),
    entry('set/labels/a.img', voxels(0)),
    entry('set/labels/B.hdr', half),
    entry('set/labels/B.img', voxels(1)),
  ];
  const { cases } = await openDataset(files);
  const firsts = await Promise.all(
    cases.map(async ({ id, images, label }) => [
      id,
      ...(await Promise.all([images[0]!, label!].map(async (file) => (await readNifti(file)).data[0]))),
    ]),
  );
  expect(firsts).toEqual([
    ['B', 20, 1],
    ['a', 10, 0],
  ]);
  const alone = await openDataset(files.filter(({ path }) => !path.endsWith('images/a.img')));
  expect(await refusal(readNifti(alone.cases[1]!.images[0]!))).toMatch(/give its \.img file too/);
});

describe('refused with a message of its own', () => {
  test('what is not NIfTI', async () => {
    const words = Uint8Array.from('some text', (letter) => letter.charCodeAt(0));
    expect(await refusal(readNifti(words))).toMatch(/not a NIfTI file: its first 9 bytes.*Convert/);
    const analyze = make({}).fill(0, 344, 348);
    expect(await refusal(readNifti(analyze))).toMatch(/not a NIfTI file: it is Analyze 7\.5.*Convert/);
  });

  test('what failed downloads and copies leave', async () => {
    const cases: [Uint8Array<ArrayBuffer>, RegExp][] = [
      [new Uint8Array(0), /^.* is not a NIfTI file: it is empty \(0 bytes\)\. Copy or download it again\.$/],
      [new Uint8Array(400), /holds zeros only.*download it again/],
      [make({}).slice(0, 200), /ends after 200 bytes of its header.*download it again/],
      [make({ version: 2 }).slice(0, 500), /ends after 500 bytes of its header.*download it again/],
      [make({}).slice(0, -1), /truncated.*found 359; copy or download it again/],
    ];
    for (const [bytes, expected] of cases) {
      expect(await refusal(readNifti(bytes))).toMatch(expected);
      expect(await refusal(readNifti(await gzip(bytes)))).toMatch(expected);
    }
    const halves = { image: new Uint8Array(0) };
    expect(await refusal(readNifti(make({ pair: true }), halves))).toMatch(/found 0; copy or download/);
  });

  test.each([
    ['version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n', /git lfs pull/],
    ['/annex/objects/SHA256E-s77--4d7a.nii.gz\n', /git annex get/],
    ['\n<!DOCTYPE html><html><title>404</title></html>', /web page.*Download/],
    [`${'\0'.repeat(128)}DICM\x02\0\0\0UL`, /dcm2niix/],
    ['NRRD0004\ntype: short\n', /NRRD/],
    ['ObjectType = Image\nNDims = 3\n', /MetaImage/],
    ['PK\x03\x04\x14\0', /ZIP/],
    ['\x89PNG\r\n\x1a\n', /a picture\. Stack/],
    ['\x93NUMPY\x01\0', /NumPy/],
  ])('what is often found under such a name: %j', async (text, expected) => {
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    expect(await refusal(readNifti(bytes))).toMatch(expected);
    expect(await refusal(readNifti(await gzip(bytes)))).toMatch(expected);
  });

  test('truncated voxels, with the bytes expected and found', async () => {
    const file = make({ shape: [4, 4, 4], voxels: new Uint8Array(63) });
    expect(await refusal(readNifti(file))).toMatch(/4 x 4 x 4 voxels of uint8 .* need 416 bytes, found 415/);
  });

  test('truncated voxels inside gzip, whatever its last bytes announce', async () => {
    const file = make({ shape: [4, 4, 4], voxels: new Uint8Array(63) });
    for (const announced of [415, 416, 100_000]) {
      const zipped = await gzip(file);
      new DataView(zipped.buffer).setUint32(zipped.length - 4, announced, true);
      expect(await refusal(readNifti(zipped))).toMatch(/need 416 bytes, found 415|is gzip that ends early/);
    }
  });

  test('absurd dimensions, without allocating for them', async () => {
    const before = wasm().memory.buffer.byteLength;
    const dims = [32767, 32767, 32767];
    expect(await refusal(readNifti(make({ shape: dims, datatype: 64 })))).toMatch(/found 360/);
    expect(await refusal(readNifti(make({ shape: [...dims, ...dims, 32767] })))).toMatch(/dim = \[7, 32767/);
    expect(await refusal(readNifti(make({ version: 2, shape: [2 ** 40, 2 ** 40, 1] })))).toMatch(/dim = /);
    for (const shape of [[0, 2, 2], [-4, 2, 2], []])
      expect(await refusal(readNifti(make({ shape })))).toMatch(/dim = /);
    expect(wasm().memory.buffer.byteLength).toBe(before);
  });

  test('voxels without one real value, and unknown types', async () => {
    expect(await refusal(readNifti(make({ datatype: 32 })))).toMatch(/complex64/);
    expect(await refusal(readNifti(make({ datatype: 128 })))).toMatch(/RGB/);
    expect(await refusal(readNifti(make({ datatype: 77 })))).toMatch(/unknown datatype 77/);
  });

  test('a place inside the header, an intercept or a quaternion that cannot be', async () => {
    expect(await refusal(readNifti(make({ offset: 100 })))).toMatch(/start at byte 100; expected 352/);
    expect(await refusal(readNifti(make({ offset: -8 })))).toMatch(/start at byte -8/);
    expect(await refusal(readNifti(make({ slope: 2, intercept: Infinity })))).toMatch(/scl_inter Infinity/);
    const qform = { code: 1, bcd: [1, 1, 0], offset: [0, 0, 0] };
    expect(await refusal(readNifti(make({ qform })))).toMatch(/quaternion/);
    const sform = { code: 1, rows: [NaN, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0] };
    expect(await refusal(readNifti(new File([make({ sform })], 'a.nii')))).toMatch(
      /^a\.nii: its affine has NaN in row.*sform/,
    );
    const rotated = { ...qform, bcd: [0, 0, 0], offset: [Infinity, 0, 0] };
    expect(await refusal(readNifti(make({ qform: rotated })))).toMatch(
      /affine has Infinity in row 1, column 4.*qform/,
    );
  });

  test('a size of voxels that is no number, where places follow from it', async () => {
    const sform = { code: 1, rows: [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0] };
    const qform = { code: 1, bcd: [0, 0, 0], offset: [0, 0, 0] };
    for (const version of [1, 2] as const)
      for (const value of [NaN, Infinity, -Infinity]) {
        const pixdim = [1, 1, value, 1, 1, 1, 1, 1];
        const named = new RegExp(`pixdim\\[2\\] = ${value}`);
        expect(await refusal(readNifti(make({ version, pixdim })))).toMatch(named);
        expect(await refusal(readNifti(make({ version, pixdim, qform })))).toMatch(named);
        expect((await readNifti(make({ version, pixdim, sform }))).spacing).toEqual([2, 2, 2]);
        const line = make({ version, pixdim, shape: [8] });
        expect((await readNifti(line)).affine[0]).toBe(-1);
      }
  });
});

test.each([
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
])('turned while it is decoded, piece by piece: voxel axes along %i, %i, %i', async (...axes) => {
  const shape = [37, 50, 83];
  const voxels = new Uint8Array(37 * 50 * 83).map((_, i) => (i * 7919) >> 3);
  for (const signs of [
    [1, 1, 1],
    [-1, 1, -1],
    [1, -1, -1],
    [-1, -1, 1],
  ]) {
    const rows = new Array<number>(12).fill(0);
    axes.forEach((row, axis) => (rows[4 * row + axis] = signs[axis]!));
    const file = make({ shape, voxels, sform: { code: 1, rows } });
    const turned = await readNifti(file, { canonical: true });
    const { data, affine } = toCanonical(await readNifti(file));
    expect(turned.affine).toEqual(affine);
    expect(sameBytes(turned.data, data)).toBe(true);
  }
});

test('damaged headers are read or refused, never anything else', async () => {
  const next = random(11);
  const good = [1, 2].map((version) =>
    make({ version: version as 1 | 2, voxels: new Uint8Array(2000), between: new Uint8Array(36).fill(1) }),
  );
  let read = 0;
  for (let trial = 0; trial < 1000; trial++) {
    const file = good[trial % 2]!.slice();
    for (let change = next.int(4); change >= 0; change--)
      file[next.int(trial % 2 ? 580 : 390)] = next.int(256);
    try {
      await readNifti(file, { canonical: trial % 3 === 0 });
      read++;
    } catch (error) {
      expect(error).toBeInstanceOf(InvalidVolume);
    }
  }
  expect(read).toBeGreaterThan(50);
  expect(read).toBeLessThan(950);
});

describe('writing', () => {
  const grids = {
    PSR: [0, 0, 0.9, -20.3, -0.5, 0.01, 0, 31.7, 0.01, 0.5, 0.02, -12.1],
    LAS: [-0.8, 0, 0, 60, 0, 0.8, 0.1, -50, 0, -0.1, 5, 7],
  };

  test.each(Object.entries(grids))('labels and probabilities go back onto a %s grid', async (code, rows) => {
    const shape = [5, 6, 7];
    const count = 5 * 6 * 7;
    const voxels = Uint8Array.from({ length: count }, (_, i) => (i * 37) % 251);
    const made = make({
      shape,
      voxels,
      sform: { code: 2, rows },
      qform: { code: 1, bcd: [0.1, 0.2, 0.3], offset: [4, 5, 6] },
      pixdim: [-1, 0.5, 0.6, 0.7, 1, 1, 1, 1],
    });
    const source = await readNifti(made);
    expect(orientation(source.affine)).toBe(code);
    const canonical = toCanonical(source);
    expect(canonical).toMatchObject(await readNifti(made, { canonical: true }));
    const labels = fromCanonical(Uint8Array.from(canonical.data), source);
    const bytes = await writeNifti({ ...source, data: labels }, { gzip: false });
    expect(bytes.slice(252, 328)).toEqual(made.slice(252, 328)); // codes, quaternion, offsets, srow
    expect(bytes.slice(76, 92)).toEqual(made.slice(76, 92)); // qfac and zooms
    expect(bytes.slice(352)).toEqual(voxels);

    const two = new Float32Array(2 * count);
    two.set(canonical.data);
    two.set(
      canonical.data.map((value) => value / 3),
      count,
    );
    const written = await writeNifti({ ...source, shape: [...shape, 2], data: fromCanonical(two, source) });
    const again = await readNifti(written);
    expect(again.shape).toEqual([...shape, 2]);
    expect(again.affine).toEqual(source.affine);
    expect(again.data.subarray(0, count)).toEqual(source.data);
    expect(again.data.subarray(count)).toEqual(source.data.map((value) => value / 3));
  });

  test('a canonical volume is written with its own affine under the codes of the source', async () => {
    const rows = [0, 0, 0.9, -20, -0.5, 0, 0, 31, 0, 0.5, 0, -12];
    const source = make({
      shape: [3, 4, 5],
      voxels: Uint8Array.from({ length: 60 }, (_, i) => i),
      sform: { code: 4, rows },
      qform: { code: 1, bcd: [0, 0, 0], offset: [0, 0, 0] },
    });
    const canonical = await readNifti(source, { canonical: true });
    const again = await readNifti(await writeNifti(canonical, { datatype: 'int16' }));
    expect(again).toMatchObject({
      data: canonical.data,
      shape: [5, 3, 4],
      header: { qformCode: 1, sformCode: 4 },
    });
    again.affine.forEach((value, i) => expect(value).toBeCloseTo(canonical.affine[i]!, 5));
    const { header } = again;
    const onlyQform = make({
      shape: [5, 3, 4],
      voxels: new Uint8Array(60),
      pixdim: [...header.pixdim],
      qform: { code: 1, bcd: [...header.quaternion], offset: [...header.qoffset] },
    });
    (await readNifti(onlyQform)).affine.forEach((value, i) => expect(value).toBeCloseTo(again.affine[i]!, 5));
  });

  test('the qform of any rotation, mirrored or not, says the affine again', async () => {
    for (const [b, c, d] of [
      [0, 0, 0],
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
      [0.5, 0.5, 0.5],
      [0.1, -0.7, 0.2],
      [-0.9, 0.1, 0.3],
    ] as const)
      for (const qfac of [1, -1]) {
        const qform = { code: 1, bcd: [b, c, d], offset: [7, 8, 9] };
        const file = make({ pixdim: [qfac, 2, 3, 4, 1, 1, 1, 1], qform, version: 2 });
        const { affine } = await readNifti(file);
        const { header } = await readNifti(
          await writeNifti({ data: new Uint8Array(8), shape: [2, 2, 2], affine }),
        );
        const { quaternion, qoffset, pixdim } = header;
        const again = make({
          pixdim: [...pixdim],
          qform: { code: 1, bcd: [...quaternion], offset: [...qoffset] },
        });
        (await readNifti(again)).affine.forEach((value, i) => expect(value).toBeCloseTo(affine[i]!, 5));
      }
  });

  test('NIfTI-2 stays NIfTI-2, to the last bit of its float64 affine', async () => {
    const rows = [1 / 3, 0, 0, 0.1, 0, 1 / 7, 0, 0.2, 0, 0, 1 / 11, 0.3];
    const made = make({
      version: 2,
      sform: { code: 3, rows },
      pixdim: [1, 1 / 3, 1 / 7, 1 / 11, 1, 1, 1, 1],
    });
    const source = await readNifti(made);
    const bytes = await writeNifti(source, { datatype: 'uint8', gzip: false });
    expect(bytes.slice(344, 508)).toEqual(made.slice(344, 508));
    expect(await readNifti(bytes)).toMatchObject({ data: source.data, affine: [...rows, 0, 0, 0, 1] });
  });

  test('an axis of more than 32767 voxels needs NIfTI-2 and gets it', async () => {
    const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
    const bytes = await writeNifti({ data: new Uint8Array(40000).fill(3), shape: [40000, 1, 1], affine });
    expect(await readNifti(bytes)).toMatchObject({ shape: [40000, 1, 1], affine, header: { version: 2 } });
  });

  test('a file that there is no memory for is told by its voxels', async () => {
    const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
    const shape = [2 ** 20, 2 ** 20, 2 ** 20];
    const written = writeNifti({ data: { length: 2 ** 60 }, shape, affine });
    await expect(written).rejects.toThrow(OutOfMemory);
    await expect(written).rejects.toThrow(/^the volume of 1048576 x 1048576 x 1048576 has/);
  });

  test('values outside the datatype, and arrays that do not fit, are refused', async () => {
    const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
    const shape = [2, 1, 1];
    const write = (data: number[], sizes = shape): Promise<Uint8Array> =>
      writeNifti({ data, shape: sizes, affine }, { datatype: 'uint8' });
    await expect(write([0, 256])).rejects.toThrow(/Voxel 1 is 256, outside uint8/);
    await expect(write([NaN, 0])).rejects.toThrow(InvalidOption);
    await expect(write([1, 2, 3])).rejects.toThrow(/data has 3 values; give the 2 of 2 x 1 x 1 voxels/);
    await expect(write([1], [1, 0])).rejects.toThrow(/shape\[1\] is 0; give/);
  });
});
