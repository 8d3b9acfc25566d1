/** The report: every section, the figures of the metrics, no request to anywhere; and pictures on demand. */
import { PNG } from 'pngjs';
import { expect, test } from 'vitest';
import { phantom, phantomLabels } from '../../src/data/phantom.ts';
import { InvalidOption, InvalidVolume } from '../../src/errors.ts';
import { digits } from '../../src/format.ts';
import { evaluateCase } from '../../src/metrics/evaluate.ts';
import { summarise } from '../../src/metrics/summary.ts';
import { casePicture, pickCases } from '../../src/report/cases.ts';
import { classColor, cssColor } from '../../src/report/colors.ts';
import { html } from '../../src/report/html.ts';
import { pictureFormat, renderCase } from '../../src/report/render.ts';
import { reportHtml } from '../../src/report/report.node.ts';
import { reportHtml as reportWithoutDocument } from '../../src/report/report.ts';
import type { ReportData } from '../../src/report/report-data.ts';

const volumes = [0, 1, 2, 3].map((subject) => {
  const { image, labels, ...grid } = phantom(subject, { shape: [16, 16, 8] });
  const prediction = labels.map((label, at) => (at % (9 - 2 * subject) === 0 ? labels[at + 1]! : label));
  return { image: { data: image, ...grid }, truth: labels, prediction };
});
const cases = volumes.map(({ image, truth, prediction }, index) =>
  evaluateCase(
    { ...image, data: truth },
    { ...image, data: prediction },
    { classes: phantomLabels, name: `case <${index}>` },
  ),
);
const data: ReportData = {
  title: 'Pelvis & co',
  command: 'unet3d-gpu train "data" --seed 7',
  labels: phantomLabels,
  config: { features: [8, 16], note: '<script>alert(1)</script>' },
};
const full = async (): Promise<ReportData> => ({
  ...data,
  dataset: { Cases: 4 },
  split: { train: ['a'], test: cases.map(({ name }) => name) },
  history: [1, 2].map((epoch) => ({
    epoch,
    trainLoss: 1 / epoch,
    validationLoss: NaN,
    dice: [1, 0.5, 0.4, 0.3, 0.2, 0.1],
    learningRate: 0.01,
  })),
  cases,
  summary: summarise(cases, { resamples: 50 }),
  pictures: await Promise.all(
    pickCases(cases).map(({ title, index }) =>
      casePicture(title, cases[index]!, volumes[index]!, { labels: phantomLabels }),
    ),
  ),
  memory: { peakBytes: 3 * 2 ** 20, tensors: [{ name: 'encoder.0.conv1', bytes: 4096, first: 0, last: 9 }] },
  timings: [{ name: 'Training', seconds: 61.5 }],
  adapter: 'some adapter',
  versions: { node: '20' },
  seed: 7,
  hashes: { 'model.safetensors': 'c0ffee' },
});

