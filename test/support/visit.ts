/** Pages of the browser example in Chromium, whose unseen errors and breaches of its content policy are gathered. */
import type { Browser, Page } from 'playwright';

/** Milliseconds that something on the page may take on a busy machine. */
const patience = 200_000;

/** @param complaints takes what should not have happened */
export async function visitPage(
  browser: Browser,
  address: string,
  complaints: string[],
  viewport = { width: 1280, height: 800 },
): Promise<Page> {
  const context = await browser.newContext({ viewport, acceptDownloads: true });
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (/Content Security Policy/i.test(message.text())) complaints.push(message.text());
  });
  await page.goto(address);
  return page;
}
