/**
 * What the browser example keeps: one training in one Chromium, found again after a reload, without its GPU process,
 * beside a second tab, and without a network.
 */
import { createHash } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { inflateSync } from 'node:zlib';
import {
  chromium as playwright,
  type Browser,
  type BrowserContext,
  type Locator,
  type Page,
  type Route,
} from 'playwright';
import { afterAll, beforeAll, expect, test } from 'vitest';
import starter from '../../examples/browser/src/starter.json';
import { chromium } from '../../scripts/chromium.ts';
import type { FileEntry } from '../../src/data/case.ts';
import { initialValues, layoutParameters } from '../../src/model/parameters.ts';
import {
  completeConfig,
  defaultPreprocessing,
  exportOnnx,
  exportSafetensors,
  NnunetPredictor,
  openNnunet,
  readNifti,
  UNet3D,
} from '../../src/node.ts';
import { readModel, writeModel } from '../../src/weights/model-file.ts';
import { cascade, cascadeImages, hasCascade } from '../support/cascade.ts';
import { monaiBundle, monaiFiles, nnunetFixture } from '../support/interop.ts';
import { expectToFitNarrow } from '../support/page-fits.ts';
import { picked, tidyFolder } from '../support/page-files.ts';
import { serveExample, type Site } from '../support/site.ts';
import {
  asksFirst,
  deviceScaleFactor,
  inFrontOf,
  journeyTimeout,
  patience,
  workers,
} from '../support/visit.ts';
import { zipOf } from '../support/zip.ts';

const launch = chromium();
const complaints: string[] = [];
let site: Site;
let browser: Browser | undefined;
let context: BrowserContext;
/** Of somebody else, who keeps nothing of this; without service workers, whose requests go past `page.route`. */
let visitor: BrowserContext;
let folder: string;
/** The tab in which it is trained, and the network that came of it. */
let first: Page;
let weights: Uint8Array;
/** Its history.csv. */
let epochs: string;

beforeAll(async () => {
  site = await serveExample();
  folder = await tidyFolder();
  if (!launch) return;
  browser = await playwright.launch({ ...launch, headless: true });
  context = await browser.newContext({ acceptDownloads: true, deviceScaleFactor });
  visitor = await browser.newContext({ acceptDownloads: true, serviceWorkers: 'block', deviceScaleFactor });
});

afterAll(async () => {
  await browser?.close();
  site?.close();
  rmSync(folder, { recursive: true });
});

/** @param script runs in the page ahead of its own */
async function openTab(from = context, script?: () => void): Promise<Page> {
  const page = await from.newPage();
  page.setDefaultTimeout(patience);
  if (script) await page.addInitScript(script);
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('dialog', (dialog) => void dialog.accept());
  page.on('console', (message) => {
    if (/Content Security Policy/i.test(message.text())) complaints.push(message.text());
  });
  await page.goto(site.address);
  return page;
}

const view = (page: Page, name: string) => page.getByRole('tab', { name }).click();

async function start(page: Page, epochs: number): Promise<void> {
  await view(page, 'Train');
  await page.getByLabel('Epochs').fill(String(epochs));
  await page.getByLabel('Epochs').press('Tab');
  await page.getByLabel('Features per level').selectOption('8,16');
  await page.getByLabel('Augmentation').selectOption('none');
  await page.getByRole('button', { name: 'Start training' }).click();
}

async function downloaded(page: Page, act: () => Promise<unknown>): Promise<Uint8Array> {
  const file = page.waitForEvent('download');
  await act();
  return new Uint8Array(readFileSync(await (await file).path()));
}

/** A kept network, as the list of models gives it out. */
const taken = (page: Page, name: string, format = 'model') =>
  downloaded(page, () => page.getByLabel(`Download ${name}`).selectOption(format));

test(
  'a finished training is there after a reload, and its network where the GPU process was killed meanwhile',
  async ({ skip }) => {
    if (!browser) return skip('no Chromium for this machine');
    first = await openTab();
    await first.getByLabel('Choose a folder').setInputFiles(folder);
    await first.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
    await start(first, 2);
    await first.getByText('Done after 2 epochs.').waitFor();
    const history = () =>
      downloaded(first, () => first.getByRole('button', { name: 'Download the history' }).click());
    const before = await history();
    epochs = new TextDecoder().decode(before);
    weights = await downloaded(first, () =>
      first.getByRole('button', { name: 'Download the model' }).click(),
    );

    await first.reload();
    await first.getByText('Done after 2 epochs.').waitFor();
    expect(await history()).toEqual(before);

    const crash = await context.newPage();
    await crash.goto('chrome://gpucrash').catch(() => undefined); // which never answers
    await crash.close();
    await first.getByRole('button', { name: 'Use this network' }).click();
    const scan = join(folder, 'imagesTr', 'case_1_0000.nii.gz');
    await first.getByLabel('Choose volumes').setInputFiles(scan);
    const button = first.getByRole('button', { name: /^Download the labels of/ });
    const found = await readNifti(await downloaded(first, () => button.click()));
    using model = await UNet3D.load(weights);
    const { labels } = await model.predict(new Uint8Array(readFileSync(scan)));
    const equal = found.data.filter((value, voxel) => value === labels.data[voxel]).length;
    expect(equal / found.data.length).toBeGreaterThanOrEqual(0.999);
  },
  journeyTimeout,
);

