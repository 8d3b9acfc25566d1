/**
 * The browser example as a visitor uses it: built, served as static files from a sub-path, and driven in Chromium.
 * Any violation of its content security policy is a failure. With UNET3D_SCREENSHOTS set to a folder, pictures of every
 * state are left there, in light and dark, wide and narrow.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { chromium as playwright, type Browser, type Download, type Locator, type Page } from 'playwright';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chromium } from '../../scripts/chromium.ts';
import { phantom, phantomLabels } from '../../src/data/phantom.ts';
import { readNifti, UNet3D, writeNifti } from '../../src/node.ts';
import { turned } from '../cli/support.ts';
import {
  oddFiles,
  picked,
  regions,
  regionsFolder,
  shape as smallShape,
  tidyFolder,
  twoMembers,
  unknownColumns,
} from '../support/page-files.ts';
import { bytesOf, filesInZip } from '../../src/interop/model-files.ts';
import { expectToFitNarrow } from '../support/page-fits.ts';
import { lookOf, type Look } from '../support/page-picture.ts';
import { countIn, countsOf, type Counts } from '../support/page-counts.ts';
import { trainSegmentLook } from '../support/page-round.ts';
import { serveExample, type Site } from '../support/site.ts';
import { asksFirst, inFrontOf, journeyTimeout, visitPage, workers } from '../support/visit.ts';

const screenshots = process.env['UNET3D_SCREENSHOTS'];
const launch = chromium();
const complaints: string[] = [];
const folders: string[] = [];
let site: Site;
let browser: Browser | undefined;

beforeAll(async () => {
  site = await serveExample();
  if (launch) browser = await playwright.launch({ ...launch, headless: true });
});

afterAll(async () => {
  await browser?.close();
  site?.close();
  for (const folder of folders) rmSync(folder, { recursive: true });
});

const visit = (from: Browser): Promise<Page> => visitPage(from, site.address, complaints);

/** In light and dark, at the width of a desk and of a phone. */
async function shot(page: Page, name: string): Promise<void> {
  if (!screenshots) return;
  const before = page.viewportSize()!;
  for (const width of [1280, 390])
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.setViewportSize({ ...before, width });
      await page.emulateMedia({ colorScheme });
      await page.screenshot({
        path: join(screenshots, `${name}-${width}-${colorScheme}.png`),
        fullPage: true,
      });
    }
  await page.setViewportSize(before);
  await page.emulateMedia({ colorScheme: null });
}

/** Leaves three cases to train on and one to validate on: epochs are short. */
async function useFewCases(page: Page): Promise<void> {
  const uses = page.getByLabel(/^Use of /);
  const left: Record<string, number> = { train: 3, validation: 1 };
  for (const use of await uses.all()) {
    const part = await use.inputValue();
    if ((left[part] ?? 0) > 0) left[part]! -= 1;
    else await use.selectOption('unused');
  }
}

/** Runs in the page. A file that is not there yet, or is being replaced at this moment, counts 0. */
async function storedBytes(): Promise<number> {
  try {
    const root = await navigator.storage.getDirectory();
    const directory = await root.getDirectoryHandle('unet3d-gpu-example');
    for await (const [name, handle] of directory.entries())
      if (name.endsWith(' checkpoint.safetensors'))
        return (await (handle as FileSystemFileHandle).getFile()).size;
  } catch {
    // as if it were not there
  }
  return 0;
}

async function content(press: Promise<Download>): Promise<Buffer> {
  return readFileSync(await (await press).path());
}

