/** What is drawn on a case, without a browser: grids, labels, steps back and forth, shapes between slices. */
import { gunzipSync } from 'node:zlib';
import { NVImage } from '@niivue/niivue';
import { expect, test, vi } from 'vitest';
import {
  accepted,
  drawnBackground,
  drawnOf,
  flood,
  labelsOf,
  noMarks,
  paintsTo,
  placesOfSlice,
  withSlice,
  type Paint,
} from '../../examples/browser/src/annotate/drawing.ts';
import {
  displayShape,
  placesInFile,
  sliceOfFile,
  toDisplay,
  voxelOfDisplay,
  type Turn,
} from '../../examples/browser/src/annotate/grid.ts';
import { DrawingHistory, type Lot } from '../../examples/browser/src/annotate/history.ts';
import { grown } from '../../examples/browser/src/annotate/grow.ts';
import { gapsBetween, interpolated } from '../../examples/browser/src/annotate/interpolate.ts';
import { countOf, greysOf } from '../../examples/browser/src/annotate/scan.ts';
import { packed } from '../../examples/browser/src/annotate/packing.ts';
import { Tally } from '../../examples/browser/src/annotate/tally.ts';
import { readNifti, writeNifti } from '../../src/node.ts';
import { dataJob } from '../support/page-worker.ts';

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

/** Of a NIfTI-1 file: shape, spacing, and where the voxels lie, as it is stored. */
const gridOf = (file: Uint8Array): number[][] =>
  [
    [40, 56], // dim
    [76, 108], // pixdim
    [252, 328], // both codes, quaternion, offsets, rows of the sform
  ].map(([from, to]) => [...file.slice(from, to)]);