/** The epochs of the first training, each by the names of its columns. */
function firstEpochs(): Record<string, number>[] {
  const [head, ...rows] = epochs
    .trim()
    .split('\n')
    .map((line) => line.trim().split(','));
  return rows.map((row) => Object.fromEntries(row.map((value, at) => [head![at]!, Number(value || NaN)])));
}

/** Dice of a class at the epoch of the first training that is the best by its smoothed Dice. */
function bestDice(name: string): number {
  const [best] = firstEpochs().sort((a, b) => b['smoothed_dice']! - a['smoothed_dice']!);
  return best![`dice_${name}`]!;
}

/** Runs in the page: the curves of a chart by name, with what its legend says of them and in which colour. */
const curvesOf = (figure: Element) =>
  [...figure.querySelectorAll('.u-series')].slice(1).map((row) => ({
    name: row.querySelector('.u-label')!.textContent,
    color: getComputedStyle(row.querySelector('.u-marker')!).borderTopColor,
    figure: row.querySelector('.u-value')!.textContent,
  }));

test(
  'two tabs share what is finished, and one has what is in training: neither its data nor its weights change',
  async ({ skip }) => {
    if (!browser) return skip('no Chromium for this machine');
    await view(first, 'Models');
    await first.getByLabel(/^Name of/).fill('the first');
    await first.getByLabel(/^Name of/).press('Tab');
    await first.getByLabel('Download the first').waitFor();
    await view(first, 'Train');
    await first.getByRole('button', { name: 'New training' }).click();
    await start(first, 1000);
    await first.locator('table.dice').getByText('class 5').waitFor();

    const second = await openTab();
    await view(second, 'Models');
    await second.getByText('Open in another tab').waitFor();
    await first.getByRole('button', { name: 'Pause' }).click();
    expect(await second.getByRole('button', { name: 'Resume it' }).count()).toBe(0);
    expect(await second.getByRole('button', { name: /^Delete/ }).allTextContents()).toHaveLength(1);
    expect(await taken(second, 'the first')).toEqual(weights);
    expect(await taken(second, 'the first', 'onnx')).toEqual(await exportOnnx(weights));
    expect(await taken(second, 'the first', 'safetensors')).toEqual(await exportSafetensors(weights));

    // The data of the page are others now: those of the training are not.
    await first.getByRole('button', { name: 'Resume', exact: true }).waitFor();
    await view(first, 'Data');
    await first.getByRole('button', { name: 'Start over' }).click();
    await view(first, 'Train');
    await first.getByRole('button', { name: 'Resume', exact: true }).click();
    await first.getByText(/Going on from step \d+ of 2000/).waitFor();
    await first.getByRole('button', { name: 'Pause' }).click();
    await first.getByRole('button', { name: 'Set it aside' }).click();

    await second.getByRole('button', { name: /^Resume/ }).click();
    await second.getByText(/Going on from step \d+ of 2000/).waitFor();
    await second.locator('table.dice').getByText('class 5').waitFor();
    await second.getByRole('button', { name: 'Stop early, keep the best' }).click();
    await second.getByText('Stopped early; the best weights are kept').waitFor();
    await view(second, 'Models');
    expect(await taken(second, 'the first')).toEqual(weights);
    for (const box of await second.getByRole('checkbox').all()) await box.check();
    await second.getByRole('heading', { name: 'Beside each other' }).waitFor();
    const table = second.getByRole('table', { name: 'Dice on validation, with the weights that are kept' });
    const column = (await table.getByRole('columnheader').allTextContents()).indexOf('the first');
    const row = table.getByRole('row').filter({ hasText: 'class 5' });
    expect(await row.locator('th, td').nth(column).textContent()).toBe(bestDice('class_5').toFixed(3));
    // The curves of both, each in the colour that it has in the table: at the first epoch they are told by the mouse.
    const kept = await table
      .locator('thead th:has(.swatch)')
      .evaluateAll((heads) =>
        heads.map((head) => [head.textContent, getComputedStyle(head.firstElementChild!).backgroundColor]),
      );
    expect(kept).toHaveLength(2);
    const [begin] = firstEpochs();
    const dice = [1, 2, 3, 4, 5].map((value) => begin![`dice_class_${value}`]!).filter(Number.isFinite);
    const mean = dice.reduce((sum, value) => sum + value) / dice.length;
    const charts = second.getByRole('region', { name: 'Comparison' }).getByRole('figure');
    expect(await charts.count()).toBe(3);
    for (const [at, expected] of [begin!['loss']!, begin!['validation_loss']!, mean].entries()) {
      await charts
        .nth(at)
        .locator('.u-over')
        .hover({ position: { x: 1, y: 60 } });
      const curves = await charts.nth(at).evaluate(curvesOf);
      expect(curves.map(({ name, color }) => [name, color])).toEqual(kept);
      for (const { name, figure } of curves)
        if (name === 'the first') expect(figure).toBe(expected.toFixed(3));
        else expect(figure).toMatch(/^\d+\.\d{3}$/);
    }
    await expectToFitNarrow(second, 'the comparison');
    await second.close();
  },
  journeyTimeout,
);

