// Batches: padding and crops voxel by voxel, order, repetition from any position, oversampling.
import { describe, expect, test } from 'vitest';
import {
  assertKnownInMiddle,
  casesInMemory,
  commonShape,
  ignored,
  trainingBatches,
} from '../../src/data/patches.ts';
import type { PreparedCase } from '../../src/data/prepare.ts';
import type { Size3 } from '../../src/size.ts';
import { InvalidDataset, InvalidOption } from '../../src/errors.ts';

/** A case whose every voxel tells its case, channel and place; label 1 in one corner voxel, else 0. */
function numbered(id: number, shape: Size3, channels = 1): PreparedCase {
  const voxels = shape[0] * shape[1] * shape[2];
  const label = new Uint8Array(voxels);
  label[voxels - 1] = 1;
  const image = Float32Array.from({ length: channels * voxels }, (_, i) => id * 1e5 + i + 1);
  return { id: `c${id}`, image, label, shape, channels, spacing: [1, 1, 1] };
}
const at = (c: number, x: number, y: number, z: number, [nx, ny, nz]: Size3) =>
  ((c * nz + z) * ny + y) * nx + x;
const set = (...cases: PreparedCase[]) => casesInMemory(cases);

test('commonShape is the per-axis maximum, rounded up', () => {
  expect(
    commonShape(
      [
        [3, 9, 4],
        [5, 2, 4],
      ],
      4,
    ),
  ).toEqual([8, 12, 4]);
});

describe('whole volumes', () => {
  test('are padded with 0 and label 255 at the far ends', async () => {
    const cases = [numbered(0, [3, 4, 2], 2), numbered(1, [5, 2, 3], 2)];
    const source = trainingBatches(set(...cases), { multiple: 2, batchSize: 2 });
    expect(source.size).toEqual([6, 4, 4]);
    expect(source.batchesPerEpoch).toBe(1);
    const batch = await source.batch(0, 0);
    expect([...batch.cases].sort()).toEqual([0, 1]);
    const voxels = 6 * 4 * 4;
    batch.cases.forEach((index, sample) => {
      const { image, label, shape } = cases[index]!;
      for (let z = 0; z < 4; z++)
        for (let y = 0; y < 4; y++)
          for (let x = 0; x < 6; x++) {
            const inside = x < shape[0] && y < shape[1] && z < shape[2];
            const to = at(0, x, y, z, source.size);
            expect(batch.label[sample * voxels + to]).toBe(inside ? label![at(0, x, y, z, shape)] : ignored);
            for (let c = 0; c < 2; c++)
              expect(batch.image[(sample * 2 + c) * voxels + to]).toBe(
                inside ? image[at(c, x, y, z, shape)] : 0,
              );
          }
    });
  });

  test('every case is seen equally often, in another order each pass, and any position can be asked first', async () => {
    const cases = set(...Array.from({ length: 5 }, (_, id) => numbered(id, [2, 2, 2])));
    const source = trainingBatches(cases, { batchSize: 2, seed: 3 });
    expect(source.batchesPerEpoch).toBe(3);
    const seen: number[] = [];
    for (let step = 0; step < 5; step++)
      seen.push(...(await source.batch(Math.floor(step / 3), step % 3)).cases);
    expect([...seen.slice(0, 5)].sort()).toEqual([0, 1, 2, 3, 4]);
    expect([...seen.slice(5)].sort()).toEqual([0, 1, 2, 3, 4]);
    expect(seen.slice(0, 5)).not.toEqual(seen.slice(5));

    const again = trainingBatches(cases, { batchSize: 2, seed: 3 });
    expect((await again.batch(1, 1)).cases).toEqual(seen.slice(8));
    expect(again.identity).toEqual(source.identity);
    const other = trainingBatches(cases, { batchSize: 5, seed: 4 });
    expect((await other.batch(0, 0)).cases).not.toEqual(seen.slice(0, 5));
  });
});

