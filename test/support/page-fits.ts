/** Whether a page of the browser example fits into narrow windows. */
import type { Page } from 'playwright';
import { expect } from 'vitest';

/** Of a phone, and of a window of 1280 pixels at 200 %. */
export const narrowWidths = [390, 640] as const;

/** Runs in the page: the canvases that are not shown in the proportions of their pixels, to a pixel. */
function distorted(): string[] {
  return [...document.querySelectorAll('canvas')].flatMap((canvas) => {
    const { width, height } = canvas.getBoundingClientRect();
    const error = Math.abs(width * canvas.height - height * canvas.width);
    const label = canvas.getAttribute('aria-label') ?? canvas.className;
    return error > width + height
      ? [`${label}: ${canvas.width} × ${canvas.height} pixels as ${width} × ${height}`]
      : [];
  });
}

/** Nothing is wider than the window, no picture is distorted, and no level of headings is left out. */
async function expectToFit(page: Page, name: string): Promise<void> {
  const at = `${name} at ${page.viewportSize()!.width}`;
  const excess = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  await expect.poll(excess, { message: at, timeout: 20_000 }).toBeLessThanOrEqual(0);
  await expect.poll(() => page.evaluate(distorted), { message: at, timeout: 20_000 }).toEqual([]);
  const levels = await page
    .locator('h1, h2, h3, h4, h5, h6')
    .evaluateAll((headings) => headings.map(({ tagName }) => Number(tagName[1])));
  const skips = levels.filter((level, index) => level > (levels[index - 1] ?? 0) + 1);
  expect(skips, `levels of headings in ${at}: ${levels.join()}`).toEqual([]);
}

/** As `expectToFit`, at each of `narrowWidths`. */
export async function expectToFitNarrow(page: Page, name: string): Promise<void> {
  const before = page.viewportSize()!;
  for (const width of narrowWidths) {
    await page.setViewportSize({ width, height: before.height });
    await expectToFit(page, name);
  }
  await page.setViewportSize(before);
}