/** Runs in the page: SHA-256 of each file of the trainings that it keeps, in order. */
async function digestsKept(): Promise<string[]> {
  const root = await navigator.storage.getDirectory();
  const directory = await root.getDirectoryHandle('unet3d-gpu-example');
  const digests: string[] = [];
  for await (const handle of directory.values()) {
    const bytes = await (await (handle as FileSystemFileHandle).getFile()).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    digests.push([...digest].map((byte) => byte.toString(16).padStart(2, '0')).join(''));
  }
  return digests.sort();
}

test(
  'a project is opened in another browser, with its images or with a folder that holds them',
  async ({ skip }) => {
    if (!browser) return skip('no Chromium for this machine');
    await view(first, 'Models');
    const saved = (withImages: boolean) =>
      downloaded(first, async () => {
        await first.getByLabel('with images').setChecked(withImages);
        await first.getByRole('button', { name: 'Save as a project' }).click();
      });
    const [whole, lean] = [await saved(true), await saved(false)];
    for (const [project, isWhole] of [
      [whole, true],
      [lean, false],
    ] as const) {
      const elsewhere = await browser.newContext({ acceptDownloads: true, deviceScaleFactor });
      const page = await openTab(elsewhere);
      await view(page, 'Models');
      const opening = page.getByLabel('Open a project');
      await opening.setInputFiles(picked('half.zip', project.slice(0, project.length / 2)));
      await page.getByText('half.zip: this is no project of this page, or a damaged one').waitFor();
      await opening.setInputFiles(picked('whole.zip', project));
      await page.getByText('2 trainings of whole.zip are kept here now.').waitFor();
      if (!isWhole) {
        await page.getByText('The images of 2 trainings are not in the file.').waitFor();
        await page.getByLabel('Choose the folder with the images').setInputFiles(folder);
        await page.getByText('The images of 2 trainings are not in the file.').waitFor({ state: 'detached' });
        await page.getByText('2 trainings of whole.zip are kept here now.').waitFor();
      }
      expect(await taken(page, 'the first')).toEqual(weights);
      await page.getByRole('button', { name: 'Open the first' }).click();
      await page.getByText('Done after 2 epochs.').waitFor();
      await view(page, 'Data');
      // Of the cases themselves, which were read.
      await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
      await view(page, 'Models');
      await page.getByText('2 trainings of whole.zip are kept here now.').waitFor(); // it is not lost with the view
      const before = await page.evaluate(digestsKept);
      const deleted = createHash('sha256').update(weights).digest('hex');
      expect(before).toContain(deleted);
      await page.getByRole('button', { name: 'Delete the first' }).click();
      await page.getByLabel('Download the first').waitFor({ state: 'detached' });
      const others = before.filter((digest) => digest !== deleted);
      expect(others.length).toBeGreaterThan(0);
      await expect.poll(() => page.evaluate(digestsKept), { timeout: 60_000 }).toEqual(others);
      await elsewhere.close();
    }
  },
  journeyTimeout,
);

/** A page with the cases of the folder, of somebody who keeps nothing of this. */
async function withCases(from = folder): Promise<Page> {
  const page = await openTab(visitor);
  await page.getByLabel('Choose a folder').setInputFiles(from);
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  return page;
}

/** Opens a model, and begins a training with its network. */
async function begun(page: Page, name: string, file: Uint8Array, keepEncoder: boolean) {
  await view(page, 'Use');
  await page.getByLabel('Open a model file').setInputFiles(picked(name, file));
  await page.getByText(new RegExp(`^${name}.* It reads one image and finds`)).waitFor();
  await view(page, 'Train');
  await page.getByLabel('Begin with').selectOption('open');
  await page.getByLabel('Keep the encoder as it is').setChecked(keepEncoder);
  await page.getByLabel('Augmentation').selectOption('none');
  await page.getByLabel('Epochs').fill('1');
  await page.getByLabel('Epochs').press('Tab');
  await page.getByRole('button', { name: 'Start training' }).click();
  await page.getByText(`It goes on from the weights of ${name}, with a new last layer`).waitFor();
}

