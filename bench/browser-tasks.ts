/**
 * How long the page's own thread is busy while its worker trains, and whose fault that is: builds and serves the
 * browser example, trains in Chromium and traces the main thread's tasks with samples of its stack. A task's time is
 * NiiVue's where a function of NiiVue is on the stack; the rest is ours: our functions, uPlot's, and what the
 * browser does for the page. Only with a canvas of NiiVue in sight, "commit" is measured by itself: the browser handing
 * frames on, which waits for WebGL, and so for the training, where both run on the processor.
 *   node scripts/setup.mjs && npx tsx bench/browser-tasks.ts
 */
import { loadavg } from 'node:os';
import { chromium as playwright, type Page } from 'playwright';
import { chromium } from '../scripts/chromium.ts';
import { serveExample } from '../test/support/site.ts';
import { phantomUploads } from './phantom-uploads.ts';
import { mainThreadTasks } from './trace.ts';

const traced = [
  '__metadata',
  'toplevel',
  'devtools.timeline',
  'disabled-by-default-devtools.timeline',
  'disabled-by-default-v8.cpu_profiler',
];

/** To the settings of a training of many epochs. */
async function prepare(page: Page, files?: Awaited<ReturnType<typeof phantomUploads>>): Promise<void> {
  await page.goto(site.address);
  if (files) {
    await page.getByLabel('Choose images').setInputFiles(files.images);
    await page.getByLabel('Choose labels').setInputFiles(files.labels);
  } else await page.getByRole('button', { name: 'Try it with phantoms' }).click();
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  await page.getByRole('tab', { name: 'Train' }).click();
  await page.getByLabel('Epochs').fill('500');
  await page.getByLabel('Features per level').selectOption('8,16');
}

/** Traces what happens meanwhile and prints what was found. */
async function watch(title: string, work: () => Promise<unknown>): Promise<void> {
  await browser.startTracing(page, { categories: traced });
  const begun = performance.now();
  await work();
  const seconds = (performance.now() - begun) / 1000;
  const tasks = mainThreadTasks(await browser.stopTracing(), /niivue/);
  const most = (part: (task: (typeof tasks)[number]) => number) => Math.max(0, ...tasks.map(part)).toFixed(0);
  const ours = ({ ms, theirs, commit }: (typeof tasks)[number]) => ms - theirs - commit;
  console.log(
    `${title}: ${seconds.toFixed(0)} s, ${tasks.length} tasks, ${tasks.filter(({ ms }) => ms >= 50).length} of 50 ms ` +
      `and more, longest ${most(({ ms }) => ms)} ms; ours ${most(ours)} ms (${most((task) => Math.min(ours(task), task.cpu))} ms ` +
      `of a processor), commit ${most(({ commit }) => commit)} ms, NiiVue ${most(({ theirs }) => theirs)} ms`,
  );
  for (const { ms, cpu, theirs, commit, names } of tasks.sort((a, b) => b.ms - a.ms).slice(0, 4))
    console.log(
      `  ${ms.toFixed(0)} ms (processor ${cpu.toFixed(0)}, commit ${commit.toFixed(0)}, NiiVue ${theirs.toFixed(0)}): ${names.join(', ')}`,
    );
}

const site = await serveExample();
const launch = chromium();
if (!launch) throw new Error('there is no Chromium for this machine: name one in UNET3D_CHROMIUM');
const browser = await playwright.launch({ ...launch, headless: true });
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
page.setDefaultTimeout(300_000);
try {
  await prepare(page);
  console.log(`${await page.locator('#device').textContent()}; load ${loadavg()[0]!.toFixed(1)}`);
  const start = page.getByRole('button', { name: 'Start training' });
  await watch('phantoms, from the start, with curves and preview', async () => {
    await start.click();
    await page.getByText(/after epoch 4: mean Dice/).waitFor();
  });
  await watch('a case in NiiVue meanwhile', async () => {
    await page.getByRole('tab', { name: 'See' }).click();
    await page.waitForTimeout(10_000);
  });
  await prepare(page, await phantomUploads(3, [160, 160, 64]));
  await watch('160 × 160 × 64 voxels, from the start to the first preview', async () => {
    await start.click();
    await page.getByText(/after epoch 1: mean Dice/).waitFor();
  });
  console.log(`load ${loadavg()[0]!.toFixed(1)}`);
} finally {
  await browser.close();
  site.close();
}
