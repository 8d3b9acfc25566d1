/** What is drawn on a case, without a browser: grids, labels, steps back and forth, shapes between slices. */
import { NVImage } from '@niivue/niivue';
import { expect, test, vi } from 'vitest';
import {
  accept,
  drawnBackground,
  drawnOf,
  drawnSlices,
  flood,
  labelsOf,
  noMarks,
  placesOfSlice,
  withSlice,
} from '../../examples/browser/src/annotate/drawing.ts';
import {
  displayShape,
  placesInFile,
  sliceOfFile,
  toDisplay,
  toFile,
  voxelOfDisplay,
  type Turn,
} from '../../examples/browser/src/annotate/grid.ts';
import { DrawingHistory } from '../../examples/browser/src/annotate/history.ts';
import { interpolate } from '../../examples/browser/src/annotate/interpolate.ts';
import { countOf, greysOf } from '../../examples/browser/src/annotate/scan.ts';
import { Tally } from '../../examples/browser/src/annotate/tally.ts';
import { readNifti, writeNifti } from '../../src/node.ts';

const orders = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
] as const;
const signs = [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => [0, 1, 2].map((at) => ((bits >> at) & 1 ? -1 : 1)));
const shape = [3, 4, 5] as const;
const spacing = [1.5, 0.75, 2];

type Matrix = readonly (readonly number[])[];
const times = (a: Matrix, b: Matrix): number[][] =>
  a.map((row) => b[0]!.map((_, column) => row.reduce((sum, value, at) => sum + value * b[at]![column]!, 0)));
/** Small turns about x and z: the axes keep their order. */
const oblique = times(
  [
    [1, 0, 0],
    [0, Math.cos(0.2), -Math.sin(0.2)],
    [0, Math.sin(0.2), Math.cos(0.2)],
  ],
  [
    [Math.cos(0.3), -Math.sin(0.3), 0],
    [Math.sin(0.3), Math.cos(0.3), 0],
    [0, 0, 1],
  ],
);
const straight: Matrix = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
];

/** Axis `order[i]` of the file lies along direction i of the patient, in this sense, after which all is turned. */
const orientations = orders.flatMap((order) =>
  signs.flatMap((sense) =>
    [straight, oblique].map((rotation) => {
      const plain = [0, 1, 2].map((direction) =>
        [0, 1, 2].map((axis) => (order[direction] === axis ? sense[direction]! * spacing[axis]! : 0)),
      );
      const turned = times(rotation, plain);
      const offsets = [-10, 20.5, 3];
      return { order, sense, matrix: turned, plain, offsets };
    }),
  ),
);

const valueAt = (voxel: number): number => (voxel * 7 + 3) % 251;

test('NiiVue shows the voxels of a drawing where the file has them, in all orientations and oblique ones', async () => {
  vi.spyOn(console, 'warn').mockImplementation(() => undefined); // of oblique ones
  for (const { order, sense, matrix, plain, offsets } of orientations) {
    const affine = [...matrix.flatMap((row, at) => [...row, offsets[at]!]), 0, 0, 0, 1];
    const data = Uint8Array.from({ length: 60 }, (_, voxel) => valueAt(voxel));
    const bytes = await writeNifti({ data, shape: [...shape], affine }, { gzip: false });
    const image = await NVImage.loadFromFile({
      file: new File([bytes as Uint8Array<ArrayBuffer>], 'scan.nii'),
      name: 'scan.nii',
    });
    const turn = image.permRAS as unknown as Turn;
    expect(turn).toEqual(order.map((axis, direction) => sense[direction]! * (axis + 1)));
    const size = displayShape(shape, turn);
    expect(size).toEqual(image.dimsRAS!.slice(1));
    // Where a voxel lies along the patient's directions, counted from the lowest place, is where it is shown.
    const expected = new Uint8Array(60);
    for (let voxel = 0; voxel < 60; voxel++) {
      const place = [voxel % 3, Math.floor(voxel / 3) % 4, Math.floor(voxel / 12)];
      const [i, j, k] = plain.map((row) => {
        const along = row.reduce((sum, value, axis) => sum + value * place[axis]!, 0);
        const lowest = row.reduce((sum, value, axis) => sum + Math.min(0, value * (shape[axis]! - 1)), 0);
        return Math.round((along - lowest) / Math.abs(row.find((value) => value !== 0)!));
      }) as [number, number, number];
      expected[i + size[0] * (j + size[1] * k)] = valueAt(voxel);
    }
    expect(toDisplay(data, shape, turn)).toEqual(expected);
    expect(toFile(expected, shape, turn)).toEqual(data);
    const inFile = placesInFile(shape, turn);
    expect(expected.map((_, at) => data[inFile(at)]!)).toEqual(expected);
    const [x, y, z] = voxelOfDisplay([1, 2, 3], shape, turn);
    expect(expected[x + size[0] * (y + size[1] * z)]).toBe(valueAt(1 + 3 * (2 + 4 * 3)));
    // A slice of the file holds the same voxels as that of the display.
    for (const axis of [0, 1, 2] as const)
      for (let index = 0; index < size[axis]; index++) {
        const slice = sliceOfFile({ axis, index }, shape, turn);
        const held = (values: Uint8Array, within: readonly number[], across: number, at: number): number[] =>
          [...values]
            .filter((_, voxel) => {
              const place = [
                voxel % within[0]!,
                Math.floor(voxel / within[0]!) % within[1]!,
                Math.floor(voxel / (within[0]! * within[1]!)),
              ];
              return place[across] === at;
            })
            .sort((a, b) => a - b);
        expect(held(data, shape, slice.axis, slice.index)).toEqual(held(expected, size, axis, index));
      }
  }
});