/** Goes on with what `begun` begins; gives back what came of it. */
async function tuned(...[page, ...model]: Parameters<typeof begun>) {
  await begun(page, ...model);
  await page.getByText('Done after 1 epoch.').waitFor();
  return readModel(
    await downloaded(page, () => page.getByRole('button', { name: 'Download the model' }).click()),
  );
}

test("a training begins with an opened network of another kind than the page's, for other classes, its encoder kept", async ({
  skip,
}) => {
  if (!browser) return skip('no Chromium for this machine');
  const config = completeConfig({
    ...{ inChannels: 1, classes: 3, features: [4, 8], block: 'residual', norm: 'batch', down: 'conv' },
    kernels: [
      [3, 3, 1],
      [3, 3, 3],
    ],
    strides: [[2, 2, 1]],
  });
  const preprocessing = { ...defaultPreprocessing(1), normalization: ['min-max'] } as const;
  const { parameters, parameterWords, statisticsWords } = layoutParameters(config);
  const given = {
    parameters: initialValues(parameters, parameterWords, 7),
    statistics: new Float32Array(statisticsWords).fill(0.5),
  };
  const file = await writeModel({ config, labels: [], channels: [], preprocessing }, given);
  const page = await withCases();
  const { description, weights: learnt } = await tuned(page, 'residual.safetensors', file, true);
  await page.close();
  expect(description).toMatchObject({ config: { ...config, classes: 6 }, preprocessing });
  const changed = { encoder: 0, decoder: 0 };
  const layout = layoutParameters(description.config);
  for (const part of ['parameters', 'statistics'] as const)
    for (const { name, offset, length } of layoutParameters(config)[part].values()) {
      const now = layout[part].get(name)!.offset;
      const before = given[part].subarray(offset, offset + length);
      const isSame = before.every((value, at) => value === learnt[part][now + at]);
      if (!isSame) changed[name.startsWith('encoder.') ? 'encoder' : 'decoder']++;
    }
  expect(changed.encoder).toBe(0);
  expect(changed.decoder).toBeGreaterThan(2);
});

const zipped = (files: readonly FileEntry[]) =>
  zipOf(files.map(({ path, source }) => ({ path, content: source as Uint8Array })));

test('a training begins with one fold of nnU-Net, prepared as its plans say, and with several it is told why not', async ({
  skip,
}) => {
  const [single, several] = [await nnunetFixture('resenc'), await nnunetFixture('plain-iso')];
  if (!browser || !single || !several)
    return skip('no Chromium for this machine, or no fixtures beside the checkout');
  const { config, plans } = await openNnunet(single.files);
  const [d0, d1, d2] = plans.configuration.spacing;
  const cases = await tidyFolder([d2, d1, d0]);
  const page = await withCases(cases);
  await view(page, 'Use');
  await page.getByLabel('Open a model file').setInputFiles(picked('folds.zip', await zipped(several.files)));
  await page.getByText('folds.zip (nnU-Net').waitFor();
  await view(page, 'Train');
  await page
    .getByText('No training can begin with folds.zip: it is the mean of 2 folds: open its folder')
    .waitFor();
  expect(await page.getByLabel('Begin with').count()).toBe(0);
  const { description } = await tuned(page, 'fold.zip', await zipped(single.files), false);
  await page.close();
  rmSync(cases, { recursive: true });
  expect(description.config).toEqual({ ...config, classes: 6 });
  expect(description.preprocessing).toMatchObject({ crop: 'non-zero', spacing: [d2, d1, d0] });
});

test('a network of MONAI that is no bundle segments nothing, but a training begins with it', async ({
  skip,
}) => {
  const files = await monaiFiles('unet-res2');
  if (!browser || !files) return skip('no Chromium for this machine, or no fixtures beside the checkout');
  const page = await withCases();
  await view(page, 'Use');
  await page.getByLabel('Open a model file').setInputFiles(picked('monai.zip', await zipped(files)));
  await page.getByText('(UNet of MONAI, to begin a training with)').waitFor();
  const scan = join(folder, 'imagesTr', 'case_1_0000.nii.gz');
  await page.getByLabel('Choose volumes', { exact: true }).setInputFiles(scan);
  await page.getByText('case_1_0000.nii.gz: nothing tells how images are prepared').waitFor();
  await begun(page, 'again.zip', await zipped(files), false);
  await page.close();
});

