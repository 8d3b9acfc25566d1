/** The colours of labels, as NiiVue's shader takes them from its texture. */
import { NVImage } from '@niivue/niivue';
import { expect, test } from 'vitest';
import { colormap } from '../../examples/browser/src/niivue.ts';
import { classColor } from '../../src/report/colors.ts';

/** What fragOrientShader makes of a value: a linearly filtered texture, of which any alpha becomes all of it. */
function painted(table: ReturnType<typeof colormap>, value: number): number[] {
  const image = new NVImage();
  image.setColormapLabel(table);
  const { lut, min, max } = image.colormapLabel!;
  const width = max! - min! + 1;
  const share = Math.fround(Math.fround(value - (min! - 0.5)) / width);
  const at = Math.min(1, value > min! - 0.5 ? Math.max(share, 2 / 256) : share) * width - 0.5;
  const [left, right] = [Math.floor(at), Math.floor(at) + 1].map((texel) => {
    const place = 4 * Math.min(width - 1, Math.max(0, texel));
    return [...lut.subarray(place, place + 4)];
  });
  const part = at - Math.floor(at);
  const [r, g, b, a] = left!.map((channel, index) => channel * (1 - part) + right![index]! * part);
  return [r!, g!, b!, a! > 0 ? 255 : 0];
}

const clear = [0, 0, 0, 0];

test('each class is painted in its own colour and nothing else, however many there are', () => {
  for (const count of [1, 2, 3, 4, 63, 64, 65, 118, 126, 127, 128, 300]) {
    const names = Array.from({ length: count }, (_, value) => `class ${value}`);
    const table = colormap(names, () => false, undefined);
    expect(painted(table, 0), `background of ${count}`).toEqual(clear);
    for (let value = 1; value < count; value++)
      expect(painted(table, value), `${value} of ${count}`).toEqual([...classColor(value), 255]);
    for (const value of [count, 255, 1000, 65535].filter((beyond) => beyond >= count))
      expect(painted(table, value), `${value} of ${count}`).toEqual(clear);
  }
});

test('unknown voxels and hidden classes are clear', () => {
  const names = ['background', 'liver', 'tumour', 'ignore'];
  const table = colormap(names, (value) => value === 1, 3);
  expect([1, 3].map((value) => painted(table, value))).toEqual([clear, clear]);
  expect(painted(table, 2)).toEqual([...classColor(2), 255]);
  const far = colormap(names.slice(0, 3), () => false, 255);
  expect([0, 255].map((value) => painted(far, value))).toEqual([clear, clear]);
  expect(painted(far, 1)).toEqual([...classColor(1), 255]);
});