/** What is set in See changes the picture, and setting it back brings the picture back. */
async function tryControls(page: Page): Promise<void> {
  const canvas = page.getByRole('img', { name: /^Slices and 3-D view: Truth/ });
  const planes = page.getByLabel('Planes');
  await page.getByLabel('White at').and(page.locator(':enabled')).waitFor(); // its volume is there
  const becomes = (isSo: (look: Look) => boolean, what: string) =>
    expect.poll(async () => isSo(await lookOf(canvas)), { message: what, timeout: 60_000 }).toBe(true);
  await planes.selectOption('axial');
  await becomes(({ coloured, grey }) => coloured > 0 && grey > 0, 'axial');
  const axial = await lookOf(canvas);
  await planes.selectOption('coronal');
  await becomes(({ hash }) => hash !== axial.hash, 'coronal');
  const coronal = await lookOf(canvas);
  await planes.selectOption('sagittal');
  await becomes(({ hash }) => hash !== axial.hash && hash !== coronal.hash, 'sagittal');
  const sagittal = await lookOf(canvas);
  await planes.selectOption('3-D');
  const isFlat = ({ hash }: Look) => [axial, coronal, sagittal].some((plane) => plane.hash === hash);
  await becomes((look) => look.coloured > 0 && !isFlat(look), '3-D');
  await planes.selectOption('axial');
  await becomes(({ hash }) => hash === axial.hash, 'axial again');

  const white = page.getByLabel('White at');
  const before = await white.inputValue();
  await white.fill((await white.getAttribute('max'))!);
  const black = page.getByLabel('Black at');
  const low = await black.inputValue();
  await black.fill(String((Number(low) + Number(before)) / 2));
  await becomes(({ grey }) => grey < 0.9 * axial.grey, 'darker');
  await black.fill(low);
  await white.fill(before);

  const seen = page.getByRole('group', { name: 'Classes that are seen' }).getByRole('checkbox');
  for (const box of await seen.all()) await box.uncheck();
  await becomes(({ coloured }) => coloured === 0, 'no class');
  await seen.first().check();
  await becomes(({ coloured }) => coloured > 0 && coloured < axial.coloured, 'one class');
  for (const box of await seen.all()) await box.check();
  await becomes(({ coloured }) => coloured === axial.coloured, 'all classes');
}

/** What the page asks when a button is pressed, which is answered so. */
async function asked(page: Page, name: string, answer: 'accept' | 'dismiss'): Promise<string> {
  const question = new Promise<string>((resolve) =>
    page.once('dialog', (dialog) => void dialog[answer]().then(() => resolve(dialog.message()))),
  );
  await page.getByRole('button', { name }).click();
  return question;
}

