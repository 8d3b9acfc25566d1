/**
 * A page that Playwright does not attend to, and that can be hidden: it makes its own pages believe that they are
 * always in sight. Driven by expressions alone.
 */
import type { Browser, CDPSession } from 'playwright';

/** Arguments by which Playwright spares hidden pages what browsers do to them. */
export const sparing = [
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
];

interface Reply {
  readonly id: number;
  readonly error?: { readonly message: string };
  readonly result?: {
    readonly result?: { readonly value?: unknown };
    readonly exceptionDetails?: { readonly exception?: { readonly description?: string } };
  };
}

export class BarePage {
  #next = 1;
  readonly #waiting = new Map<number, (reply: Reply) => void>();

  private constructor(
    readonly cdp: CDPSession,
    readonly browserContextId: string,
    readonly targetId: string,
    readonly session: string,
  ) {
    cdp.on('Target.receivedMessageFromTarget', ({ sessionId, message }) => {
      const reply = JSON.parse(message) as Reply;
      if (sessionId === session) this.#waiting.get(reply.id)?.(reply);
    });
  }

  static async open(browser: Browser, url: string): Promise<BarePage> {
    const cdp = await browser.newBrowserCDPSession();
    const { browserContextId } = await cdp.send('Target.createBrowserContext');
    const { targetId } = await cdp.send('Target.createTarget', { url, browserContextId, newWindow: true });
    const { sessionId } = await cdp.send('Target.attachToTarget', { targetId, flatten: false });
    const page = new BarePage(cdp, browserContextId, targetId, sessionId);
    await page.until(`document.readyState === 'complete' && location.href !== 'about:blank'`);
    return page;
  }

  /** The value of an expression, awaited. */
  async evaluate<T>(expression: string): Promise<T> {
    const id = this.#next++;
    const answered = new Promise<Reply>((resolve) => this.#waiting.set(id, resolve));
    const params = { expression, awaitPromise: true, returnByValue: true };
    const message = JSON.stringify({ id, method: 'Runtime.evaluate', params });
    await this.cdp.send('Target.sendMessageToTarget', { sessionId: this.session, message });
    const { result, error } = await answered;
    const problem = error?.message ?? result?.exceptionDetails?.exception?.description;
    if (problem !== undefined) throw new Error(`${expression}: ${problem}`);
    return result?.result?.value as T;
  }

  /** Waits until an expression holds; what is asked while the page is replaced may find no answer. */
  async until(expression: string, seconds = 120): Promise<void> {
    for (const end = Date.now() + seconds * 1000; Date.now() < end; await pause(100)) {
      const holds = this.evaluate<boolean>(`Boolean(${expression})`).catch(() => false);
      if (await Promise.race([holds, pause(2000)])) return;
    }
    throw new Error(`after ${seconds} s it still does not hold: ${expression}`);
  }

  /** Hides the page, behind another tab and with its window minimised, or brings it back. */
  async show(visible: boolean): Promise<void> {
    const { cdp, targetId, browserContextId } = this;
    if (visible) await cdp.send('Target.activateTarget', { targetId });
    else await cdp.send('Target.createTarget', { url: 'about:blank', browserContextId });
    const { windowId } = await cdp.send('Browser.getWindowForTarget', { targetId });
    const windowState = visible ? 'normal' : 'minimized';
    await cdp.send('Browser.setWindowBounds', { windowId, bounds: { windowState } });
    await this.until(`document.visibilityState === '${visible ? 'visible' : 'hidden'}'`, 10);
  }
}

const pause = (ms: number): Promise<undefined> =>
  new Promise((resolve) => setTimeout(() => resolve(undefined), ms));
