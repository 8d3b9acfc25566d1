/**
 * What a page of the browser example has in use, as counted from outside: WebGL contexts, object URLs, workers and GPU
 * buffers that nobody has let go of, elements and listeners.
 */
import type { Page } from 'playwright';

export interface Counts {
  readonly contexts: number;
  readonly urls: number;
  readonly workers: number;
  /** Of all workers, and their bytes. */
  readonly buffers: number;
  readonly bufferBytes: number;
  readonly nodes: number;
  readonly listeners: number;
}

/** Runs in the page, ahead of its scripts. */
function countInPage(): void {
  const contexts: WeakRef<WebGL2RenderingContext>[] = []; // which keep nothing
  const urls = new Set<string>();
  type Method = (this: unknown, ...args: unknown[]) => unknown;
  const around = (owner: object, name: string, after: (result: unknown, args: unknown[]) => void): void => {
    const original = Object.getOwnPropertyDescriptor(owner, name)!.value as Method;
    const wrapped: Method = function (...args) {
      const result = original.apply(this, args);
      after(result, args);
      return result;
    };
    Object.defineProperty(owner, name, { value: wrapped, configurable: true, writable: true });
  };
  around(HTMLCanvasElement.prototype, 'getContext', (context) => {
    if (!(context instanceof WebGL2RenderingContext)) return;
    if (!contexts.some((known) => known.deref() === context)) contexts.push(new WeakRef(context));
  });
  around(URL, 'createObjectURL', (url) => urls.add(url as string));
  around(URL, 'revokeObjectURL', (_, [url]) => urls.delete(url as string));
  Object.assign(globalThis, {
    counted: () => ({
      contexts: contexts.filter((context) => context.deref()?.isContextLost() === false).length,
      urls: urls.size,
    }),
  });
}

/** Runs in a worker, ahead of its script. */
function countInWorker(): void {
  const bytes = new Map<GPUBuffer, number>();
  const method = <T extends object>(owner: T, name: keyof T): ((...args: never[]) => unknown) =>
    Object.getOwnPropertyDescriptor(owner, name)!.value as (...args: never[]) => unknown;
  const create = method(GPUDevice.prototype, 'createBuffer');
  const destroy = method(GPUBuffer.prototype, 'destroy');
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = create.call(this, descriptor as never) as GPUBuffer;
    bytes.set(buffer, descriptor.size);
    return buffer;
  };
  GPUBuffer.prototype.destroy = function () {
    bytes.delete(this);
    return destroy.call(this) as undefined;
  };
  Object.assign(globalThis, {
    counted: () => ({ buffers: bytes.size, bufferBytes: [...bytes.values()].reduce((a, b) => a + b, 0) }),
  });
}

/** What tsx puts into functions. */
const named = 'globalThis.__name ??= (named) => named;';

/** Counts from now on: call it before the page opens its address. Its context must block service workers. */
export async function countIn(page: Page): Promise<void> {
  await page.addInitScript(`${named}(${countInPage.toString()})();`);
  await page.route('**/*worker*.js', async (route) => {
    const response = await route.fetch();
    const body = `${named}(${countInWorker.toString()})();\n${await response.text()}`;
    await route.fulfill({ response, body });
  });
}

/** What is in use after a garbage collection. */
export async function countsOf(page: Page): Promise<Counts> {
  const counted = <T>() => (globalThis as unknown as { counted: () => T }).counted();
  const inWorkers = await Promise.all(
    page
      .workers()
      .map((worker) =>
        worker.evaluate(counted<Pick<Counts, 'buffers' | 'bufferBytes'>>).catch(() => undefined),
      ),
  );
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('HeapProfiler.collectGarbage');
  const { nodes, jsEventListeners } = await devtools.send('Memory.getDOMCounters');
  await devtools.detach();
  const sum = (what: 'buffers' | 'bufferBytes') =>
    inWorkers.reduce((total, found) => total + (found?.[what] ?? 0), 0);
  return {
    ...(await page.evaluate(counted<Pick<Counts, 'contexts' | 'urls'>>)),
    workers: page.workers().length,
    buffers: sum('buffers'),
    bufferBytes: sum('bufferBytes'),
    nodes,
    listeners: jsEventListeners,
  };
}
