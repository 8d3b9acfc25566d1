/**
 * A network of TotalSegmentator's size in a tab: opens a model folder of nnU-Net's, its zip and a model.safetensors in
 * Chromium and segments one window; tells seconds and, on Linux, what the tab's process and the GPU's hold at most
 * beyond what they held before, in the size of the weights.
 *   node scripts/setup.mjs --sources && npx tsx bench/large-in-tab.ts [--patch 32] [--classes 25]
 *     [--features 32,64,128,256,320,320] [--how folder,zip,safetensors]
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { chromium as playwright, type Browser } from 'playwright';
import { chromium } from '../scripts/chromium.ts';
import { writeNifti } from '../src/data/nifti.ts';
import { random } from '../src/data/random.ts';
import { defaultPreprocessing } from '../src/data/preprocessing.ts';
import { exportNnunet } from '../src/export/nnunet.ts';
import { formatBytes } from '../src/format.ts';
import { layoutParameters } from '../src/model/parameters.ts';
import { writeModel } from '../src/weights/model-file.ts';
import { serve } from '../test/support/site.ts';
import { zipOf } from '../test/support/zip.ts';
import { initialWeights, nnunetConfig, numbers } from './lib.ts';

const { values: options } = parseArgs({
  options: {
    patch: { type: 'string', default: '32' },
    classes: { type: 'string', default: '25' },
    features: { type: 'string', default: '32,64,128,256,320,320' },
    how: { type: 'string', default: 'folder,zip,safetensors' },
  },
});
const [patch, classes] = [Number(options.patch), Number(options.classes)];
const config = nnunetConfig(numbers(options.features), classes);
const layout = layoutParameters(config);
const weightBytes = 4 * layout.count;

/** The files that the tab is given. */
async function writeFiles(folder: string): Promise<void> {
  const model = await writeModel(
    {
      config,
      labels: ['background', ...Array.from({ length: classes - 1 }, (_, index) => `part ${index + 1}`)],
      channels: ['CT'],
      preprocessing: defaultPreprocessing(1, [1.5, 1.5, 1.5]),
      inputSize: [patch, patch, patch],
    },
    initialWeights(config),
  );
  writeFileSync(join(folder, 'model.safetensors'), model);
  const { files } = await exportNnunet(model);
  for (const { path, source } of files) {
    mkdirSync(dirname(join(folder, 'nnunet', path)), { recursive: true });
    writeFileSync(join(folder, 'nnunet', path), source);
  }
  writeFileSync(
    join(folder, 'model.zip'),
    await zipOf(files.map(({ path, source }) => ({ path, content: source, deflated: true }))),
  );
  const source = random(7, 'scan');
  const data = Float32Array.from({ length: patch ** 3 }, () => source.normal());
  const affine = [1.5, 0, 0, 0, 0, 1.5, 0, 0, 0, 0, 1.5, 0, 0, 0, 0, 1];
  writeFileSync(join(folder, 'scan.nii'), await writeNifti({ data, shape: [patch, patch, patch], affine }));
}

async function writeSite(folder: string): Promise<void> {
  await build({
    entryPoints: {
      page: 'bench/large-in-tab/page.ts',
      nnunet: 'bench/large-in-tab/nnunet.ts',
      thread: 'src/worker/thread.ts',
    },
    bundle: true,
    format: 'esm',
    splitting: true,
    outdir: folder,
    logLevel: 'error',
  });
  writeFileSync(
    join(folder, 'index.html'),
    `<!doctype html><title>A large network</title>
    <input id="folder" type="file" webkitdirectory /><input id="file" type="file" /><input id="scan" type="file" />
    <script type="module" src="page.js"></script>`,
  );
}

/** Bytes of their own that processes of a kind hold; 0 where that is not told. */
function held(ids: readonly number[]): number {
  let bytes = 0;
  for (const id of ids) {
    try {
      const found = /RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${id}/status`, 'utf8'));
      bytes += 1024 * Number(found?.[1] ?? 0);
    } catch {
      // gone, or another system
    }
  }
  return bytes;
}

async function idsOf(browser: Browser): Promise<Readonly<Record<'tab' | 'gpu', readonly number[]>>> {
  const cdp = await browser.newBrowserCDPSession();
  const { processInfo } = await cdp.send('SystemInfo.getProcessInfo');
  const of = (kind: string) => processInfo.filter(({ type }) => type === kind).map(({ id }) => id);
  return { tab: of('renderer'), gpu: of('GPU') };
}

async function measure(how: string, folder: string, address: string): Promise<void> {
  const launch = chromium();
  if (!launch) throw new Error('there is no Chromium for this machine: name one in UNET3D_CHROMIUM');
  const browser = await playwright.launch({ ...launch, headless: true });
  try {
    const page = await browser.newPage();
    await page.goto(address);
    await page.locator('#folder').setInputFiles(join(folder, 'nnunet'));
    await page
      .locator('#file')
      .setInputFiles(join(folder, how === 'zip' ? 'model.zip' : 'model.safetensors'));
    await page.locator('#scan').setInputFiles(join(folder, 'scan.nii'));
    const ids = await idsOf(browser);
    const before = { tab: held(ids.tab), gpu: held(ids.gpu) };
    const most = { ...before };
    const watch = setInterval(() => {
      for (const kind of ['tab', 'gpu'] as const) most[kind] = Math.max(most[kind], held(ids[kind]));
    }, 4);
    const [opened, done] = await page.evaluate(
      (task) => (globalThis as unknown as { run: (how: string) => Promise<[number, number]> }).run(task),
      how,
    );
    clearInterval(watch);
    const share = (kind: 'tab' | 'gpu'): string => {
      const bytes = most[kind] - before[kind];
      return `${formatBytes(bytes)} (${(bytes / weightBytes).toFixed(2)})`;
    };
    console.log(
      `${how}: open after ${opened.toFixed(1)} s, segmented after ${done.toFixed(1)} s; at most beyond before: ` +
        `tab ${share('tab')}, GPU process ${share('gpu')}`,
    );
  } finally {
    await browser.close();
  }
}

const folder = mkdtempSync(join(tmpdir(), 'large-in-tab-'));
try {
  await writeFiles(folder);
  const place = join(folder, 'site');
  mkdirSync(place);
  await writeSite(place);
  const site = await serve(place);
  console.log(
    `${(layout.count / 1e6).toFixed(1)} M parameters, weights ${formatBytes(weightBytes)}, ${classes} classes, window ${patch}³; ` +
      `load ${loadavg()[0]!.toFixed(1)}`,
  );
  for (const how of options.how.split(',')) await measure(how, folder, site.address);
  site.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
