/**
 * Draws the icons with which the page of examples/browser is installed, from its SVG:
 *   node --import tsx scripts/page-icons.ts
 * The maskable one has the colour of the picture's ground up to its edges, and the picture inside of what a mask leaves:
 * a circle of 80 % of the width (https://www.w3.org/TR/appmanifest/#icon-masks).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium as playwright } from 'playwright';
import { chromium } from './chromium.ts';

const folder = 'examples/browser/public';
const icons = [
  { name: 'icon-192.png', side: 192, share: 1 },
  { name: 'icon-512.png', side: 512, share: 1 },
  { name: 'icon-maskable-512.png', side: 512, share: 0.8 },
];

const launch = chromium();
if (!launch) throw new Error('there is no Chromium for this machine: name one in UNET3D_CHROMIUM');
const svg = readFileSync(join(folder, 'icon.svg'), 'utf8');
const ground = /<rect[^>]* fill="([^"]+)"/.exec(svg)?.[1];
if (ground === undefined) throw new Error('icon.svg has no rectangle whose colour could be its ground');
const browser = await playwright.launch({ ...launch, headless: true });
try {
  const page = await browser.newPage();
  for (const { name, side, share } of icons) {
    await page.setViewportSize({ width: side, height: side });
    const background = share < 1 ? ground : 'transparent';
    await page.setContent(
      `<style>body { margin: 0; height: 100vh; display: grid; place-items: center; background: ${background} }
      svg { width: ${100 * share}% }</style>${svg}`,
    );
    await page.screenshot({ path: join(folder, name), omitBackground: true });
  }
} finally {
  await browser.close();
}
