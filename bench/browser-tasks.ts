/**
 * How long the page's own thread is busy while its worker trains: builds and serves the browser example, trains on
 * phantoms in Chromium and counts the main thread's long tasks (50 ms and more, as the browser reports them).
 *   npx tsx bench/browser-tasks.ts
 * Two situations: the curves alone (no validation cases, so no preview is drawn), and with the preview
 * that NiiVue draws after each epoch, which is slow by itself where WebGL has no GPU.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium as playwright, type Page } from 'playwright';
import { build } from 'vite';
import { chromium } from '../scripts/chromium.ts';
import { serve } from '../test/support/site.ts';

const seconds = 15;
const folder = mkdtempSync(join(tmpdir(), 'unet3d-gpu-tasks-'));

/** Counts long tasks for some time. */
async function watch(page: Page, title: string): Promise<void> {
  const before = await steps(page);
  const found = await page.evaluate(async (ms) => {
    const tasks: number[] = [];
    const observer = new PerformanceObserver((list) =>
      tasks.push(...list.getEntries().map(({ duration }) => duration)),
    );
    observer.observe({ entryTypes: ['longtask'] });
    await new Promise((resolve) => setTimeout(resolve, ms));
    observer.disconnect();
    return tasks;
  }, seconds * 1000);
  const trained = (await steps(page)) - before;
  console.log(
    `${title}: ${found.length} long tasks in ${seconds} s and ${trained} steps, the longest ${Math.max(0, ...found).toFixed(0)} ms`,
  );
}

/** Steps that the progress line tells of. */
async function steps(page: Page): Promise<number> {
  await page.getByRole('tab', { name: 'Train' }).click();
  const line = page.getByText(/Training: epoch/);
  await line.waitFor();
  const counted = Number(/step (\d+) of/.exec((await line.textContent()) ?? '')?.[1] ?? 0);
  return counted;
}

async function train(page: Page, address: string, preview: boolean): Promise<void> {
  await page.goto(address);
  await page.getByRole('button', { name: 'Try it with phantoms' }).click();
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  if (!preview)
    for (const choice of await page.getByLabel(/^Use of/).all()) await choice.selectOption('train');
  await page.getByRole('tab', { name: 'Train' }).click();
  await page.getByLabel('Epochs').fill('500');
  await page.getByRole('button', { name: 'Start training' }).click();
  await steps(page);
}

await build({
  root: 'examples/browser',
  configFile: 'examples/browser/vite.config.ts',
  logLevel: 'error',
  build: { outDir: folder, emptyOutDir: true },
});
const site = await serve(folder);
const launch = chromium();
if (!launch) throw new Error('there is no Chromium for this machine: name one in UNET3D_CHROMIUM');
const browser = await playwright.launch({ ...launch, headless: true });
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await train(page, site.address, false);
  console.log(`adapter: ${await page.locator('#device').textContent()}`);
  await watch(page, 'curves, no preview');
  await train(page, site.address, true);
  await watch(page, 'curves and preview (NiiVue)');
} finally {
  await browser.close();
  site.close();
  rmSync(folder, { recursive: true, force: true });
}