test(
  'phantoms are trained on, across a reload, and the segmentation equals that of Node',
  async ({ skip }) => {
    if (!browser) return skip('no Chromium for this machine');
    const page = await visit(browser);
    await page.getByRole('button', { name: 'Try it with phantoms' }).click();
    const next = page.getByRole('button', { name: 'Next: look at the cases' });
    await next.waitFor();
    await useFewCases(page);
    await next.click();
    await page.getByRole('heading', { name: /Truth: phantom/ }).waitFor();
    await shot(page, 'see');
    await tryControls(page);

    await page.getByRole('tab', { name: 'Train' }).click();
    await page.getByLabel('Epochs').fill('60');
    await page.getByLabel('Epochs').press('Tab');
    await page.getByLabel('Features per level').selectOption('8,16');
    await shot(page, 'settings');
    await page.getByLabel('Augmentation').selectOption('none');
    await page.getByRole('button', { name: 'Start training' }).click();
    await page.locator('table.dice').getByText('prostate').waitFor();
    // The checkpoint of an epoch is there, not only that of the beginning.
    await page.getByText(/Training: epoch ([3-9]|\d\d) of 60/).waitFor();
    await expect.poll(() => page.evaluate(storedBytes), { timeout: 60_000 }).toBeGreaterThan(0);
    await shot(page, 'training');
    await page.reload();
    await page.getByRole('button', { name: 'Resume it' }).waitFor();
    await shot(page, 'interrupted');
    await page.getByRole('button', { name: 'Resume it' }).click();
    await page.getByText(/Going on from step \d+ of 180/).waitFor();
    await page.getByText(/Prediction after epoch/).waitFor(); // an epoch or more after the reload
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('button', { name: 'Resume', exact: true }).waitFor();
    await page.getByText('was interrupted.').waitFor({ state: 'hidden' }); // it is at hand
    await shot(page, 'paused');
    await page.getByRole('button', { name: 'Resume', exact: true }).click();
    expect(await asked(page, 'Stop early, keep the best', 'accept')).toMatch(
      /^End this training before its 60 epochs are over\? .* it cannot be resumed\.$/,
    );
    await page.getByRole('button', { name: 'Use this network' }).waitFor();
    await shot(page, 'trained');
    await expectToFitNarrow(page, 'a finished training');

    // The preview shows the classes in their colours.
    await page.getByLabel('Opacity of labels').fill('1');
    const body = await page.getByRole('img', { name: 'Truth, axial' }).evaluate((canvas) => {
      const { data } = (canvas as HTMLCanvasElement).getContext('2d')!.getImageData(0, 0, 200, 190);
      return [...data].filter((_, at) => at % 4 === 0 && [86, 180, 233].every((v, i) => data[at + i] === v))
        .length;
    });
    expect(body).toBeGreaterThan(500);
    // A download that fails says so on the page.
    await page.evaluate(() => {
      const original = URL.createObjectURL.bind(URL);
      URL.createObjectURL = () => {
        URL.createObjectURL = original;
        throw new Error('no room');
      };
    });
    await page.getByRole('button', { name: 'Download the history' }).click();
    await page.getByText('Download the history: no room').waitFor();
    await page.getByRole('button', { name: 'Dismiss' }).click();

    const historyFile = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download the history' }).click();
    const history = (await content(historyFile)).toString().trim().split('\n').slice(1);
    const losses = history.map((line) => Number(line.split(',')[1]));
    // With the epochs before the reload.
    expect(history[0]).toMatch(/^1,/);
    expect(losses.length).toBeGreaterThanOrEqual(2);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
    // The report opens offline, asks nobody for anything, and its figures are those of the page.
    const shown = await page.locator('table.dice td').allTextContents();
    const reportFile = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download the report' }).click();
    const reportText = (await content(reportFile)).toString();
    const offline = await browser.newContext({ offline: true });
    const report = await offline.newPage();
    const requests: string[] = [];
    report.on('request', (request) => requests.push(request.url()));
    await report.setContent(reportText);
    expect(requests.filter((url) => !url.startsWith('data:'))).toEqual([]);
    const figures = (rows: Locator) =>
      rows.evaluateAll((found) =>
        found.map((row) => [...row.querySelectorAll('td')].map((cell) => cell.firstChild?.textContent ?? '')),
      );
    const classes = shown.length;
    const epochs = (await figures(report.locator('#training tbody tr'))).map((row) =>
      row.slice(0, 2 + classes),
    );
    const digits = (value: string | undefined, count: number) => Number(value).toFixed(count);
    expect(epochs).toEqual(
      history
        .map((line) => line.split(','))
        .map(([epoch, loss, validation, , ...rest]) => [
          epoch,
          digits(loss, 4),
          digits(validation, 4),
          ...rest.slice(0, classes - 1).map((dice) => digits(dice, 3)),
        ]),
    );
    expect(epochs[epochs.length - 1]!.slice(3)).toEqual(shown.slice(1));
    // The weights that were kept are those of one of these epochs.
    const results = await figures(report.locator('#results table').first().locator('tbody tr'));
    expect(epochs.map((row) => row.slice(3))).toContainEqual(results.slice(1, classes).map((row) => row[1]));
    expect(await report.evaluate(() => [...document.images].every((image) => image.naturalWidth > 0))).toBe(
      true,
    );
    await shot(report, 'report');
    await offline.close();

    const modelFile = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download the model' }).click();
    const weights = new Uint8Array(await content(modelFile));

    const { image, shape, affine } = phantom(11, { shape: [15, 16, 13] });
    const volume = await writeNifti({ data: image, shape, affine });
    await page.getByRole('button', { name: 'Use this network' }).click();
    // The same volume in other axes and as gzip of two members beside it: as many millilitres, each on its own grid.
    const other = await writeNifti(turned({ data: image, shape, affine }), { gzip: false });
    const chosen = [picked('new.nii.gz', volume), picked('other.nii.gz', twoMembers(other))];
    await page.getByLabel('Choose volumes').setInputFiles(chosen);
    await page.getByRole('button', { name: 'Download the labels of other.nii.gz' }).waitFor();
    const rows = await page
      .locator('table', { hasText: 'Volumes in ml' })
      .locator('tbody tr')
      .evaluateAll((found) =>
        found.map((row) => [...row.querySelectorAll('td')].map((cell) => cell.textContent)),
      );
    expect(rows.map((row) => row.slice(0, 5))).toEqual([rows[0]!.slice(0, 5), rows[0]!.slice(0, 5)]);
    const button = page.getByRole('button', { name: 'Download the labels of new.nii.gz' });
    await button.waitFor();
    await shot(page, 'segmented');
    await expectToFitNarrow(page, 'results of Use');
    const labelsOf = async (name: string) => {
      const labelsFile = page.waitForEvent('download');
      await page.getByRole('button', { name: `Download the labels of ${name}` }).click();
      return readNifti(new Uint8Array(await content(labelsFile)));
    };
    // Another view does not take what has been found away, and until it is saved, it is not lost by closing either.
    await page.getByRole('tab', { name: 'Data' }).click();
    await page.getByRole('tab', { name: 'Use' }).click();
    expect(await asksFirst(page)).toBe(true);
    const found = await labelsOf('new.nii.gz');
    expect(await asksFirst(page)).toBe(true);
    expect(await asked(page, 'Forget these results', 'dismiss')).toContain('labels of 1 volume have not');
    const archive = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download all with their volumes (zip)' }).click();
    const files = new Map<string, Uint8Array>();
    for (const file of await filesInZip(new Uint8Array(await content(archive))))
      files.set(file.path, await bytesOf(file));
    expect([...files.keys()]).toEqual(['new_labels.nii.gz', 'other_labels.nii.gz', 'volumes.csv']);
    expect(await asksFirst(page)).toBe(false);
    const turnedOne = await readNifti(files.get('other_labels.nii.gz')!);
    expect(turnedOne).toMatchObject(turned(found));
    expect((await readNifti(files.get('new_labels.nii.gz')!)).data).toEqual(found.data);
    const lines = new TextDecoder().decode(files.get('volumes.csv')).trimEnd().split('\n');
    const fields = lines.map((line) => line.match(/("[^"]*"|[^,])+/g)!);
    expect(fields.map((line) => line.slice(0, 2).concat(line.slice(3, 5)))).toEqual([
      ['file', 'labels', 'value', 'class'],
      ...['new', 'other'].flatMap((name) =>
        phantomLabels
          .slice(1)
          .map((label, index) => [`${name}.nii.gz`, `${name}_labels.nii.gz`, String(index + 1), label]),
      ),
    ]);
    const millilitres = (400 / 15) * (400 / 16) * (200 / 13) * 1e-3; // of a voxel
    for (const line of fields.slice(1)) {
      const voxels = found.data.filter((value) => value === Number(line[3])).length;
      expect(Number(line[5])).toBeCloseTo(voxels * millilitres, 1); // files hold float32
    }
    expect(found.shape).toEqual([...shape]);
    expect(found.affine).toEqual((await readNifti(volume)).affine);

    const model = await UNet3D.load(weights);
    const { labels } = await model.predict(volume);
    model.dispose();
    const equal = found.data.filter((value, voxel) => value === labels.data[voxel]).length;
    expect(equal / found.data.length).toBeGreaterThanOrEqual(0.999);
    await page.close();
  },
  journeyTimeout,
);

/** Runs in the worker, ahead of its script: at a step, its GPU device is lost, or the worker itself ends. */
function breakAt(step: number, what: 'device' | 'worker'): void {
  const devices: GPUDevice[] = [];
  const request = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, 'requestDevice')
    ?.value as GPUAdapter['requestDevice'];
  GPUAdapter.prototype.requestDevice = async function (this: GPUAdapter, descriptor) {
    devices.push(await request.call(this, descriptor));
    return devices[devices.length - 1]!;
  };
  type Message = { event?: { type: string; step: number } };
  const scope = globalThis as unknown as {
    postMessage(message: Message, transfer?: Transferable[]): void;
    close(): void;
  };
  const post = scope.postMessage.bind(scope);
  scope.postMessage = (message, transfer) => {
    post(message, transfer);
    if (devices.length > 1 || message.event?.type !== 'step' || message.event.step !== step) return;
    if (what === 'device') devices[0]?.destroy();
    else scope.close();
  };
}

/**
 * Runs in the worker, ahead of its script: a training measures kernels without end, as it does for a while on a GPU,
 * until it is told to stop, or from the beginning not to.
 */
function measureWithoutEnd(): void {
  type Call = { type: string; id: number; method?: string; args?: [unknown, { tune?: boolean }] };
  type Listen = (type: string, listener: (event: MessageEvent<Call>) => void) => void;
  const scope = globalThis as unknown as { addEventListener: Listen; postMessage(message: object): void };
  const listen = scope.addEventListener.bind(scope);
  let measuring: number | undefined;
  scope.addEventListener = (type, listener) =>
    listen(type, (event) => {
      const { type: what, id, method, args } = event.data;
      if (method === 'fit' && args![1].tune === undefined) {
        measuring = id;
        for (const done of [0, 1, 2])
          scope.postMessage({ type: 'event', id, event: { type: 'tuning', done, passes: 7 } });
      } else if (what === 'abort' && id === measuring) {
        const error = { name: 'Aborted', message: 'stopped while it chose its kernels', fields: {} };
        scope.postMessage({ type: 'failure', id, error });
      } else listener(event);
    });
}

/** Opens a small data set, whose files the page goes on reading. */
async function openTidy(page: Page, made = tidyFolder()): Promise<void> {
  folders.push(await made);
  await page.getByLabel('Choose a folder').setInputFiles(folders.at(-1)!);
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
}

/** Opens the same data in odd forms, whose unknown voxels have to be told. */
async function openOdd(page: Page): Promise<void> {
  const { images, labels, unknown } = await oddFiles();
  await page.getByLabel('Choose images').setInputFiles(images);
  await page.getByLabel('Choose labels').setInputFiles(labels);
  await page.getByLabel(`Value ${unknown}`).waitFor(); // counts as a class so far
  await page.getByLabel('Label value of unknown voxels').fill(String(unknown));
  await page.getByLabel('Label value of unknown voxels').press('Tab');
  await page.getByLabel(`Value ${unknown}`).waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
}

async function startEpochs(page: Page, epochs: number): Promise<void> {
  await page.getByRole('tab', { name: 'Train' }).click();
  await page.getByLabel('Epochs').fill(String(epochs));
  await page.getByLabel('Epochs').press('Tab');
  await page.getByLabel('Features per level').selectOption('8,16');
  await page.getByLabel('Augmentation').selectOption('none');
  await page.getByText(`${2 * epochs} steps in all`).waitFor();
  await page.getByRole('button', { name: 'Start training' }).click();
}

/** For the first worker, which breaks in the middle of the second of epochs of two steps. */
const breaking = (what: 'device' | 'worker'): string => `(${breakAt.toString()})(2, '${what}');`;

/** What a training has left on the page: its history but for the seconds, and the pictures of the truth. */
async function outcome(page: Page): Promise<{ history: string[]; truth: string[] }> {
  const file = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download the history' }).click();
  const lines = (await content(file)).toString().trim().split('\n');
  const truth: string[] = [];
  for (const plane of ['axial', 'coronal', 'sagittal'])
    truth.push(
      await page
        .getByRole('img', { name: `Truth, ${plane}` })
        .evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL()),
    );
  return { history: lines.map((line) => line.split(',').slice(0, -1).join()), truth };
}