test('of a bundle of MONAI whose channels overlap, a volume for each is saved, and each has its ml', async ({
  skip,
}) => {
  // What numpy and scipy make of MONAI's logits.
  const { bundle } = JSON.parse(readFileSync('test/fixtures/monai/outcomes.json', 'utf8')) as {
    bundle: { threshold: number; nearTies: number; byProbability: string };
  };
  const expected = inflateSync(Buffer.from(bundle.byProbability, 'base64'));
  const found = await monaiBundle([
    { _target_: 'Activationsd', sigmoid: true },
    { _target_: 'Invertd', nearest_interp: false },
    { _target_: 'AsDiscreted', threshold: bundle.threshold },
  ]);
  if (!browser || !found) return skip('no Chromium for this machine, or no fixtures beside the checkout');
  const page = await openTab(visitor);
  await view(page, 'Use');
  await page.getByLabel('Open a model file').setInputFiles(picked('both.zip', await zipped(found.files)));
  await page.getByText('(UNet of MONAI, whose channels may overlap). It reads one image and finds').waitFor();
  await page.getByLabel('Choose volumes', { exact: true }).setInputFiles(picked('scan.nii.gz', found.image));
  const link = page.getByRole('button', { name: /^Download the labels of/ });
  const { data, shape, spacing } = await readNifti(await downloaded(page, () => link.click()));
  expect(shape.slice(3)).toEqual([2]);
  expect(data.filter((value, at) => value !== expected[at]).length).toBeLessThanOrEqual(bundle.nearTies);
  const cells = await page.getByRole('row').last().getByRole('cell').allInnerTexts();
  for (const channel of [0, 1]) {
    const own = data.subarray((channel * data.length) / 2, ((channel + 1) * data.length) / 2);
    const millilitres = (own.reduce((sum, value) => sum + value, 0) * spacing.reduce((a, b) => a * b)) / 1000;
    expect(Math.abs(Number(cells[channel]) - millilitres)).toBeLessThan(0.051);
  }
  await page.close();
});

test('a network of TotalSegmentator by itself is used as that does, or as nnU-Net: the page asks', async ({
  skip,
}) => {
  const found = await nnunetFixture('totalsegmentator');
  if (!browser || !found) return skip('no Chromium for this machine, or no fixtures beside the checkout');
  const page = await openTab(visitor);
  await view(page, 'Use');
  const archive = picked('total.zip', await zipped(found.files));
  for (const [answer, kind] of [
    ['As TotalSegmentator does', "total.zip (TotalSegmentator's way, 1 part)"],
    ['As nnU-Net does', 'total.zip (nnU-Net, Dataset997_TotalSegmentator_random'],
  ] as const) {
    await page.getByLabel('Open a model file').setInputFiles(archive);
    await page.getByRole('button', { name: answer }).click();
    await page.getByText(kind).waitFor();
  }
  await page.close();
});

/** Runs in the page: its database cannot be opened, as while the disk has an error. */
function withoutDatabase(): void {
  Object.assign(IDBFactory.prototype, {
    open() {
      throw new Error('the disk has an error');
    },
  });
}

test('a visit in which the list of trainings cannot be read takes none of them away', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.addInitScript(withoutDatabase);
  await page.goto(site.address);
  await view(page, 'Models');
  await page.getByText('What this browser keeps cannot be read').waitFor();
  await page.close();
  await first.reload();
  await view(first, 'Models');
  expect(await taken(first, 'the first')).toEqual(weights);
});

/** Runs in the page: its database takes nothing, as while the disk has an error. */
function withoutRoom(): void {
  Object.assign(IDBObjectStore.prototype, {
    put() {
      throw new Error('the disk has an error');
    },
  });
}

test('a page asks before it closes where something is in no file and not kept: uses of cases, a drawing, a training', async ({
  skip,
}) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await openTab(visitor, withoutRoom);
  const choose = async () => {
    await page.getByLabel('Choose a folder').setInputFiles(folder);
    await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  };
  await choose();
  expect(await asksFirst(page)).toBe(false);
  await page
    .getByLabel(/^Use of /)
    .first()
    .selectOption('unused');
  expect(await asksFirst(page)).toBe(true);
  await page.getByRole('button', { name: 'Start over' }).click();
  await page.getByText('No file holds what would be lost: what cases are used for.').waitFor();
  await expectToFitNarrow(page, 'a question');
  await page.getByRole('button', { name: 'Begin without them' }).click();
  await page.getByText('No data at hand?').waitFor();
  expect(await asksFirst(page)).toBe(false);

  await choose();
  await view(page, 'Annotate');
  await page.getByText('Nothing is drawn here yet.').waitFor();
  await page.getByLabel('The whole case is complete').check();
  await page.getByText('could not be saved: the disk has an error').waitFor();
  expect(await asksFirst(page)).toBe(true);
  await page.getByLabel('The whole case is complete').uncheck();
  await expect.poll(() => asksFirst(page), { timeout: 60_000 }).toBe(false); // nothing is drawn

  await start(page, 1000);
  await page.getByText('Closing this tab will lose this training').waitFor();
  expect(await asksFirst(page)).toBe(true);
  await page.close();
});