test('a drawing is shown by NiiVue where the file has its voxels, and written there, in all orientations and oblique ones', async () => {
  vi.spyOn(console, 'warn').mockImplementation(() => undefined); // of oblique ones
  for (const { order, sense, matrix, plain, offsets } of orientations) {
    const affine = [...matrix.flatMap((row, at) => [...row, offsets[at]!]), 0, 0, 0, 1];
    const data = Uint8Array.from({ length: 60 }, (_, voxel) => valueAt(voxel));
    const bytes = await writeNifti({ data, shape: [...shape], affine }, { gzip: false });
    bytes[252] = 2; // the code of the quaternion, other than that of the rows
    const file = new File([bytes], 'scan.nii');
    const image = await NVImage.loadFromFile({ file, name: 'scan.nii' });
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
    const inFile = placesInFile(shape, turn);
    expect(expected.map((_, at) => data[inFile(at)]!)).toEqual(expected);
    const labels = new Uint8Array(60);
    expected.forEach((label, at) => (labels[inFile(at)] = label));
    const name = 'scan_labels.nii.gz';
    const drawing = { voxels: await packed(labels), shape, marks: { whole: true, slices: [[], [], []] } };
    const saved = (await dataJob('label', { image: file, drawing, unknown: 255, name, changed: 0 })) as File;
    const written = gunzipSync(await saved.bytes());
    expect(gridOf(written)).toEqual(gridOf(bytes));
    expect(new Uint8Array(written.subarray(352))).toEqual(data);
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
});

test('labels become a drawing that says the same', () => {
  const sparse = Uint8Array.from([0, 1, 255, 2]);
  expect(labelsOf(drawnOf(sparse, 255).drawn, [4, 1, 1], noMarks)).toEqual(sparse);
  const dense = Uint8Array.from([0, 1, 0, 2]);
  expect(labelsOf(drawnOf(dense, 255).drawn, [4, 1, 1], { ...noMarks, whole: true })).toEqual(dense);
});

const noRest = (): Promise<void> => Promise.resolve();

function paint(drawn: Uint8Array, paints: readonly Paint[]): Uint8Array {
  for (const { places, values } of paints) places.forEach((at, index) => (drawn[at] = values[index]!));
  return drawn;
}

test('what makes a drawing another is found in parts, of which none is large', async () => {
  const drawn = Uint8Array.from({ length: 100_000 }, (_, at) => at % 3);
  const wanted = Uint8Array.from({ length: 100_000 }, (_, at) => (at % 5 === 0 ? at % 3 : 7));
  const paints = await paintsTo(drawn, wanted, noRest);
  expect(paints.map(({ places }) => places.length)).toEqual([2 ** 16, 80_000 - 2 ** 16]);
  expect(Buffer.compare(paint(drawn, paints), wanted)).toBe(0);
});

test('proposals fill what is not drawn, in a slice or of a class', async () => {
  const proposal = Uint8Array.from([1, 2, 1, 2, 0, 2]);
  const begun = Uint8Array.from([2, 0, 0, 0, 0, 0]);
  const drawnWith = async (where: Parameters<typeof accepted>[3]): Promise<number[]> => [
    ...paint(begun.slice(), await accepted(begun, proposal, [2, 3, 1], where, noRest)),
  ];
  expect(await drawnWith({})).toEqual([2, 2, 1, 2, 0, 2]);
  expect(await drawnWith({ value: 1 })).toEqual([2, 0, 1, 0, 0, 0]);
  expect(await drawnWith({ slice: { axis: 1, index: 1 } })).toEqual([2, 0, 1, 2, 0, 0]);
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

/** Takes the last step back, or again, and returns the marks that hold then. */
function go(history: DrawingHistory, drawn: Uint8Array, way: 'back' | 'forth') {
  const { paints, marks, taken } = history[way]!;
  const lots = paints.map((part) => history.draw(drawn, part));
  taken();
  return { marks, lots };
}

test('steps are undone and done again with their marks, and a new one ends what was undone', () => {
  const drawn = new Uint8Array(8);
  const history = new DrawingHistory(drawn.slice(), noMarks);
  expect(history.record(drawn, noMarks)).toBeUndefined();
  drawn[3] = 1;
  history.record(drawn, noMarks);
  const marked = withSlice(noMarks, { axis: 2, index: 1 }, true);
  drawn.set([2, 2], 3);
  history.record(drawn, marked);
  expect(go(history, drawn, 'back').marks).toBe(noMarks);
  expect([...drawn]).toEqual([0, 0, 0, 1, 0, 0, 0, 0]);
  expect(go(history, drawn, 'forth').marks).toBe(marked);
  expect([...drawn]).toEqual([0, 0, 0, 2, 2, 0, 0, 0]);
  go(history, drawn, 'back');
  go(history, drawn, 'back');
  expect([...drawn]).toEqual(Array<number>(8).fill(0));
  expect(history.back).toBeUndefined();
  drawn[0] = 5;
  history.record(drawn, noMarks);
  expect(history.forth).toBeUndefined();
});

test('a step in one slice is found there, and undone', () => {
  const size = [4, 3, 2] as const;
  const drawn = new Uint8Array(24);
  const history = new DrawingHistory(drawn.slice(), noMarks);
  for (const axis of [0, 1, 2] as const) {
    const places = placesOfSlice(size, { axis, index: 1 });
    expect(places).toHaveLength(24 / size[axis]);
    drawn[places[1]!] = 3;
    expect(history.record(drawn, noMarks, places)!.map((lot) => [...lot.places])).toEqual([[places[1]]]);
    go(history, drawn, 'back');
    expect(drawn.every((value) => value === 0)).toBe(true);
  }
});

test('drawn slices are known after any step as if they were counted anew', () => {
  const size = [4, 3, 2] as const;
  const drawn = new Uint8Array(24);
  drawn.set([1, 1], 5);
  const tally = new Tally(size);
  tally.add(drawn, 0, 12);
  tally.add(drawn, 12, 24);
  const history = new DrawingHistory(drawn.slice(), noMarks);
  const holds = (): void => {
    for (const axis of [0, 1, 2] as const) {
      const hasAny = (index: number): boolean =>
        placesOfSlice(size, { axis, index }).some((at) => drawn[at] !== 0);
      expect(tally.slices(axis)).toEqual([0, 1, 2, 3].slice(0, size[axis]).filter(hasAny));
    }
    expect(tally.isEmpty).toBe(drawn.every((value) => value === 0));
  };
  const take = (lots: readonly Lot[]): void => lots.forEach((lot) => tally.take(lot));
  holds();
  drawn.fill(2, 3, 20); // classes change, and voxels are drawn
  drawn[5] = 0;
  take(history.record(drawn, noMarks)!);
  holds();
  expect(tally.fewestSlices).toBe(2);
  drawn.fill(0);
  take(history.record(drawn, noMarks)!);
  holds();
  for (let steps = 0; steps < 2; steps++) {
    take(go(history, drawn, 'back').lots);
    holds();
  }
  take(go(history, drawn, 'forth').lots);
  holds();
});

test('between discs of two sizes lie discs of the sizes between them, also where voxels are no squares', async () => {
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
  const across = { shape: [nx, ny, nz], axis: 2, spacing: mm } as const;
  const gaps = await gapsBetween(drawn, [0, 4], across, noRest);
  const { paints, count } = await interpolated(gaps, across, noRest);
  expect(count).toBe(3);
  paint(drawn, paints);
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

test('strokes grow to the edge in the image and no further, in a volume and in one slice', async () => {
  for (const shape of [
    [9, 8, 7],
    [12, 9, 1],
  ] as const) {
    const [nx, ny, nz] = shape;
    const count = nx * ny * nz;
    const isBright = (at: number): boolean => at % nx < 5;
    const greys = Int16Array.from({ length: count }, (_, at) => (isBright(at) ? 400 : 100) + (at % 3));
    const drawn = new Uint8Array(count);
    const middle = nx * ((ny >> 1) + ny * (nz >> 1));
    for (const row of [middle, middle + nx]) {
      drawn.set([5, 5], row + 1);
      drawn.set([drawnBackground, drawnBackground], row + 6);
    }
    const field = { greys, drawn, shape };
    const paints = await grown(field, { axis: 2, from: 0, to: nz - 1 }, noRest);
    const isIn = Uint8Array.from({ length: count }, (_, at) => (isBright(at) ? 5 : 0));
    for (const row of [middle, middle + nx]) isIn.set([drawnBackground, drawnBackground], row + 6);
    expect(paint(drawn.slice(), paints)).toEqual(isIn);
    const none = grown({ ...field, drawn: new Uint8Array(count) }, { axis: 2, from: 0, to: nz - 1 }, noRest);
    await expect(none).rejects.toThrow('a stroke in the background');
  }
});

test("strokes grow to what NiiVue's shader makes of them", async () => {
  const size = 8 * 6 * 4;
  const greys = Int16Array.from({ length: size }, (_, at) => (at % 8 < 4 ? 150 : 40) + ((at * 37) % 23));
  const drawn = new Uint8Array(size);
  for (const row of [57, 65]) drawn.set([1, 1, 0, 0, 2, 2], row);
  drawn.fill(drawnBackground, 80, 83);
  // Of `drawGrowCut`, NiiVue 0.69.0 in Chromium, which reads the slices back but the last.
  const shown =
    '0000000011112220111122201111222011112220bbbb2000' +
    '1111222011112222b111222211112222bbbb222211112220' +
    '111122201b11222211112222bbbb222211112222bbbb2220';
  const expected = [...shown].map((value) => (value === 'b' ? 0 : Number(value)));
  expected.splice(80, 3, drawnBackground, drawnBackground, drawnBackground);
  const paints = await grown({ greys, drawn, shape: [8, 6, 4] }, { axis: 2, from: 0, to: 2 }, noRest);
  expect([...paint(drawn, paints).subarray(0, 144)]).toEqual(expected);
});

test('strokes grow to edges between values that 16 bits do not hold', async () => {
  const grow = async (image: Float32Array | Uint16Array): Promise<number[]> => {
    const drawn = new Uint8Array(16);
    drawn[0] = 5;
    drawn[15] = drawnBackground;
    const range = { axis: 2, from: 0, to: 0 };
    const given = { image, shape: [16, 1, 1], turn: [1, 2, 3], drawn: drawn.slice(), range };
    return [...paint(drawn, (await dataJob('grow', given)) as Awaited<ReturnType<typeof grown>>)];
  };
  const isIn = Array.from({ length: 16 }, (_, at) => (at < 5 ? 5 : at === 15 ? drawnBackground : 0));
  const values = (bright: number, dark: number): number[] =>
    isIn.map((value) => (value === 5 ? bright : dark));
  for (const image of [
    Float32Array.from(values(0.9, 0.1)),
    Float32Array.from(values(1000.5, 20.5)),
    Uint16Array.from(values(65000, 30000)),
    Float32Array.from(values(1e6, 2e5)),
  ])
    expect(await grow(image)).toEqual(isIn);
});

test('a slice that is still being loaded does not come to the case that is opened next, nor does it end a stroke', async () => {
  let come: () => void = () => undefined;
  vi.doMock('../../examples/browser/src/niivue.ts', () => ({
    keepVolumes: (of: { volumes: object[] }, count: number) => (of.volumes = of.volumes.slice(0, count)),
    loaded: () => new Promise((resolve) => (come = () => resolve({}))),
  }));
  const { OneSlice } = await import('../../examples/browser/src/annotate/one-slice.ts');
  const niivue = {
    volumes: [] as object[],
    drawBitmap: new Uint8Array(4),
    addVolume: (volume: object) => void niivue.volumes.push(volume),
    closeDrawing: () => undefined,
    createEmptyDrawing: () => undefined,
    refreshDrawing: () => undefined,
  };
  const scan = {
    size: [2, 2, 2],
    spacing: [1, 1, 1],
    greys: new Uint8Array(8),
    drawn: new Uint8Array(8).fill(1),
  } as const;
  type Given = ConstructorParameters<typeof OneSlice>;
  const open = (isLocked = false) =>
    new OneSlice(
      niivue as unknown as Given[0],
      scan,
      () => undefined,
      () => isLocked,
    );
  for (const isEnded of [false, true]) {
    const slices = open();
    niivue.volumes = [];
    niivue.drawBitmap.fill(0);
    const shown = slices.show({ axis: 2, index: 0 });
    const loading = come;
    await vi.waitFor(() => expect(come).not.toBe(loading));
    if (isEnded) slices.end();
    come();
    await shown;
    expect([niivue.volumes.length, niivue.drawBitmap[0]]).toEqual(isEnded ? [0, 0] : [1, 1]);
  }
  // A proposal comes while one draws; on a locked board, what NiiVue has is older than the drawing.
  for (const isLocked of [true, false]) {
    const slices = open(isLocked);
    for (const act of [() => slices.show({ axis: 2, index: 0 }), () => slices.propose(undefined)]) {
      const loading = come;
      const shown = act();
      await vi.waitFor(() => expect(come).not.toBe(loading));
      niivue.drawBitmap[3] = 7;
      come();
      await shown;
    }
    expect([scan.drawn[3], niivue.drawBitmap[3]]).toEqual(isLocked ? [1, 1] : [7, 7]);
  }
});

test('of a file with several volumes the first is drawn on, and how many there are is known', async () => {
  const data = Float32Array.from({ length: 24 * 5 }, (_, voxel) => (voxel < 24 ? voxel : 99));
  const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const bytes = await writeNifti({ data, shape: [4, 3, 2, 5], affine }, { gzip: false });
  const { volumes, greys, shape } = greysOf(await readNifti(bytes));
  expect([volumes, shape, greys.length]).toEqual([5, [4, 3, 2], 24]);
  const file = new File([bytes], 'series.nii');
  const { dims } = (await NVImage.loadFromFile({ file, name: file.name })).hdr!;
  expect(countOf(dims.slice(1, 1 + dims[0]!))).toBe(5);
  expect(countOf([4, 3, 2])).toBe(1);
});
