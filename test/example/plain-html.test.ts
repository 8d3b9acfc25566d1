/**
 * The plain HTML page and the built package without a bundler, in Chromium: a file is segmented as Node does it,
 * on one software driver a training has the same losses in the worker as in Node, and it goes on in a hidden tab.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { chromium as playwright, type Browser } from 'playwright';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chromium } from '../../scripts/chromium.ts';
import { DRIVER_VARIABLES } from '../../src/gpu/drivers.node.ts';
import { phantom } from '../../src/data/phantom.ts';
import { readNifti, UNet3D, writeNifti } from '../../src/node.ts';
import { BarePage, sparing } from '../support/bare-page.ts';
import { serve, type Site } from '../support/site.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const launch = chromium();
let site: Site;
let browser: Browser | undefined;

beforeAll(async () => {
  site = await serve(root);
  if (launch) browser = await playwright.launch({ ...launch, headless: true, ignoreDefaultArgs: sparing });
});

afterAll(async () => {
  await browser?.close();
  site?.close();
});

test('the plain page segments a file as Node does', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(`${site.address}examples/plain-html/index.html`);
  const { image, shape, affine } = phantom(3, { shape: [12, 10, 8] });
  const volume = await writeNifti({ data: image, shape, affine });
  using model = await UNet3D.create({ inChannels: 1, classes: 3, features: [4, 8], seed: 5 });
  const file = (name: string, bytes: Uint8Array) => ({
    name,
    mimeType: 'application/octet-stream',
    buffer: Buffer.from(bytes),
  });
  await page.getByLabel('Volume').setInputFiles(file('scan.nii.gz', new Uint8Array(100)));
  await page.getByLabel('Model').setInputFiles(file('model.safetensors', await model.save()));
  await page.getByText('scan.nii.gz').waitFor(); // refused by name
  await page.getByLabel('Volume').setInputFiles(file('scan.nii.gz', volume));
  const link = page.getByRole('link', { name: 'scan_labels.nii.gz' });
  await link.waitFor();
  const download = page.waitForEvent('download');
  await link.click();
  const found = await readNifti(new Uint8Array(readFileSync(await (await download).path())));
  const { labels } = await model.predict(volume);
  const equal = found.data.filter((value, voxel) => value === labels.data[voxel]).length;
  expect(found.data).toHaveLength(12 * 10 * 8);
  expect(equal / found.data.length).toBeGreaterThanOrEqual(0.999);
  await page.close();
});

/** For the page and for a Node process, so as text: ten steps of a seeded training on phantoms. */
const tenLosses = `async (entry) => {
  const { UNet3D, fromArrays, phantom } = await import(entry);
  const cases = [0, 1, 2, 3].map((subject) => {
    const { image, labels, shape, affine } = phantom(subject, { shape: [8, 8, 8] });
    const grid = { dims: [...shape], affine };
    return fromArrays('case ' + subject, { data: image, ...grid }, { data: labels, ...grid });
  });
  const model = await UNet3D.create({ inChannels: 1, classes: 6, features: [4, 8], seed: 3 });
  const losses = [];
  await model.fit(cases, { epochs: 5, onEvent: (event) => event.type === 'step' && losses.push(event.loss) });
  const { adapter } = model;
  model.dispose();
  return { adapter, losses };
}`;

interface TenLosses {
  readonly adapter: string;
  readonly losses: readonly number[];
}

test("on SwiftShader, the first ten losses in a tab's worker are those in Node", async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(`${site.address}examples/plain-html/index.html`);
  const tab = await page.evaluate<TenLosses>(`(${tenLosses})('/dist/worker.js')`);
  await page.close();
  if (!/swiftshader/i.test(tab.adapter)) return skip(`Chromium runs on ${tab.adapter}`);

  const entry = JSON.stringify(pathToFileURL(join(root, 'dist', 'node.js')).href);
  const script = `console.log(JSON.stringify(await (${tenLosses})(${entry}))); process.exit();`;
  const env = { ...process.env, UNET3D_ADAPTER: 'swiftshader' };
  for (const name of DRIVER_VARIABLES) delete (env as NodeJS.ProcessEnv)[name];
  const node = process.env['UNET3D_NODE'] ?? process.execPath;
  const printed = execFileSync(node, ['--input-type=module', '--eval', script], { encoding: 'utf8', env });
  const { losses, adapter } = JSON.parse(printed) as TenLosses;
  expect(adapter).toMatch(/swiftshader/i);
  expect(tab.losses).toHaveLength(10);
  for (const [step, loss] of losses.entries())
    expect(Math.abs(tab.losses[step]! - loss), `loss of step ${step}`).toBeLessThan(1e-4);
});

/**
 * For the page, as text: trains without end, and counts how often a timer of the page and one of a worker, both of
 * 50 ms, come by while there are twenty more steps and at least forty more of the worker's.
 */
const endless = `(async () => {
  const { UNet3D, fromArrays, phantom } = await import('/dist/worker.js');
  const { image, labels, shape, affine } = phantom(0, { shape: [8, 8, 8] });
  const grid = { dims: [...shape], affine };
  const item = fromArrays('case', { data: image, ...grid }, { data: labels, ...grid });
  const model = await UNet3D.create({ inChannels: 1, classes: 6, features: [4, 8], seed: 3 });
  const count = { steps: 0, page: 0, worker: 0 };
  model.fit([item, item], { epochs: 100000, batchSize: 1, onEvent: ({ type }) => (count.steps += type === 'step') });
  setInterval(() => count.page++, 50);
  const beat = URL.createObjectURL(new Blob(['setInterval(() => postMessage(0), 50)']));
  const worker = new Worker(beat);
  worker.onmessage = () => count.worker++;
  globalThis.twentySteps = () => new Promise((resolve) => {
    const before = { ...count };
    worker.addEventListener('message', function look() {
      if (count.steps < before.steps + 20 || count.worker < before.worker + 40) return;
      worker.removeEventListener('message', look);
      resolve({ page: count.page - before.page, worker: count.worker - before.worker });
    });
  });
})()`;

test('a hidden tab goes on training, though its timers stand almost still', async ({ skip }) => {
  if (!browser) return skip('no Chromium for this machine');
  const page = await BarePage.open(browser, `${site.address}examples/plain-html/index.html`);
  await page.evaluate(endless);
  const twentySteps = () => page.evaluate<{ page: number; worker: number }>('twentySteps()');
  const visible = await twentySteps();
  await page.show(false);
  await twentySteps(); // what was under way
  const hidden = await twentySteps();
  expect(visible.page).toBeGreaterThan(visible.worker / 3);
  expect(hidden.page).toBeLessThan(hidden.worker / 3);
}, 600_000);