/** Shares of coloured pixels in the columns of the axial truth whose voxels are unknown, and in the others. */
async function colours(page: Page): Promise<[unknown: number, known: number]> {
  const share = unknownColumns / smallShape[0];
  const sides = await page.getByRole('img', { name: 'Truth, axial' }).evaluate((element, part) => {
    const canvas = element as HTMLCanvasElement;
    const { width, height } = canvas;
    const { data } = canvas.getContext('2d')!.getImageData(0, 0, width, height);
    const coloured = (from: number, to: number): number => {
      let count = 0;
      for (let y = 0; y < height; y++)
        for (let x = Math.ceil(from); x < Math.floor(to); x++) {
          const at = 4 * (y * width + x);
          if (data[at] !== data[at + 1] || data[at] !== data[at + 2]) count++;
        }
      return count / (height * (to - from));
    };
    const [first, last] = [part * width, (1 - part) * width];
    // Pictures may show x from either side.
    return [
      [coloured(0, first - 1), coloured(first + 1, width)],
      [coloured(last + 1, width), coloured(0, last - 1)],
    ] as [number, number][];
  }, share);
  return sides.sort(([a], [b]) => a - b)[0]!;
}

const outcomes: Awaited<ReturnType<typeof outcome>>[] = [];

test(
  'the measuring of kernels shows how far it is, and can be skipped; a training whose device is lost goes on by itself',
  async ({ skip }) => {
    if (!browser) return skip('no Chromium for this machine');
    const page = await visit(browser);
    await openTidy(page);
    await inFrontOf(page, workers.gpu, `${breaking('device')}(${measureWithoutEnd.toString()})();`, 1);
    await startEpochs(page, 3);
    await page.getByText('fastest on this GPU, once, a minute at most: 2 of 7 parts').waitFor();
    await shot(page, 'measuring');
    // Who changes their mind at once has paused.
    await page.evaluate(() => {
      for (const name of ['Skip measuring', 'Pause'])
        [...document.querySelectorAll('button')].find(({ textContent }) => textContent === name)!.click();
    });
    await page.getByRole('button', { name: 'Resume', exact: true }).waitFor();
    expect(await page.getByRole('button', { name: 'Skip measuring' }).count()).toBe(0);
    await page.getByRole('button', { name: 'Resume', exact: true }).click();
    await page.getByRole('button', { name: 'Skip measuring' }).click();
    await page
      .getByText('the device was opened again and training goes on from the last checkpoint')
      .waitFor();
    await page.getByText('Going on from step 2 of 6').waitFor();
    await page.getByText('Done after 3 epochs.').waitFor();
    await page.getByRole('button', { name: 'Use this network' }).waitFor();
    expect(await page.getByRole('button', { name: 'Skip measuring' }).count()).toBe(0);
    expect(await page.getByRole('alert').allTextContents()).toEqual(['']);
    const [unknown, known] = await colours(page);
    expect(unknown).toBe(0);
    expect(known).toBeGreaterThan(0.2);
    outcomes.push(await outcome(page));
    await page.close();
  },
  journeyTimeout,
);

