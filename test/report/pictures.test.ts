/** Pictures: PNG and GIF files decode to the pixels that were drawn; slices show the right voxels. */
import { PNG } from 'pngjs';
import { expect, test } from 'vitest';
import { InvalidOption, InvalidVolume } from '../../src/errors.ts';
import { random } from '../../src/data/random.ts';
import { classColor, classColors, differenceColors } from '../../src/report/colors.ts';
import { axisNumber, curves } from '../../src/report/curves.ts';
import { drawText, fitText, textWidth } from '../../src/report/font.ts';
import { encodeGif } from '../../src/report/gif.ts';
import { encodePng } from '../../src/report/png.ts';
import { createPicture, fillRect, stroke, type Picture } from '../../src/report/raster.ts';
import { renderCase } from '../../src/report/render.ts';
import { ticks } from '../../src/report/series.ts';
import { sliceGif, sliceGrid } from '../../src/report/slices.ts';
import { greyWindow, mostTelling, sliceValues, viewOf } from '../../src/report/view.ts';

const pixel = ({ width, data }: Picture, x: number, y: number): number[] => [
  ...data.subarray((y * width + x) * 4, (y * width + x) * 4 + 3),
];
const count = ({ data }: Picture, [r, g, b]: readonly number[]): number => {
  let found = 0;
  for (let at = 0; at < data.length; at += 4)
    if (data[at] === r && data[at + 1] === g && data[at + 2] === b) found++;
  return found;
};

test('a PNG decodes to the same pixels, whatever repeats in it', async () => {
  const picture = createPicture(37, 23, [1, 2, 3]);
  const r = random(5, 'png');
  for (let y = 10; y < 15; y++)
    for (let x = 0; x < 37; x++)
      fillRect(picture, { x, y, width: 1, height: 1 }, [r.int(256), r.int(256), r.int(256)]);
  const decoded = PNG.sync.read(Buffer.from(await encodePng(picture)));
  expect([decoded.width, decoded.height]).toEqual([37, 23]);
  expect(new Uint8Array(decoded.data)).toEqual(picture.data);
});

test('a line has its width in covered pixels and stays inside the picture', () => {
  const picture = createPicture(40, 20);
  stroke(picture, [[-50, 10, 90, 10]], 4, [0, 0, 0]);
  expect(count(picture, [0, 0, 0])).toBe(4 * 40);
  expect(pixel(picture, 20, 7)).toEqual([255, 255, 255]);
});

test('text leaves ink within its width, and unknown characters too', () => {
  for (const text of ['Dice 0.91', 'é', '骨']) {
    const picture = createPicture(200, 40);
    drawText(picture, text, 10, 30, { size: 14, color: [0, 0, 0] });
    let right = 0;
    for (let y = 0; y < 40; y++)
      for (let x = 0; x < 200; x++) if (pixel(picture, x, y)[0]! < 200) right = Math.max(right, x);
    expect(right).toBeGreaterThan(10);
    expect(right).toBeLessThan(10 + textWidth(text, 14) + 1);
  }
  expect(textWidth(fitText('a long name of a file', 60), 10)).toBeLessThanOrEqual(60);
});

test('no colour of a difference can be taken for that of a class', () => {
  const differences = Object.values(differenceColors);
  for (const difference of differences)
    for (const other of [...classColors, ...differences.filter((item) => item !== difference)])
      expect(
        Math.hypot(...difference.rgb.map((value, channel) => value - other.rgb[channel]!)),
        `${difference.name} and ${other.name}`,
      ).toBeGreaterThan(75);
});

test('ticks are round and numbers short', () => {
  expect(ticks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6000000000000001, 0.8, 1]);
  expect(ticks(3, 3, 5)).toEqual([3]);
  expect([0, 0.6000000000000001, 4e-9, 12345, 250000].map(axisNumber)).toEqual([
    '0',
    '0.6',
    '4e-9',
    '12300',
    '2.5e5',
  ]);
});

test('an affine of any orientation gives the same upright slice', () => {
  // value = 100 R + 10 A + S in a canonical 2 x 3 x 4 volume, and the same volume stored as P, S, R.
  const [nr, na, ns] = [2, 3, 4];
  const canonical = { data: [] as number[], shape: [nr, na, ns] };
  for (let s = 0; s < ns; s++)
    for (let a = 0; a < na; a++) for (let r = 0; r < nr; r++) canonical.data.push(100 * r + 10 * a + s);
  const stored = {
    data: [] as number[],
    shape: [na, ns, nr],
    affine: [0, 0, 1, 0, -1, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 1],
  };
  for (let r = 0; r < nr; r++)
    for (let s = 0; s < ns; s++) for (let p = na - 1; p >= 0; p--) stored.data.push(100 * r + 10 * p + s);
  for (const plane of ['axial', 'coronal', 'sagittal'] as const) {
    const [a, b] = [viewOf(canonical, plane), viewOf(stored, plane)];
    expect([b.columns, b.rows, b.slices]).toEqual([a.columns, a.rows, a.slices]);
    for (let slice = 0; slice < a.slices; slice++)
      expect(sliceValues(stored.data, b, slice)).toEqual(sliceValues(canonical.data, a, slice));
  }
  // Radiological: the patient's right and the front come first.
  expect([...sliceValues(canonical.data, viewOf(canonical), 1)]).toEqual([121, 21, 111, 11, 101, 1]);
});