test('a model by link is opened from the same site alone', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await openTab(visitor);
  await page.route('**/linked.safetensors', (route) => route.fulfill({ body: Buffer.from(weights) }));
  await page.goto(`${site.address}?model=linked.safetensors`);
  await page.getByText('linked.safetensors. It reads one image').waitFor();
  // What is given with a model that cannot be opened is for that one, and for no other.
  await page
    .getByLabel('Open a model file')
    .setInputFiles([
      picked('half.safetensors', weights.slice(0, weights.length / 2)),
      picked('scan.nii.gz', readFileSync(join(folder, 'imagesTr', 'case_1_0000.nii.gz'))),
    ]);
  await page.getByRole('alert').getByText('half.safetensors').waitFor();
  await page.getByText('linked.safetensors. It reads one image').waitFor();
  expect(await page.getByText('scan.nii.gz').count()).toBe(0);
  const asked: string[] = [];
  page.on('request', (request) => asked.push(new URL(request.url()).hostname));
  await page.goto(`${site.address}?model=https://elsewhere.example/other.safetensors`);
  await page.getByRole('alert').getByText('this page opens models of its own site only').waitFor();
  expect(asked).not.toContain('elsewhere.example');
  await page.close();
});

/** Runs in the worker, ahead of its script: segmenting goes on until it is told to stop. */
function segmentWithoutEnd(): void {
  type Call = { type: string; id: number; method?: string };
  type Listen = (type: string, listener: (event: MessageEvent<Call>) => void) => void;
  const scope = globalThis as unknown as { addEventListener: Listen; postMessage(message: object): void };
  const listen = scope.addEventListener.bind(scope);
  const held = new Set<number>();
  scope.addEventListener = (type, listener) =>
    listen(type, (event) => {
      const { type: what, id, method } = event.data;
      if (method === 'predict') held.add(id);
      else if (what === 'abort' && held.delete(id))
        scope.postMessage({ type: 'failure', id, error: { name: 'Aborted', message: 'ended', fields: {} } });
      else listener(event);
    });
}

/** Drops a file or folder on an element, as the hand of a visitor does. */
async function drop(page: Page, zone: Locator, path: string): Promise<void> {
  await zone.scrollIntoViewIfNeeded();
  const { x, y, width, height } = (await zone.boundingBox())!;
  const session = await page.context().newCDPSession(page);
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const)
    await session.send('Input.dispatchDragEvent', {
      type,
      x: x + width / 2,
      y: y + height / 2,
      data: { items: [], files: [path], dragOperationsMask: 1 },
    });
  await session.detach();
}

test('volumes wait for the model that they were given to, and a stop ends those that were there', async ({
  skip,
}) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await openTab(visitor);
  await inFrontOf(page, workers.gpu, `(${segmentWithoutEnd.toString()})();`);
  await view(page, 'Use');
  const model = (name: string) => page.getByLabel('Open a model file').setInputFiles(picked(name, weights));
  const scan = readFileSync(join(folder, 'imagesTr', 'case_1_0000.nii.gz'));
  const volumes = (...names: string[]) =>
    page
      .getByLabel('Choose volumes', { exact: true })
      .setInputFiles(names.map((name) => picked(`${name}.nii.gz`, scan)));
  await model('one.safetensors');
  await page.getByText('one.safetensors. It reads one image').waitFor();
  await volumes('a', 'b');
  await page.getByText('Segmenting a.nii.gz; 1 more to go').waitFor();
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText('1 volume was not segmented: it was stopped.').waitFor();
  await page.getByText('a.nii.gz was not segmented: it was stopped.').waitFor();
  await volumes('c', 'd', 'e');
  await page.getByText('Segmenting c.nii.gz; 2 more to go').waitFor();
  await view(page, 'Data');
  await view(page, 'Use');
  await page.getByText('Segmenting c.nii.gz; 2 more to go').waitFor();
  await model('other.safetensors');
  await page.getByText('2 volumes were not segmented: another model was opened.').waitFor();
  await page.getByText('c.nii.gz was not segmented: another model was opened.').waitFor();
  expect(await page.getByRole('button', { name: 'Stop' }).count()).toBe(0);
  // A folder of images and labels.
  await drop(page, page.getByRole('region', { name: 'Volumes to segment' }), folder);
  await page.getByText('3 files named as labels are left out.').waitFor();
  await page.getByText('Segmenting case_1_0000.nii.gz; 2 more to go').waitFor();
  await page.close();
});

/** Runs in the page: keeps the workers that it starts. */
function keepWorkers(): void {
  const workers: Worker[] = [];
  const construct = (of: typeof Worker, parts: ConstructorParameters<typeof Worker>): Worker => {
    const worker = new of(...parts);
    workers.push(worker);
    return worker;
  };
  Object.assign(globalThis, { workers, Worker: new Proxy(Worker, { construct }) });
}