test(
  'a training whose worker dies says so and is resumed to its end',
  async ({ skip }) => {
    if (!browser) return skip('no Chromium for this machine');
    const page = await visit(browser);
    await openOdd(page);
    await inFrontOf(page, workers.gpu, breaking('worker'), 1);
    await startEpochs(page, 3);
    await page
      .getByRole('alert')
      .getByText(
        'The GPU was lost (it was ended from outside, or its tab ran out of memory). "Resume" opens it again',
      )
      .waitFor();
    await shot(page, 'worker-gone');
    await page.getByRole('button', { name: 'Resume', exact: true }).click();
    await page.getByText('Going on from step 2 of 6').waitFor();
    await page.getByText('Done after 3 epochs.').waitFor();
    await page.getByRole('button', { name: 'Use this network' }).waitFor();
    expect(await page.getByRole('alert').allTextContents()).toEqual(['']);
    outcomes.push(await outcome(page));
    await page.close();
  },
  journeyTimeout,
);

test('data in odd forms train as the same data in tidy ones; unknown voxels are in no picture', ({
  skip,
}) => {
  if (!browser) return skip('no Chromium for this machine');
  const [tidy, odd] = outcomes;
  expect(tidy!.history).toHaveLength(4);
  expect(odd).toEqual(tidy);
});

