/**
 * Whether the browser example goes on training in a tab that nobody sees: steps per minute with the page in sight and
 * hidden (another tab in front, the window minimised), and how far its timers are slowed down meanwhile.
 *   node scripts/setup.mjs && npx tsx bench/hidden-tab.ts [SECONDS]
 * HEADED=1 opens a window, with a Chromium that UNET3D_CHROMIUM names and, without a screen, under xvfb-run.
 */
import { loadavg } from 'node:os';
import { chromium as playwright } from 'playwright';
import { chromium } from '../scripts/chromium.ts';
import { BarePage, sparing } from '../test/support/bare-page.ts';
import { serveExample } from '../test/support/site.ts';

const seconds = Number(process.argv[2] ?? 30);
const launch = chromium();
if (!launch) throw new Error('there is no Chromium for this machine: name one in UNET3D_CHROMIUM');
const site = await serveExample();
const headless = process.env['HEADED'] === undefined;
const browser = await playwright.launch({ ...launch, headless, ignoreDefaultArgs: sparing });

const pressing = (name: string): string =>
  `[...document.querySelectorAll('button')].find((button) => button.textContent === '${name}')`;
const step = `Number(/step (\\d+) of/.exec(document.body.textContent)?.[1] ?? 0)`;

try {
  const page = await BarePage.open(browser, site.address);
  const press = async (name: string): Promise<void> => {
    await page.until(pressing(name));
    await page.evaluate(`${pressing(name)}.click()`);
  };
  await press('Try it with phantoms');
  await page.until(pressing('Next: look at the cases'));
  await press('Train');
  await page.until(`document.querySelector('input[type=number]')`);
  await page.evaluate(`for (const input of document.querySelectorAll('input[type=number]'))
    if (input.previousSibling.textContent === 'Epochs') {
      input.value = 500;
      input.dispatchEvent(new Event('change'));
    }`);
  await press('Start training');
  await page.until(`${step} > 0`);
  await page.evaluate('globalThis.ticks = 0, setInterval(() => globalThis.ticks++, 50), 0');
  const read = () => page.evaluate<[number, number, string]>(`[${step}, ticks, document.visibilityState]`);
  console.log(`${browser.version()}, ${headless ? 'headless' : 'with a window'}`);
  for (const visible of [true, false, true, false]) {
    await page.show(visible);
    const before = await read();
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const after = await read();
    const perMinute = (index: 0 | 1) => (((after[index] - before[index]) * 60) / seconds).toFixed(0);
    console.log(
      `${after[2]}: ${perMinute(0)} steps and ${perMinute(1)} ticks of a 50-ms timer per minute, ` +
        `load ${loadavg()[0]!.toFixed(1)}`,
    );
  }
} finally {
  await browser.close();
  site.close();
}