test('several networks as one are opened again where their worker fails, also after that failed once', async ({
  skip,
}) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await openTab(visitor, keepWorkers);
  await view(page, 'Use');
  const parts = ['one', 'other'].map((name) => picked(`${name}.safetensors`, weights));
  const held: Route[] = [];
  await page.route('**/foreign.worker*.js', (route) => void held.push(route));
  await page.getByLabel('Open a model file').setInputFiles(parts);
  await page.getByText('Opening 2 files').waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByText('Opening 2 files').waitFor({ state: 'detached' });
  await page.getByText('None yet. Open a model').waitFor();
  await page.unroute('**/foreign.worker*.js');
  for (const route of held) await route.continue().catch(() => undefined);
  await page.getByLabel('Open a model file').setInputFiles(parts);
  await page.getByText('The mean of 2 networks').waitFor();
  let refused = 0;
  await page.route('**/foreign.worker*.js', (route) => (++refused > 2 ? route.continue() : route.abort()));
  await page.evaluate(() =>
    (globalThis as unknown as { workers: Worker[] }).workers
      .at(-1)!
      .dispatchEvent(new ErrorEvent('error', { message: 'out of memory' })),
  );
  const volumes = page.getByLabel('Choose volumes', { exact: true });
  const scan = readFileSync(join(folder, 'imagesTr', 'case_1_0000.nii.gz'));
  await volumes.setInputFiles(picked('first.nii.gz', scan));
  await page.getByText('first.nii.gz: a part of this page has failed').waitFor();
  await volumes.setInputFiles(picked('second.nii.gz', scan));
  await page.getByRole('button', { name: 'Download the labels of second.nii.gz' }).waitFor();
  await page.close();
});

test("a zip of both networks of nnU-Net's cascade segments as in Node, the first network ahead of the second", async ({
  skip,
}) => {
  if (!browser || !hasCascade)
    return skip('no Chromium for this machine, or no fixtures beside the checkout');
  const { parts, second } = await cascade();
  const page = await openTab(visitor);
  await view(page, 'Use');
  const opening = page.getByLabel('Open a model file');
  const both = await zipOf(parts);
  await opening.setInputFiles(
    picked('second.zip', await zipOf(parts.filter(({ path }) => path.startsWith(second)))),
  );
  await page.getByText('give a folder or zip archive with that of "3d_lowres" beside it').waitFor();
  await opening.setInputFiles(picked('both.zip', both));
  await page.getByText('3d_lowres, then 3d_cascade_fullres, fold 0). It reads 2 images').waitFor();
  await page.getByLabel('Choose volumes', { exact: true }).setInputFiles(cascadeImages);
  const link = page.getByRole('button', { name: /^Download the labels of/ });
  const found = await readNifti(await downloaded(page, () => link.click()));
  using predictor = await NnunetPredictor.load(both);
  const { labels } = await predictor.predict(cascadeImages);
  const equal = found.data.filter((value, voxel) => value === labels.data[voxel]).length;
  expect(equal / found.data.length).toBeGreaterThanOrEqual(0.999);
  await page.close();
});

test('a model folder of nnU-Net that is dropped segments as nnU-Net did', async ({ skip }) => {
  const found = await nnunetFixture('plain-aniso');
  if (!browser || !found) return skip('no Chromium for this machine, or no fixtures beside the checkout');
  const page = await openTab(visitor);
  await view(page, 'Use');
  await drop(page, page.getByRole('region', { name: 'Model', exact: true }), resolve(found.folder, 'model'));
  await page.getByText(/nnU-Net, Dataset902_PlainAniso, 3d_fullres, fold 0\). It reads one image/).waitFor();
  const image = join(found.folder, 'case', 'images', 'case_0000.nii.gz');
  await page.getByLabel('Choose volumes', { exact: true }).setInputFiles(image);
  const link = page.getByRole('button', { name: /^Download the labels of/ });
  const { data } = await readNifti(await downloaded(page, () => link.click()));
  const original = await readNifti(join(found.folder, 'case', 'segmentation.nii.gz'));
  const equal = original.data.filter((value, voxel) => value === data[voxel]).length;
  expect(equal / original.data.length).toBeGreaterThanOrEqual(0.999);
  await page.close();
});

/** Runs in the worker, ahead of its script: its GPU device is lost at the first window of a volume, which is told. */
function loseWhileSegmenting(): void {
  const request = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, 'requestDevice')
    ?.value as GPUAdapter['requestDevice'];
  let device: GPUDevice | undefined;
  GPUAdapter.prototype.requestDevice = async function (this: GPUAdapter, descriptor) {
    return (device = await request.call(this, descriptor));
  };
  const scope = globalThis as unknown as { postMessage(message: object, transfer?: Transferable[]): void };
  const post = scope.postMessage.bind(scope);
  scope.postMessage = (message, transfer) => {
    post(message, transfer);
    if (!device || !('event' in message)) return;
    device.destroy();
    device = undefined;
    new BroadcastChannel('lost').postMessage('');
  };
}

