/**
 * A volume of 512 x 512 x 400 voxels in the browser example: looked at, drawn on, segmented and saved, with what the page's own thread
 * was busy with meanwhile. Makes the volume and a small network of 4-mm voxels in a temporary folder, builds and serves the
 * page and drives it in Chromium; Python with nibabel, as PYTHON names it, compares the label map with its source.
 *   node scripts/setup.mjs && node --import tsx scripts/run.ts --import tsx bench/large-volume.ts [--size 512,512,400] [--shots FOLDER] [--annotate]
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chromium as playwright, type Page } from 'playwright';
import { chromium } from '../scripts/chromium.ts';
import { defaultPreprocessing, releaseNodeGpu, UNet3D } from '../src/node.ts';
import { serveExample } from '../test/support/site.ts';

const python = process.env['PYTHON'] ?? '/usr/bin/python3';
const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '512,512,400' },
    shots: { type: 'string' },
    annotate: { type: 'boolean', default: false }, // and nothing else
  },
});
const folder = mkdtempSync(join(tmpdir(), 'unet3d-large-'));
const [scan, labels, weights] = ['scan.nii.gz', 'labels.nii.gz', 'model.safetensors'].map((name) =>
  join(folder, name),
) as [string, string, string];

/** Two ellipsoids in a gradient, int16, on an oblique grid of 0.7 x 0.7 x 1 mm. */
const makeScan = `
import sys, numpy as np, nibabel as nib
nx, ny, nz = (int(n) for n in sys.argv[2].split(','))
x, y, z = (np.linspace(-1, 1, n, dtype=np.float32) for n in (nx, ny, nz))
data = np.empty((nx, ny, nz), np.int16, order='F')
for k in range(nz):
    plane = np.full((nx, ny), -1000, np.float32) + 20 * x[:, None]
    inside = (x[:, None] / 0.8) ** 2 + (y[None, :] / 0.6) ** 2 + (z[k] / 0.95) ** 2 < 1
    organ = ((x[:, None] - 0.3) / 0.25) ** 2 + (y[None, :] / 0.3) ** 2 + (z[k] / 0.4) ** 2 < 1
    plane[inside] = 40
    plane[organ] = 300
    data[:, :, k] = plane
turn = np.radians(12)
affine = np.eye(4)
affine[:3, :3] = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]) @ np.diag([-0.7, 0.7, 1.0])
affine[:3, 3] = [170, -180, -200]
nib.openers.Opener.default_compresslevel = 1
nib.save(nib.Nifti1Image(data, affine), sys.argv[1])
`;
const compare = `
import sys, numpy as np, nibabel as nib
scan, labels = (nib.load(path) for path in sys.argv[1:])
data = np.asarray(labels.dataobj)
print(f'nibabel: labels {labels.shape} {labels.get_data_dtype()}, values {np.unique(data)}, scan {scan.shape} {scan.get_data_dtype()}')
assert labels.shape == scan.shape
print('largest difference of the affines:', np.abs(labels.affine - scan.affine).max())
`;

interface Frame {
  readonly ms: number;
  readonly scripts: readonly string[];
}

/** Runs in the page: notes what takes its thread. */
function noteTasks(): void {
  const noted = { tasks: [] as number[], frames: [] as Frame[] };
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) noted.tasks.push(duration);
  }).observe({ type: 'longtask' });
  type Script = { duration: number; sourceURL: string; sourceFunctionName: string; invoker: string };
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const { duration, scripts } = entry as PerformanceEntry & { scripts: Script[] };
      const told = scripts.map(
        ({ duration, sourceURL, sourceFunctionName, invoker }) =>
          `${duration.toFixed(0)} ms ${sourceURL.split('/').at(-1)} ${sourceFunctionName} ${invoker.slice(0, 40)}`,
      );
      noted.frames.push({ ms: duration, scripts: told });
    }
  }).observe({ type: 'long-animation-frame' });
  Object.assign(globalThis, { noted });
}

async function phase(page: Page, name: string, work: () => Promise<unknown>): Promise<void> {
  const begun = performance.now();
  await work();
  const seconds = (performance.now() - begun) / 1000;
  await page.waitForTimeout(1500); // the last ones are told of
  const { tasks, frames } = await page.evaluate(() => {
    const { noted } = globalThis as unknown as { noted: { tasks: number[]; frames: Frame[] } };
    return { tasks: noted.tasks.splice(0), frames: noted.frames.splice(0) };
  });
  const most = Math.max(0, ...tasks).toFixed(0);
  console.log(
    `| ${name} | ${seconds.toFixed(0)} | ${tasks.length} | ${tasks.filter((ms) => ms > 200).length} | ${most} |`,
  );
  for (const { ms, scripts } of frames.filter((frame) => frame.ms > 200))
    notes.push(`${name}: frame of ${ms.toFixed(0)} ms: ${scripts.join('; ') || 'no script'}`);
  if (values.shots) await page.screenshot({ path: join(values.shots, `${name}.png`), fullPage: true });
}
const notes: string[] = [];