test('what is not drawn is background in complete slices and cases, and unknown elsewhere', () => {
  const drawn = new Uint8Array(2 * 2 * 3);
  drawn[0] = 2;
  drawn[5] = drawnBackground;
  expect([...labelsOf(drawn, [2, 2, 3], noMarks)]).toEqual([
    2,
    255,
    255,
    255,
    255,
    0,
    ...Array<number>(6).fill(255),
  ]);
  const oneSlice = withSlice(noMarks, { axis: 2, index: 0 }, true);
  expect([...labelsOf(drawn, [2, 2, 3], oneSlice)].slice(0, 6)).toEqual([2, 0, 0, 0, 255, 0]);
  expect(withSlice(oneSlice, { axis: 2, index: 0 }, false)).toEqual(noMarks);
  const across = withSlice(noMarks, { axis: 0, index: 1 }, true);
  expect([...labelsOf(drawn, [2, 2, 3], across, 7)]).toEqual([2, 0, 7, 0, 7, 0, 7, 0, 7, 0, 7, 0]);
  expect([...labelsOf(drawn, [2, 2, 3], { ...noMarks, whole: true })]).toEqual([
    2,
    ...Array<number>(11).fill(0),
  ]);
  expect(drawnSlices(drawn, [2, 2, 3], 2)).toEqual([0, 1]);
});

test('labels become a drawing that says the same', () => {
  const sparse = Uint8Array.from([0, 1, 255, 2]);
  expect(labelsOf(drawnOf(sparse, 255), [4, 1, 1], noMarks)).toEqual(sparse);
  const dense = Uint8Array.from([0, 1, 0, 2]);
  expect(labelsOf(drawnOf(dense, 255), [4, 1, 1], { ...noMarks, whole: true })).toEqual(dense);
});

test('proposals fill what is not drawn, in a slice or of a class', () => {
  const proposal = Uint8Array.from([1, 2, 1, 2, 0, 2]);
  const begun = Uint8Array.from([2, 0, 0, 0, 0, 0]);
  const accepted = (where: Parameters<typeof accept>[3]): number[] => {
    const drawn = begun.slice();
    accept(drawn, proposal, [2, 3, 1], where);
    return [...drawn];
  };
  expect(accepted({})).toEqual([2, 2, 1, 2, 0, 2]);
  expect(accepted({ value: 1 })).toEqual([2, 0, 1, 0, 0, 0]);
  expect(accepted({ slice: { axis: 1, index: 1 } })).toEqual([2, 0, 1, 2, 0, 0]);
});

test('filling stops at outlines, and stays in its slice', () => {
  const side = 5;
  const drawn = new Uint8Array(side * side * 2);
  for (const at of [6, 7, 8, 11, 13, 16, 17, 18]) drawn[at] = 1; // a ring about the centre
  flood(drawn, [side, side, 2], 2, [2, 2, 0], 1);
  expect([...drawn].filter((value) => value === 1)).toHaveLength(9);
  flood(drawn, [side, side, 2], 2, [0, 0, 0], 3);
  expect([...drawn].filter((value) => value === 3)).toHaveLength(16);
});