test('the model that comes with the page is fetched when it is asked for, and segments its case, also when the GPU is lost meanwhile', async ({
  skip,
}) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await openTab(visitor);
  const asked: string[] = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  await view(page, 'Use');
  const offer = page.getByRole('button', { name: 'Try the hippocampus model' });
  await offer.waitFor();
  expect(asked.filter((path) => path.includes('/starter/'))).toEqual([]);
  const { testCases, parts } = starter;
  const figures = page.getByRole('table', { name: `On ${testCases} test cases` }).locator('tbody tr');
  for (const { name, dice, hd95 } of parts)
    await figures
      .filter({ hasText: name })
      .filter({ hasText: `${dice}` })
      .getByText(`${hd95}`)
      .waitFor();
  const network = '**/starter/*.safetensors';
  await page.route(network, () => undefined); // which never comes
  await offer.click();
  await page.getByText('Opening hippocampus.safetensors').waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByText('Opening hippocampus.safetensors').waitFor({ state: 'detached' });
  await page.unroute(network);
  await inFrontOf(page, workers.gpu, `(${loseWhileSegmenting.toString()})();`, 1);
  const lost = page.evaluate(
    () => new Promise((resolve) => (new BroadcastChannel('lost').onmessage = () => resolve('lost'))),
  );
  await offer.click();
  await page.getByText('It reads one image and finds Anterior, Posterior.').waitFor();
  expect(await lost).toBe('lost');
  const link = page.getByRole('button', { name: 'Download the labels of hippocampus_225.nii.gz' });
  const { data, shape } = await readNifti(await downloaded(page, () => link.click()));
  expect(shape).toEqual([33, 53, 26]);
  // Voxels of either part in the label of the Decathlon, which the network has not seen.
  for (const [label, drawn] of [
    [1, 1119],
    [2, 1356],
  ] as const) {
    const found = data.filter((value) => value === label).length;
    expect(Math.abs(found / drawn - 1)).toBeLessThan(0.25);
  }
  await page.close();
});

interface Manifest {
  readonly name: string;
  readonly short_name: string;
  readonly start_url: string;
  readonly scope: string;
  readonly display: string;
  readonly icons: readonly { src: string; sizes: string; type: string; purpose: string }[];
}

/** Runs in the page: its manifest, and the pixels that each of its icons has. */
async function manifestOfPage() {
  const address = document.querySelector<HTMLLinkElement>('link[rel=manifest]')!.href;
  const manifest = (await (await fetch(address)).json()) as Manifest;
  const at = (relative: string) => new URL(relative, address).href;
  const icons = [];
  for (const { src, sizes, type, purpose } of manifest.icons) {
    const response = await fetch(at(src));
    const picture = type === 'image/png' && (await createImageBitmap(await response.blob()));
    icons.push({ sizes, purpose, type, pixels: picture && `${picture.width}x${picture.height}` });
  }
  return { ...manifest, icons, start: at(manifest.start_url), within: at(manifest.scope) };
}

test('the page can be installed, by what Chromium asks of a manifest', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  // https://developer.chrome.com/docs/lighthouse/pwa/installable-manifest
  const devtools = await context.newCDPSession(first);
  expect((await devtools.send('Page.getAppManifest')).errors).toEqual([]);
  await devtools.detach();
  const { name, short_name, display, icons, start, within } = await first.evaluate(manifestOfPage);
  expect([name, short_name].every((text) => text.length > 0)).toBe(true);
  expect(['standalone', 'fullscreen', 'minimal-ui']).toContain(display);
  expect([start, within]).toEqual([site.address, site.address]);
  const drawn = icons.filter(({ type }) => type === 'image/png');
  for (const { sizes, pixels } of drawn) expect(pixels).toBe(sizes);
  const sizesFor = (wanted: string) =>
    drawn.filter(({ purpose }) => purpose === wanted).map(({ sizes }) => sizes);
  expect(sizesFor('any')).toEqual(['192x192', '512x512']);
  expect(sizesFor('maskable')).toContain('512x512');
});

test('after one visit, the page opens without a network, and Back leads to the view before', async ({
  skip,
}) => {
  if (!browser) return skip('no Chromium for this machine');
  const traveller = await browser.newContext({ deviceScaleFactor });
  const page = await openTab(traveller);
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));
  await traveller.setOffline(true);
  await page.reload();
  await page.getByLabel('Choose a folder').setInputFiles(folder);
  await page.getByRole('button', { name: 'Next: look at the cases' }).click();
  await page
    .getByRole('img', { name: /Slices and 3-D view/ })
    .first()
    .waitFor();
  await view(page, 'Use');
  await page.getByLabel('Open a model file').setInputFiles(picked('model.safetensors', weights));
  await page.getByText('It reads one image').waitFor(); // the worker with its shaders has come, too
  await page.goBack();
  await page
    .getByRole('img', { name: /Slices and 3-D view/ })
    .first()
    .waitFor();
  expect(await page.getByRole('main').count()).toBe(1);
  await traveller.close();
  expect(complaints).toEqual([]);
});