test('an axis without length counts 1 mm and is drawn', async () => {
  const image = { data: Float32Array.from({ length: 24 }, (_, i) => i), shape: [2, 3, 4] };
  const flat = { ...image, affine: [0, 0, 0, 5, 0, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1] };
  expect(viewOf(flat, 'axial')).toMatchObject({ columns: 2, pixelWidth: 1, rows: 3, pixelHeight: 2 });
  expect(viewOf({ ...image, affine: [...new Array<number>(15).fill(0), 1] })).toMatchObject({
    pixelWidth: 1,
  });
  const gif = await renderCase({ name: 'flat', image: flat, truth: image }, 'gif');
  expect(gif.length).toBeGreaterThan(100);
});

test('the most telling slice weighs small classes like large ones', () => {
  const data = new Uint8Array(4 * 4 * 3);
  data.fill(1, 0, 16).fill(1, 16, 30).fill(2, 30, 32);
  expect(mostTelling(data, viewOf({ data, shape: [4, 4, 3] }))).toBe(1);
  expect(mostTelling([], viewOf({ data, shape: [4, 4, 3] }))).toBe(1);
});

test('the grey window leaves out outliers and NaN', () => {
  const data = Float32Array.from({ length: 2001 }, (_, index) => index);
  data[2000] = 1e9;
  data[7] = Number.NaN;
  const [low, high] = greyWindow(data);
  expect(low).toBeCloseTo(20, -1);
  expect(high).toBeCloseTo(1980, -1);
  expect(greyWindow([5, 5])).toEqual([5, 6]);
});

const cube = {
  data: new Float32Array(8 * 8 * 4).map((_, index) => index % 8),
  shape: [8, 8, 4],
  spacing: [1, 1, 4],
};
const ball = Uint8Array.from(cube.data, (_, index) =>
  index % 8 > 2 && index % 8 < 6 && (index >> 3) % 8 > 2 ? 1 : 0,
);

test('a grid keeps the proportions of anisotropic voxels and shows truth and prediction', () => {
  const options = { plane: 'coronal', panel: 160, labels: ['background', 'ball'] } as const;
  const alone = sliceGrid([{ name: 'a', image: cube, truth: ball }], { ...options, columns: ['truth'] });
  // 8 mm wide, 16 mm high: the panel is 80 x 160.
  expect(alone.height).toBe(12 + 160 + 48 + 20);
  expect(count(alone, classColor(1))).toBeGreaterThan(150);
  const empty = sliceGrid(
    [{ name: 'a', image: cube, truth: ball, prediction: new Uint8Array(256) }],
    options,
  );
  expect(count(empty, classColor(1))).toBe(count(alone, classColor(1)));
});

test('what cannot be drawn is refused with the reason', () => {
  expect(() => sliceGrid([])).toThrow(InvalidOption);
  expect(() => sliceGrid([{ name: 'a', image: cube }], { columns: ['truth'] })).toThrow('needs a truth');
  expect(() => sliceGrid([{ name: 'a', image: cube }], { slice: 4 })).toThrow('from 0 to 3');
  expect(() => sliceGrid([{ name: 'a', image: cube, truth: [1] }])).toThrow(InvalidVolume);
  expect(() => viewOf({ data: [1], shape: [2, 2, 2] })).toThrow(InvalidVolume);
  expect(() => curves([])).toThrow(InvalidOption);
  expect(() => encodeGif([])).toThrow(InvalidOption);
});

test('a GIF has one frame per slice, at most the number asked for', () => {
  const frames = (bytes: Uint8Array): number => {
    expect(new TextDecoder().decode(bytes.subarray(0, 6))).toBe('GIF89a');
    let [at, found] = [13 + (bytes[10]! & 128 ? 3 << ((bytes[10]! & 7) + 1) : 0), 0];
    const skipBlocks = (): void => {
      while (bytes[at]! > 0) at += bytes[at]! + 1;
      at++;
    };
    while (bytes[at] !== 0x3b) {
      if (bytes[at] === 0x21) at += 2;
      else {
        found++;
        at += 10 + (bytes[at + 9]! & 128 ? 3 << ((bytes[at + 9]! & 7) + 1) : 0) + 1;
      }
      skipBlocks();
    }
    return found;
  };
  expect(frames(sliceGif(cube, ball, ball, { panel: 40 }))).toBe(4);
  expect(frames(sliceGif(cube, ball, undefined, { panel: 40, frames: 3 }))).toBe(3);
});

test('curves of a thousand epochs and more than a hundred classes are drawn', () => {
  const dice = Array.from({ length: 118 }, (_, label) => label / 118);
  const history = Array.from({ length: 1100 }, (_, epoch) => ({
    ...{ epoch, trainLoss: 1, validationLoss: 1, learningRate: 0.01 },
    dice,
  }));
  expect(curves(history, { width: 300 }).width).toBe(300);
});

test('curves show every series in its colour, single epochs and gaps included', () => {
  const epoch = (number: number) => ({
    epoch: number,
    trainLoss: 1 / number,
    validationLoss: Number.NaN,
    dice: [1, 0.5, 0.7],
    learningRate: 0.01,
  });
  const one = curves([epoch(1)], { labels: ['background', 'a', 'b'] });
  const many = curves([1, 2, 3].map(epoch));
  for (const picture of [one, many])
    for (const { rgb } of classColors.slice(0, 2)) expect(count(picture, rgb)).toBeGreaterThan(56);
  const regions = curves([epoch(1)], { labels: ['background', 'a', 'b'], labelValues: [0, 4, 2] });
  expect(count(regions, classColor(4))).toBe(count(one, classColor(1)));
  expect(count(regions, classColor(1))).toBe(0);
  expect(count(many, classColor(1))).toBeGreaterThan(count(one, classColor(1)));
});
