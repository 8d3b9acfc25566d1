/**
 * The browser example on cases of a Decathlon data set, as a visitor does it: a folder is dropped on the page, the
 * network trains with the page's own settings, the page is reloaded in the middle, training is resumed to its end,
 * and a volume that was not trained on is segmented and saved. Prints how long each part took and the volumes'
 * Dice; screenshots of the stations go to the output folder.
 *   node scripts/setup.mjs && npx tsx scripts/browser-data.ts FOLDER [--cases 8] [--epochs 2] [--out .cache/browser-data]
 */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chromium as playwright, type Page } from 'playwright';
import { chromium } from './chromium.ts';
import { dice, readNifti } from '../src/node.ts';
import { serveExample } from '../test/support/site.ts';

interface Decathlon {
  training: { image: string; label: string }[];
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    cases: { type: 'string', default: '8' },
    epochs: { type: 'string', default: '2' },
    out: { type: 'string', default: '.cache/browser-data' },
  },
});
const [source] = positionals;
if (source === undefined) throw new Error('name the folder of a Decathlon data set');
const launch = chromium();
if (!launch) throw new Error('there is no Chromium for this machine: name one in UNET3D_CHROMIUM');

const begun = performance.now();
const say = (text: string) =>
  console.log(`${((performance.now() - begun) / 1000).toFixed(0).padStart(5)} s  ${text}`);
const work = await mkdtemp(join(tmpdir(), 'unet3d-browser-data-'));
await mkdir(values.out, { recursive: true });

/** The first cases of the data set as one of its own layout; the next one is for the trained network. */
const dataset = JSON.parse(await readFile(join(source, 'dataset.json'), 'utf8')) as Decathlon;
const training = dataset.training.slice(0, Number(values.cases));
const unseen = dataset.training[training.length];
if (!unseen) throw new Error(`${source} has ${dataset.training.length} cases: choose fewer with --cases`);
const folder = join(work, 'data');
for (const { image, label } of training)
  for (const path of [image, label]) await cp(join(source, path), join(folder, path));
await writeFile(join(folder, 'dataset.json'), JSON.stringify({ ...dataset, training }));

const site = await serveExample();
const browser = await playwright.launch({ ...launch, headless: true });

async function shot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: join(values.out, `${name}.png`), fullPage: true });
}

/** Drops a folder of this machine's disk as a file manager does. */
async function dropFolder(page: Page, path: string): Promise<void> {
  const box = (await page.getByLabel('Add files').boundingBox())!;
  const session = await page.context().newCDPSession(page);
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const)
    await session.send('Input.dispatchDragEvent', {
      type,
      x: box.x + box.width / 2,
      y: box.y + box.height / 2,
      data: { items: [], files: [path], dragOperationsMask: 1 },
    });
}

try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(3_600_000);
  page.on('pageerror', ({ message }) => console.error(`the page fails: ${message}`));
  await page.goto(site.address);
  await dropFolder(page, folder);
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  say(`${training.length} cases dropped and checked, on ${await page.locator('#device').textContent()}`);
  await shot(page, 'data');
  await page.getByRole('tab', { name: 'Train' }).click();
  await page.getByLabel('Epochs').fill(values.epochs);
  await page.getByLabel('Epochs').press('Tab');
  await shot(page, 'settings');
  await page.getByRole('button', { name: 'Start training' }).click();

  await page.locator('table.dice').waitFor();
  say('an epoch is over; the page is reloaded');
  await shot(page, 'epoch');
  await page.reload();
  await page.getByRole('button', { name: 'Resume it' }).click();
  say((await page.getByText(/Going on from step \d+ of \d+/).textContent()) ?? '');
  await page.getByRole('button', { name: 'Use this network' }).waitFor();
  say((await page.getByText(/^Done after/).textContent()) ?? '');
  await shot(page, 'done');

  await page.getByRole('button', { name: 'Use this network' }).click();
  await page.getByLabel('Choose volumes').setInputFiles(join(source, unseen.image));
  const button = page.getByRole('button', { name: /^Download the labels/ });
  await button.waitFor();
  await shot(page, 'segmented');
  const saving = page.waitForEvent('download');
  await button.click();
  const saved = join(values.out, (await saving).suggestedFilename());
  await (await saving).saveAs(saved);
  const [found, truth] = await Promise.all(
    [saved, join(source, unseen.label)].map(async (path) => readNifti(new Uint8Array(await readFile(path)))),
  );
  const classes = Math.max(...truth!.data) + 1;
  const scores = dice(found!.data, truth!.data, classes).slice(1);
  say(
    `saved ${saved}, ${found!.shape.join(' × ')} voxels; Dice ${scores.map((score) => score.toFixed(3)).join(', ')}`,
  );
} finally {
  await browser.close();
  site.close();
  await rm(work, { recursive: true, force: true });
}