/** Draws a stroke, in another slice another one, and takes that back. */
async function annotate(page: Page): Promise<void> {
  const stroke = async (): Promise<void> => {
    const box = (await page.locator('.board canvas').boundingBox())!;
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    await page.mouse.move(x, y);
    await page.mouse.down();
    for (const step of [5, 10, 15]) await page.mouse.move(x + step, y + step);
    await page.mouse.up();
  };
  const drawn = (slices: number) =>
    page.getByText(`${slices} slice${slices > 1 ? 's' : ''} drawn in this plane`);
  const at = page.locator('.slice-text');
  await phase(page, 'annotate: open', async () => {
    await page.getByRole('tab', { name: 'Annotate' }).click();
    await page.getByText('Nothing is drawn here yet').waitFor();
  });
  await page.locator('.board canvas').scrollIntoViewIfNeeded();
  await phase(page, 'annotate: a stroke', async () => {
    await stroke();
    await drawn(1).waitFor();
  });
  await phase(page, 'annotate: the next slice', async () => {
    const before = await at.textContent();
    await page.keyboard.press('ArrowUp');
    while ((await at.textContent()) === before) await page.waitForTimeout(10);
  });
  await phase(page, 'annotate: another stroke', async () => {
    await stroke();
    await drawn(2).waitFor();
  });
  await phase(page, 'annotate: undo', async () => {
    await page.keyboard.press('Control+z');
    await drawn(1).waitFor();
  });
  await phase(page, 'annotate: another plane', async () => {
    await page.getByLabel('Plane').selectOption('sagittal');
    await page.getByText(/^Slice \d+ of/).waitFor();
  });
}

const launch = chromium();
if (!launch) throw new Error('there is no Chromium for this machine: name one in UNET3D_CHROMIUM');
const site = await serveExample();
const browser = await playwright.launch({ ...launch, headless: true });
try {
  execFileSync(python, ['-c', makeScan, scan, values.size], { stdio: 'inherit' });
  const network = await UNet3D.create({
    inChannels: 1,
    classes: 3,
    labels: ['background', 'body', 'organ'],
    features: [4, 8],
    norm: 'instance',
    preprocessing: { ...defaultPreprocessing(1), spacing: [4, 4, 4] },
  });
  writeFileSync(weights, await network.save());
  network.dispose();
  const context = await browser.newContext({
    serviceWorkers: 'block',
    acceptDownloads: true,
    viewport: { width: 1280, height: 800 },
  });
  const page = await context.newPage();
  page.setDefaultTimeout(900_000);
  page.on('pageerror', ({ message }) => console.log(`error on the page: ${message}`));
  await page.addInitScript(`globalThis.__name ??= (named) => named;(${noteTasks.toString()})();`);
  await page.goto(site.address);
  console.log(
    `${values.size.replaceAll(',', ' x ')} voxels, int16, ${(statSync(scan).size / 1e6).toFixed(1)} MB packed; ` +
      `${browser.version()}, ${await page.locator('#device').textContent()}; load ${loadavg()[0]!.toFixed(1)}\n`,
  );
  console.log('| | seconds | tasks of 50 ms and more | of 200 ms and more | longest (ms) |');
  console.log('| --- | ---: | ---: | ---: | ---: |');
  const tab = (name: string) => page.getByRole('tab', { name }).click();
  const drawn = () => page.getByLabel('White at').and(page.locator(':enabled')).waitFor();
  const lookAndSegment = async (): Promise<void> => {
    await phase(page, 'see', async () => {
      await tab('See');
      await drawn();
    });
    console.log(`\n"${await page.getByText(/^Shown with/).textContent()}"\n`);
    await phase(page, 'segment', async () => {
      await tab('Use');
      await page.getByLabel('Open a model file').setInputFiles(weights);
      await page.getByText('model.safetensors. It reads one image').waitFor();
      await page.getByLabel('Choose volumes', { exact: true }).setInputFiles(scan);
      await page.getByRole('button', { name: /^Download the labels of/ }).waitFor();
    });
    await phase(page, 'overlay', drawn);
    await phase(page, 'save', async () => {
      const file = page.waitForEvent('download');
      await page.getByRole('button', { name: /^Download the labels of/ }).click();
      await (await file).saveAs(labels);
    });
  };
  await phase(page, 'read', async () => {
    await page.getByLabel('Choose images').setInputFiles(scan);
    await page.getByRole('button', { name: 'No labels: annotate some' }).waitFor();
  });
  await annotate(page);
  if (!values.annotate) await lookAndSegment();
  console.log(`\n${notes.join('\n')}\n`);
  if (!values.annotate) execFileSync(python, ['-c', compare, scan, labels], { stdio: 'inherit' });
} finally {
  await browser.close();
  site.close();
  rmSync(folder, { recursive: true });
  await releaseNodeGpu();
}