describe('patches', () => {
  const shape: Size3 = [9, 8, 7];

  /** Corner of the patch, told by its first voxel. */
  async function starts(options: Parameters<typeof trainingBatches>[1], count: number): Promise<Size3[]> {
    const source = trainingBatches(set(numbered(0, shape)), { batchSize: 1, patch: [4, 4, 3], ...options });
    return Promise.all(
      Array.from({ length: count }, async (_, index): Promise<Size3> => {
        const { image, label } = await source.batch(0, index);
        const first = image[0]! - 1;
        const start: Size3 = [first % 9, Math.floor(first / 9) % 8, Math.floor(first / 72)];
        expect(image.at(-1)).toBe(1 + at(0, start[0] + 3, start[1] + 3, start[2] + 2, shape));
        expect(label).not.toContain(ignored);
        return start;
      }),
    );
  }

  test('lie anywhere inside and repeat', async () => {
    const found = await starts({ oversample: 0, seed: 1 }, 80);
    for (const [axis, room] of [5, 4, 4].entries()) {
      const places = new Set(found.map((start) => start[axis]));
      expect(places.size).toBe(room + 1);
    }
    expect(await starts({ oversample: 0, seed: 1 }, 80)).toEqual(found);
    expect(await starts({ oversample: 0, seed: 2 }, 80)).not.toEqual(found);
  });

  test('hold foreground as often as asked', async () => {
    const corner = (list: Size3[]) => list.filter((start) => start.join() === '5,4,4').length / list.length;
    expect(corner(await starts({ oversample: 1 }, 20))).toBe(1);
    expect(corner(await starts({ oversample: 0 }, 200))).toBeLessThan(0.05);
    const third = corner(await starts({}, 300));
    expect(third).toBeGreaterThan(0.25);
    expect(third).toBeLessThan(0.43);
  });

  test('in the middle, and padded where the volume is smaller', async () => {
    expect(await starts({ placement: 'centre' }, 2)).toEqual([
      [2, 2, 2],
      [2, 2, 2],
    ]);
    const source = trainingBatches(set(numbered(0, [2, 9, 2])), {
      batchSize: 1,
      patch: [3, 3, 3],
      multiple: 4,
    });
    expect(source.size).toEqual([4, 4, 4]);
    const { label } = await source.batch(0, 0);
    expect(label.filter((value) => value !== ignored)).toHaveLength(2 * 4 * 2);
  });
});

describe('cases that are known in part', () => {
  const shape: Size3 = [9, 8, 24];
  const area = 9 * 8;
  const patch: Size3 = [4, 4, 4];

  /** Slices 3 and 20 are background, with one voxel of 1 and two of 2 in them; the rest is unknown. */
  function drawn(): PreparedCase {
    const label = new Uint8Array(area * 24).fill(ignored);
    for (const z of [3, 20]) label.fill(0, z * area, (z + 1) * area);
    label[at(0, 8, 7, 3, shape)] = 1;
    label.fill(2, at(0, 0, 0, 20, shape), at(0, 2, 0, 20, shape));
    return { ...numbered(0, shape), label };
  }
  /** The labels of some patches. */
  async function labels(options: Parameters<typeof trainingBatches>[1], count = 60) {
    const source = trainingBatches(set(drawn()), { batchSize: 1, patch, ...options });
    return Promise.all(
      Array.from({ length: count }, async (_, index) => (await source.batch(0, index)).label),
    );
  }

  test('patches lie around known voxels, all over them, and repeat from any position', async () => {
    const found = await labels({ oversample: 0, seed: 2 });
    const rows = found.map((label) => {
      const slices = [0, 1, 2, 3].filter((z) => label[z * 16] !== ignored);
      expect(slices).toHaveLength(1); // whole in the plane, one slice deep
      expect(label.filter((value) => value !== ignored)).toHaveLength(16);
      return slices[0];
    });
    expect(new Set(rows)).toEqual(new Set([2])); // the known voxel is the patch's centre, but at the volume's border
    expect(new Set(found.map(String)).size).toBeGreaterThan(3);
    const again = trainingBatches(set(drawn()), { batchSize: 1, patch, oversample: 0, seed: 2 });
    expect((await again.batch(0, 41)).label).toEqual(found[41]);
  });

  test('those of foreground lie around the classes that are drawn, each as often', async () => {
    const found = await labels({ oversample: 1 }, 80);
    const ones = found.filter((label) => label.includes(1)).length;
    expect(found.filter((label) => label.includes(2))).toHaveLength(80 - ones);
    // Binomial with mean 40 and deviation 4.5.
    expect(Math.abs(ones - 40)).toBeLessThan(18);
  });

  test('where regions are found, they lie around a voxel of one of those', async () => {
    const regions = [{ labels: [1, 2] }, { labels: [1] }, { labels: [7] }]; // of the last is nothing
    const found = await labels({ oversample: 1, regions }, 400);
    const ones = found.filter((label) => label.includes(1)).length;
    // A third of the voxels of the first are 1: two thirds of the patches, with deviation 9.4.
    expect(Math.abs(ones - 267)).toBeLessThan(38);
  });

  test('of a case without foreground all lie around what is known', async () => {
    const bare = { ...drawn(), label: drawn().label!.map((value) => (value === ignored ? ignored : 0)) };
    const source = trainingBatches(set(bare), { batchSize: 1, patch, oversample: 1 });
    for (let index = 0; index < 20; index++) expect((await source.batch(0, index)).label).toContain(0);
  });

  test('a case of which nothing is known, or nothing in the middle where patches lie, is named', async () => {
    const nothing = { ...drawn(), label: new Uint8Array(area * 24).fill(ignored) };
    for (const options of [{ patch }, {}])
      await expect(trainingBatches(set(nothing), options).batch(0, 0)).rejects.toThrow(
        /^Case "c0" has no annotated voxel; annotate some of it/,
      );
    const middle = trainingBatches(set(drawn()), { patch, placement: 'centre' });
    await expect(middle.batch(0, 0)).rejects.toThrow(/no annotated voxel in the patch in its middle;/);
    await expect(assertKnownInMiddle(set(drawn()), patch)).rejects.toThrow(/"c0" .* in its middle;/);
    await assertKnownInMiddle(set(drawn()), [32, 32, 32]); // the whole of it
    // What a margin shows beyond the patch is not trained on.
    const wide = trainingBatches(set(drawn()), { patch, placement: 'centre', margin: () => [0, 0, 8] });
    await expect(wide.batch(0, 0)).rejects.toThrow(InvalidDataset);
  });
});