test(
  'regions that overlap are learnt, shown by their names, measured whole and written in their order',
  async ({ skip }) => {
    if (!browser) return skip('no Chromium for this machine');
    const page = await visit(browser);
    await page.setViewportSize({ width: 1000, height: 480 }); // soon drawn
    await openTidy(page, regionsFolder());
    const named = page.getByRole('region', { name: 'Regions' }).getByRole('listitem');
    expect(await named.allTextContents()).toEqual([
      'body: the labels 1, 2, 3, 4, 5; written as 1',
      'inside: the labels 2, 3, 4, 5; written as 2',
    ]);
    await startEpochs(page, 1);
    await page.getByText('Done after 1 epoch.').waitFor();
    expect(await page.locator('table.dice th').allTextContents()).toEqual(['background', 'body', 'inside']);
    await shot(page, 'regions-trained');
    const modelFile = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download the model' }).click();
    const weights = new Uint8Array(await content(modelFile));
    const reportFile = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download the report' }).click();
    const report = (await content(reportFile)).toString();
    for (const name of Object.keys(regions)) expect(report).toContain(`>${name}<`);

    await page.getByRole('button', { name: 'Use this network' }).click();
    const { image, affine } = phantom(11, { shape: smallShape });
    const volume = await writeNifti({ data: image, shape: smallShape, affine });
    await page.getByLabel('Choose volumes').setInputFiles(picked('new.nii.gz', volume));
    const button = page.getByRole('button', { name: 'Download the labels of new.nii.gz' });
    await button.waitFor();
    await shot(page, 'regions-segmented');
    const table = page.locator('table', { hasText: 'Volumes in ml' });
    expect((await table.locator('thead th').allTextContents()).slice(0, 3)).toEqual([
      'File',
      'body',
      'inside',
    ]);
    const seen = page.getByRole('group', { name: 'Classes that are seen' });
    expect(await seen.locator('label').allTextContents()).toEqual(['body', 'inside']);
    const labelsFile = page.waitForEvent('download');
    await button.click();
    const { data } = await readNifti(new Uint8Array(await content(labelsFile)));
    // By nnU-Net's rule: each region where it is likelier than not, one over the other in their order.
    using model = await UNet3D.load(weights);
    const { probabilities } = await model.predict(volume, { output: 'probabilities' });
    const [bodies, insides] = [0, 1].map((region) =>
      probabilities!.data.slice(region * data.length, (region + 1) * data.length),
    );
    const expected = Float32Array.from(data, (_, voxel) =>
      insides![voxel]! > 0.5 ? 2 : bodies![voxel]! > 0.5 ? 1 : 0,
    );
    expect(data).toEqual(expected);
    expect(new Set(data).size).toBeGreaterThan(1);
    const millilitres = (400 / smallShape[0]) * (400 / smallShape[1]) * (200 / smallShape[2]) * 1e-3; // of a voxel
    const cells = (await table.locator('tbody td').allTextContents()).slice(0, 2).map(Number);
    for (const [at, labels] of Object.values(regions).entries()) {
      const voxels = data.filter((value) => (labels as readonly number[]).includes(value)).length;
      expect(cells[at]).toBeCloseTo(voxels * millilitres, 0);
    }
    await page.close();
  },
  journeyTimeout,
);