test('steps are undone and done again with their marks, and a new one ends what was undone', () => {
  const drawn = new Uint8Array(8);
  const history = new DrawingHistory(drawn, noMarks);
  expect(history.record(drawn, noMarks)).toBeUndefined();
  drawn[3] = 1;
  history.record(drawn, noMarks);
  const marked = withSlice(noMarks, { axis: 2, index: 1 }, true);
  drawn.set([2, 2], 3);
  history.record(drawn, marked);
  expect(history.undo(drawn)!.marks).toBe(noMarks);
  expect([...drawn]).toEqual([0, 0, 0, 1, 0, 0, 0, 0]);
  expect(history.redo(drawn)!.marks).toBe(marked);
  expect([...drawn]).toEqual([0, 0, 0, 2, 2, 0, 0, 0]);
  history.undo(drawn);
  history.undo(drawn);
  expect([...drawn]).toEqual(Array<number>(8).fill(0));
  expect(history.undo(drawn)).toBeUndefined();
  drawn[0] = 5;
  history.record(drawn, noMarks);
  expect(history.canRedo).toBe(false);
});

test('a step in one slice is found there, and undone', () => {
  const size = [4, 3, 2] as const;
  const drawn = new Uint8Array(24);
  const history = new DrawingHistory(drawn, noMarks);
  for (const axis of [0, 1, 2] as const) {
    const places = placesOfSlice(size, { axis, index: 1 });
    expect(places).toHaveLength(24 / size[axis]);
    drawn[places[1]!] = 3;
    expect([...history.record(drawn, noMarks, places)!.places]).toEqual([places[1]]);
    history.undo(drawn);
    expect(drawn.every((value) => value === 0)).toBe(true);
  }
});

test('drawn slices are known after any step as if they were counted anew', () => {
  const size = [4, 3, 2] as const;
  const drawn = new Uint8Array(24);
  drawn.set([1, 1], 5);
  const tally = new Tally(drawn, size);
  const history = new DrawingHistory(drawn, noMarks);
  const holds = (): void => {
    for (const axis of [0, 1, 2] as const) expect(tally.slices(axis)).toEqual(drawnSlices(drawn, size, axis));
    expect(tally.isEmpty).toBe(drawn.every((value) => value === 0));
  };
  holds();
  drawn.fill(2, 3, 20); // classes change, and voxels are drawn
  drawn[5] = 0;
  tally.take(history.record(drawn, noMarks)!);
  holds();
  expect(tally.fewestSlices).toBe(2);
  drawn.fill(0);
  tally.take(history.record(drawn, noMarks)!);
  holds();
  for (let steps = 0; steps < 2; steps++) {
    tally.take(history.undo(drawn)!);
    holds();
  }
  tally.take(history.redo(drawn)!);
  holds();
});

test('between discs of two sizes lie discs of the sizes between them, also where voxels are no squares', () => {
  const [nx, ny, nz] = [64, 32, 5];
  const mm = [1, 2, 3] as const;
  const drawn = new Uint8Array(nx * ny * nz);
  const radius = (x: number, y: number): number => Math.hypot((x - 31.5) * mm[0], (y - 15.5) * mm[1]);
  for (const [z, within] of [
    [0, 8],
    [4, 24],
  ] as const)
    for (let y = 0; y < ny; y++)
      for (let x = 0; x < nx; x++) if (radius(x, y) < within) drawn[x + nx * (y + ny * z)] = 3;
  expect(interpolate(drawn, [nx, ny, nz], 2, mm)).toBe(3);
  for (const [z, within] of [
    [1, 12],
    [2, 16],
    [3, 20],
  ] as const) {
    const area =
      drawn.slice(z * nx * ny, (z + 1) * nx * ny).filter((value) => value === 3).length * mm[0] * mm[1];
    expect(Math.abs(Math.sqrt(area / Math.PI) - within)).toBeLessThan(1);
  }
});

test('of a file with several volumes the first is drawn on, and how many there are is known', async () => {
  const data = Float32Array.from({ length: 24 * 5 }, (_, voxel) => (voxel < 24 ? voxel : 99));
  const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const bytes = await writeNifti({ data, shape: [4, 3, 2, 5], affine }, { gzip: false });
  const { volumes, greys, shape } = greysOf(await readNifti(bytes));
  expect([volumes, shape, greys.length]).toEqual([5, [4, 3, 2], 24]);
  const file = new File([bytes as Uint8Array<ArrayBuffer>], 'series.nii');
  const { dims } = (await NVImage.loadFromFile({ file, name: file.name })).hdr!;
  expect(countOf(dims.slice(1, 1 + dims[0]!))).toBe(5);
  expect(countOf([4, 3, 2])).toBe(1);
});