describe("nnU-Net's batches", () => {
  test('draw cases again and again, at any position the same', async () => {
    const cases = set(...Array.from({ length: 5 }, (_, id) => numbered(id, [2, 2, 2])));
    const options = { batchSize: 5, seed: 3, order: 'draws', batchesPerEpoch: 40 } as const;
    const source = trainingBatches(cases, options);
    const drawn = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => (await source.batch(0, i)).cases),
    );
    expect(drawn.some((batch) => new Set(batch).size < 5)).toBe(true);
    const counts = [0, 1, 2, 3, 4].map((id) => drawn.flat().filter((index) => index === id).length);
    // Binomial with mean 40 and deviation 5.7.
    for (const count of counts) expect(Math.abs(count - 40)).toBeLessThan(24);
    expect((await trainingBatches(cases, options).batch(0, 7)).cases).toEqual(drawn[7]);
    expect(source.identity).not.toEqual(trainingBatches(cases, { ...options, order: 'passes' }).identity);
  });

  // Of 2 samples 0.67 · 2 = 1.34 → 1 is not forced, of 7 4.69 → 5, of 12 8.04 → 8, as Python rounds.
  test.each([
    [2, 1, [1]],
    [1, 2, [1]],
    [7, 1, [5, 6]],
    [4, 3, [8, 9, 10, 11]],
  ])(
    'of %i samples in %i batches, the last places hold foreground',
    async (batchSize, accumulate, forced) => {
      const shape: Size3 = [9, 8, 7];
      const [patch, share] = [[4, 4, 3] as const, 0.33];
      const source = trainingBatches(set(numbered(0, shape)), {
        ...{ batchSize, accumulate, patch, oversample: share, batchesPerEpoch: 20 * accumulate },
        oversampling: 'places',
      });
      const voxels = 4 * 4 * 3;
      const always = new Set(Array.from({ length: batchSize * accumulate }, (_, place) => place));
      for (let index = 0; index < 20 * accumulate; index++) {
        const { label } = await source.batch(0, index);
        for (let sample = 0; sample < batchSize; sample++)
          if (!label.subarray(sample * voxels, (sample + 1) * voxels).includes(1))
            always.delete((index % accumulate) * batchSize + sample);
      }
      expect([...always]).toEqual(forced);
    },
  );
});

test('a margin shows what lies around the patch, and 0 and 255 outside the volume', async () => {
  const shape: Size3 = [9, 8, 7];
  const options = { batchSize: 1, patch: [4, 4, 3] as const, oversample: 0 };
  const one = set(numbered(0, shape, 2));
  const plain = trainingBatches(one, options);
  const wide = trainingBatches(one, { ...options, margin: () => [4, 1, 2] });
  expect(wide).toMatchObject({ size: [4, 4, 3], margin: [4, 1, 2] });
  expect(wide.identity).not.toEqual(plain.identity);
  for (let index = 0; index < 10; index++) {
    const [inner, outer] = [await plain.batch(0, index), await wide.batch(0, index)];
    const corner = inner.image[0]! - 1;
    const start: Size3 = [corner % 9, Math.floor(corner / 9) % 8, Math.floor(corner / 72)];
    for (let z = 0; z < 7; z++)
      for (let y = 0; y < 6; y++)
        for (let x = 0; x < 12; x++) {
          const [i, j, k] = [start[0] + x - 4, start[1] + y - 1, start[2] + z - 2];
          const inside = [i, j, k].every((place, axis) => place >= 0 && place < shape[axis]!);
          const to = at(0, x, y, z, [12, 6, 7]);
          for (const c of [0, 1])
            expect(outer.image[c * 12 * 6 * 7 + to]).toBe(inside ? 1 + at(c, i, j, k, shape) : 0);
          expect(outer.label[to] === ignored).toBe(!inside);
        }
  }
});

test('no case, no label and options outside their range are refused', async () => {
  const one = set(numbered(0, [2, 2, 2]));
  expect(() => trainingBatches(set())).toThrow(InvalidDataset);
  expect(() => trainingBatches(one, { batchSize: 0 })).toThrow(InvalidOption);
  expect(() => trainingBatches(one, { patch: [4, 0, 4] })).toThrow(
    /patch\[1\] is 0; give a whole number from 1 on/,
  );
  expect(() => trainingBatches(one, { oversample: 2 })).toThrow(InvalidOption);
  const { id, image, shape, channels, spacing } = numbered(0, [2, 2, 2]);
  const unlabelled = { id, image, shape, channels, spacing };
  await expect(trainingBatches(set(unlabelled)).batch(0, 0)).rejects.toThrow(/"c0" has no label/);
});