test('a full report has every section, its figures, and asks nobody for anything', async () => {
  const summary = summarise(cases, { resamples: 50 });
  const report = await reportHtml(await full());
  for (const id of ['results', 'cases', 'training', 'data', 'machine', 'repeat'])
    expect(report).toContain(`<section id="${id}">`);
  for (const { dice, hd95 } of summary.classes.slice(1)) {
    expect(report).toContain(
      `>${digits(dice.mean)}<small>${digits(dice.low)} to ${digits(dice.high)}</small>`,
    );
    expect(report).toContain(digits(hd95.mean, 2));
  }
  expect(report).toContain(`[${summary.classes.map(({ dice }) => dice.mean.toFixed(3)).join(', ')}]`);
  expect(report).toContain('<b>4</b><span>cases scored</span>');
  for (const text of [
    'Pelvis &#38; co',
    'c0ffee',
    'some adapter',
    '1:02',
    '3.00 MiB',
    'unet3d-gpu train &#34;data&#34; --seed 7',
  ])
    expect(report).toContain(text);
  expect(report).not.toMatch(/<script|<case \d>|(src|href)="(?!data:|#)/);
  expect(report).not.toMatch(/url\((?!#)/);
  expect(report).toContain(`content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"`);
  expect(report.match(/data:image\/png/g)).toHaveLength(3);
  expect(report.match(/data:image\/gif/g)).toHaveLength(3);
  expect(report.match(/<svg[^>]*aria-label/g)!.length).toBeGreaterThanOrEqual(7);
});

test('sections without data are left out', async () => {
  const report = await reportHtml(data);
  expect(report).toContain('id="repeat"');
  expect(report).not.toMatch(/id="(results|cases|training|data|machine)"/);
});

test('the file stays below 15 MB: pictures that do not fit are named', async () => {
  const big = {
    title: 'Best case',
    name: 'big',
    caption: '',
    png: new Uint8Array(6e6),
    gif: new Uint8Array(6e6),
  };
  const report = await reportHtml({
    ...data,
    pictures: [big, { ...big, name: 'small', gif: new Uint8Array(1e6) }],
  });
  expect(report.length).toBeLessThan(15e6);
  expect(report).toContain('slices of big: left out');
  expect(report).toContain('difference of small');
});

test('best, median and worst are ranked by mean foreground Dice', () => {
  const scored = [0.5, 0.9, 0.7, 0.8, NaN].map((dice) => ({
    ...cases[0]!,
    classes: cases[0]!.classes.map((entry) => ({ ...entry, dice })),
  }));
  expect(pickCases(scored)).toEqual([
    { title: 'Best case', index: 1 },
    { title: 'Median case', index: 3 },
    { title: 'Worst case', index: 0 },
  ]);
  expect(pickCases(cases.slice(0, 1))).toEqual([{ title: 'Best case', index: 0 }]);
});

test('without a document the report says so', async () => {
  await expect(reportWithoutDocument(data)).rejects.toThrow(InvalidOption);
});

test('text in templates is escaped, what is HTML already is not', () => {
  expect(html`<i>${'<b>'}${[html`<u>${1}</u>`, undefined]}</i>`.html).toBe('<i>&#60;b&#62;<u>1</u></i>');
});

test('render makes the file that the name asks for', async () => {
  const { image, truth, prediction } = volumes[0]!;
  const input = {
    name: 'a',
    image,
    truth: { ...image, data: truth },
    prediction: { ...image, data: prediction },
  };
  expect(['a.PNG', 'b.x.gif'].map(pictureFormat)).toEqual(['png', 'gif']);
  const picture = PNG.sync.read(Buffer.from(await renderCase(input, 'png', { panel: 50 })));
  const alone = PNG.sync.read(Buffer.from(await renderCase({ name: 'a', image }, 'png', { panel: 500 })));
  expect([picture.width, alone.width]).toEqual([320, 524]);
  expect(String.fromCharCode(...(await renderCase(input, 'gif', { panel: 50 })).subarray(0, 6))).toBe(
    'GIF89a',
  );
  expect(() => pictureFormat('a.jpg')).toThrow('got "a.jpg"');
  await expect(renderCase(input, 'gif', { slice: 3 })).rejects.toThrow(InvalidOption);
  const other = { ...image, data: truth, shape: [8, 16, 16] };
  await expect(renderCase({ name: 'a', image, prediction: other }, 'png')).rejects.toThrow(
    'the prediction has 8 x 16 x 16 voxels',
  );
  const half = { ...image, data: image.data.map((_, at) => (at === 5 ? 0.5 : 0)) };
  await expect(renderCase({ name: 'a', image, truth: half }, 'png')).rejects.toThrow(InvalidVolume);
});

test('regions have the colours that pictures show them in, which go by the label that is written', async () => {
  const labels = ['background', 'organ', 'lesion'];
  const two = cases.map((entry) => ({ ...entry, classes: entry.classes.slice(0, 3) }));
  const given = await full();
  const regions = {
    ...given,
    labels,
    cases: two,
    summary: summarise(two, { resamples: 50 }),
    history: given.history!.map((row) => ({ ...row, dice: [1, 0.5, 0.4] })),
    pictures: [],
  };
  const swatches = (text: string): string[] =>
    [...text.matchAll(/class="swatch" style="background:([^"]+)"/g)].map(([, color]) => color!);
  const colours = (...values: number[]): string[] => values.map((value) => cssColor(classColor(value)));
  expect(swatches(await reportHtml(regions))).toEqual(colours(1, 2));
  const report = await reportHtml({ ...regions, labelValues: [0, 3, 2] });
  expect(swatches(report)).toEqual(colours(3, 2));
  expect(report).not.toContain(colours(1)[0]);
});