test(
  'rounds of training, segmenting and looking leave nothing in use behind',
  async ({ skip }) => {
    if (!browser) return skip('no Chromium for this machine');
    const page = await visit(browser);
    page.on('dialog', (dialog) => void dialog.accept());
    await countIn(page);
    await page.reload();
    await openTidy(page);
    const file = readFileSync(join(folders.at(-1)!, 'imagesTr/case_1_0000.nii.gz'));
    const left: Counts[] = [];
    for (let round = 0; round < 2; round++) {
      await trainSegmentLook(page, { epochs: 1, name: 'new.nii.gz', file });
      const contexts = async () => (await countsOf(page)).contexts;
      await expect.poll(contexts, { timeout: 60_000 }).toBe(0);
      left.push(await countsOf(page));
    }
    const quick = 4;
    // As quickly as somebody may go through the views: each is left before it has drawn.
    for (let visit = 0; visit < quick; visit++) {
      await page.getByRole('tab', { name: 'See' }).click();
      await page.locator('canvas').first().waitFor();
      await page.getByRole('tab', { name: 'Data' }).click();
    }
    await expect.poll(async () => (await countsOf(page)).contexts, { timeout: 60_000 }).toBe(0);
    left.push(await countsOf(page));
    const [first, ...others] = left.map(({ nodes: _, listeners: __, ...things }) => things);
    expect(first).toMatchObject({ urls: 0, workers: 2 }); // that of the data, and the open network's
    expect(first!.buffers).toBeGreaterThan(0);
    for (const later of others) expect(later).toEqual(first);
    // A round makes hundreds of nodes and tens of listeners; not even one of each quick visit is left.
    for (const what of ['nodes', 'listeners'] as const)
      expect(left.at(-1)![what], what).toBeLessThan(left[0]![what] + quick);
    await page.close();
  },
  journeyTimeout,
);

