/**
 * How soon a new visitor of the browser example sees a result: opens the built page in Chromium, with nothing kept from
 * before, and tries the model that comes with it. Prints the seconds since the page was asked for.
 *   node scripts/setup.mjs && npx tsx bench/page-starter.ts
 */
import { loadavg } from 'node:os';
import { chromium as playwright } from 'playwright';
import { chromium } from '../scripts/chromium.ts';
import { serveExample } from '../test/support/site.ts';

const launch = chromium();
if (!launch) throw new Error('there is no Chromium for this machine: name one in UNET3D_CHROMIUM');
const site = await serveExample();
const browser = await playwright.launch({ ...launch, headless: true });
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(600_000);
  const load = loadavg()[0]!.toFixed(1);
  const begin = performance.now();
  const tell = (what: string): void =>
    console.log(`${((performance.now() - begin) / 1000).toFixed(1)} s: ${what}`);
  await page.goto(site.address);
  await page.locator('#device', { hasText: ':' }).waitFor();
  tell('the page is there');
  await page.getByRole('tab', { name: 'Use' }).click();
  await page.getByRole('button', { name: 'Try the hippocampus model' }).click();
  await page.getByText(/It reads one image and finds/).waitFor();
  tell('the model is open');
  await page.getByRole('button', { name: /^Download the labels of / }).waitFor();
  tell('its case is segmented, and its volumes are told');
  await page.getByLabel('White at').and(page.locator(':enabled')).waitFor();
  tell('the labels are drawn over the case');
  console.log(`Chromium ${browser.version()}, ${await page.locator('#device').textContent()}; load ${load}`);
} finally {
  await browser.close();
  site.close();
}
