/** Pages of the browser example in Chromium, whose unseen errors and breaches of its content policy are gathered. */
import type { Browser, BrowserContext, Page } from 'playwright';

/** Milliseconds that something on the page, such as a training, may take on a busy machine. */
export const patience = 250_000;
/** For a test of several such things: longer, so that what was waited for in vain is told. */
export const journeyTimeout = 600_000;

/** Pixels of the screen for one of the page: without a GPU, few of them are drawn soon. */
export const deviceScaleFactor = process.env['UNET3D_SCREENSHOTS'] ? 1 : 0.5;

const contexts = new WeakMap<Browser, Promise<BrowserContext>>();

/**
 * The pages of a browser share what it keeps, and with that the kernels that were compiled and proved for one of them.
 * @param complaints takes what should not have happened
 */
export async function visitPage(
  browser: Browser,
  address: string,
  complaints: string[],
  viewport = { width: 1280, height: 800 },
): Promise<Page> {
  const context =
    contexts.get(browser) ??
    browser.newContext({
      acceptDownloads: true,
      serviceWorkers: 'block', // their requests go past `page.route`
      deviceScaleFactor,
    });
  contexts.set(browser, context);
  const page = await (await context).newPage();
  await page.setViewportSize(viewport);
  page.setDefaultTimeout(patience);
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (/Content Security Policy/i.test(message.text())) complaints.push(message.text());
  });
  await page.goto(address);
  return page;
}

/** Whether the browser asks before it closes the page. */
export const asksFirst = (page: Page): Promise<boolean> =>
  page.evaluate(() => !dispatchEvent(new Event('beforeunload', { cancelable: true })));

/** Addresses of the workers that compute, and of the one that reads data. */
export const workers = { gpu: '**/worker-thread*.js', data: '**/data.worker*.js' };

/** Puts a script of the test in front of that of the workers that are started from now on, or of so many of them. */
export async function inFrontOf(page: Page, address: string, script: string, times?: number): Promise<void> {
  await page.route(
    address,
    async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: `${script}\n${await response.text()}` });
    },
    times === undefined ? {} : { times },
  );
}