test('a training is set up, started, paused and resumed from the keyboard alone', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await visit(browser);
  const reach = async (target: Locator, key: 'Tab' | 'Shift+Tab'): Promise<void> => {
    for (let presses = 0; presses < 60; presses++) {
      await page.keyboard.press(key);
      if (await target.evaluate((element) => element === document.activeElement)) return;
    }
    throw new Error(`60 times ${key} do not lead to ${target.toString()}`);
  };
  const focused = (name: string) =>
    expect
      .poll(() => page.evaluate(() => document.activeElement?.textContent), { timeout: 60_000 })
      .toBe(name);

  await reach(page.getByRole('button', { name: 'Try it with phantoms' }), 'Tab');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  await reach(page.getByRole('tab', { name: 'Data' }), 'Shift+Tab');
  await page.keyboard.press('Alt+ArrowRight'); // the browser's own
  for (let views = 0; views < 3; views++) await page.keyboard.press('ArrowRight');
  await page.getByLabel('Features per level').waitFor();
  await reach(page.getByLabel('Features per level'), 'Tab');
  await page.keyboard.press('ArrowUp');
  expect(await page.getByLabel('Features per level').inputValue()).toBe('8,16');
  await reach(page.getByLabel('Augmentation'), 'Tab');
  await page.keyboard.press('End');
  await page.getByText('Batches are not augmented').waitFor();
  await reach(page.getByRole('button', { name: 'Start training' }), 'Tab');
  await page.keyboard.press('Space');
  await focused('Pause');
  await page.getByText(/step [1-9]\d* of/).waitFor();
  await page.keyboard.press('Enter');
  await focused('Resume');
  await page.keyboard.press('Enter');
  await focused('Pause');
  await page.getByText('Going on from step').waitFor(); // before, its weights are not there
  // In the pause its network segments, and goes when the training is set aside.
  await page.keyboard.press('Enter');
  await focused('Resume');
  await page.getByRole('tab', { name: 'Use' }).click();
  await page.getByText(/, paused\. It reads one image/).waitFor();
  await page.getByRole('tab', { name: 'Train' }).click();
  await page.getByRole('button', { name: 'Set it aside' }).click();
  await page.getByRole('tab', { name: 'Use' }).click();
  await page.getByText('None yet. Open a model').waitFor();
  // What was set aside is offered at the next visit, and not lost by one click.
  await page.reload();
  const offer = page.getByText('was interrupted.');
  await offer.waitFor();
  expect(await asked(page, 'Discard it', 'dismiss')).toContain('what it has learnt so far?');
  await offer.waitFor();
  await asked(page, 'Discard it', 'accept');
  await offer.waitFor({ state: 'detached' });
  await page.close();
});

test('wrong files are named, one by one', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await visit(browser);
  const text = { name: 'notes.doc', mimeType: 'text/plain', buffer: Buffer.from('no volume') };
  await page.getByLabel('Choose images').setInputFiles([text]);
  await page.getByText('notes.doc: not a NIfTI file').waitFor();
  const many = [1, 2, 3, 4].map((n) => ({ ...text, name: `notes ${n}.doc` }));
  await page.getByLabel('Choose images').setInputFiles(many);
  await page
    .getByText(
      '4 files are not NIfTI (.nii, .nii.gz) and left out, such as notes 1.doc, notes 2.doc, notes 3.doc.',
    )
    .waitFor();
  const broken = { name: 'case_1.nii', mimeType: 'application/octet-stream', buffer: Buffer.alloc(400) };
  await page.getByLabel('Choose images').setInputFiles([broken]);
  await page.getByLabel('Choose labels').setInputFiles([broken]);
  await page
    .getByText(
      /Error\. Case "case_1": .*case_1\.nii is not a NIfTI file: it holds zeros only.*Copy or download it/,
    )
    .first()
    .waitFor();
  await shot(page, 'problems');
  await page.close();
});

test('without WebGPU, the page says what to do in this browser', async ({ skip }) => {
  if (!launch) return skip('no Chromium for this machine');
  const args = ['--no-sandbox', '--disable-blink-features=WebGPU'];
  const bare = await playwright.launch({ ...launch, args, headless: true });
  try {
    const page = await visit(bare);
    await page.getByRole('button', { name: 'What to do' }).click();
    await page.getByRole('heading', { name: 'No WebGPU in this browser' }).waitFor();
    expect(await page.locator('#advice li').allTextContents()).toContainEqual(
      expect.stringContaining('Settings, System'),
    );
    await shot(page, 'no-webgpu');
  } finally {
    await bare.close();
  }
});

test('nothing broke the content security policy, and no error went unseen', () => {
  expect(complaints).toEqual([]);
});
