/**
 * What the browser example has in use after each of many rounds of training a network, segmenting with it and looking at
 * a case, or of one of these: serves the built page, drives it in Chromium, collects garbage and prints a table.
 *   node scripts/setup.mjs && npx tsx bench/page-memory.ts [ROUNDS] [train | segment | look]
 */
import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { chromium as playwright, type Browser, type CDPSession, type Page } from 'playwright';
import { chromium } from '../scripts/chromium.ts';
import { countIn, countsOf } from '../test/support/page-counts.ts';
import { look, segment, train, trainSegmentLook } from '../test/support/page-round.ts';
import { serveExample } from '../test/support/site.ts';
import { phantomUploads } from './phantom-uploads.ts';

const rounds = Number(process.argv[2] ?? 20);
const only = process.argv[3];
const MB = 1e6;

interface Heap {
  readonly usedSize: number;
  readonly embedderHeapUsedSize?: number;
  readonly backingStorageSize?: number;
}

/** Heaps of a page and its workers, in bytes, after garbage is collected. */
class Heaps {
  readonly #session: CDPSession;
  readonly #workers = new Map<string, string>();
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #next = 1;

  private constructor(session: CDPSession) {
    this.#session = session;
  }

  static async of(page: Page): Promise<Heaps> {
    const session = await page.context().newCDPSession(page);
    const heaps = new Heaps(session);
    session.on('Target.attachedToTarget', ({ sessionId, targetInfo }) => {
      if (targetInfo.type === 'worker') heaps.#workers.set(sessionId, targetInfo.url);
    });
    session.on('Target.detachedFromTarget', ({ sessionId }) => heaps.#workers.delete(sessionId));
    session.on('Target.receivedMessageFromTarget', ({ message }) => {
      const { id, result } = JSON.parse(message) as { id: number; result: unknown };
      heaps.#waiting.get(id)?.(result);
    });
    await session.send('Target.setAutoAttach', {
      autoAttach: true,
      waitForDebuggerOnStart: false,
      flatten: false,
    });
    return heaps;
  }

  async #ask(sessionId: string, method: string): Promise<unknown> {
    const id = this.#next++;
    const answered = new Promise<unknown>((resolve) => this.#waiting.set(id, resolve));
    await this.#session.send('Target.sendMessageToTarget', {
      sessionId,
      message: JSON.stringify({ id, method }),
    });
    return answered;
  }

  /** By the name of the script; the page's own is `page`. */
  async read(): Promise<Map<string, { objects: number; arrays: number }>> {
    const found = new Map<string, { objects: number; arrays: number }>();
    const add = (
      name: string,
      { usedSize, embedderHeapUsedSize = 0, backingStorageSize = 0 }: Heap,
    ): void => {
      const before = found.get(name) ?? { objects: 0, arrays: 0 };
      found.set(name, {
        objects: before.objects + usedSize + embedderHeapUsedSize,
        arrays: before.arrays + backingStorageSize,
      });
    };
    for (let twice = 0; twice < 2; twice++) await this.#session.send('HeapProfiler.collectGarbage');
    add('page', await this.#session.send('Runtime.getHeapUsage'));
    for (const [sessionId, url] of this.#workers) {
      await this.#ask(sessionId, 'HeapProfiler.collectGarbage');
      const name = /([\w.]*?)[.-]?worker[^/]*$/.exec(url)?.[0].replace(/-[\w-]{8}\.js$/, '') ?? url;
      add(name, (await this.#ask(sessionId, 'Runtime.getHeapUsage')) as Heap);
    }
    return found;
  }
}

/** Resident megabytes of the processes of the browser, by kind; undefined where the system does not tell. */
async function resident(browser: Browser): Promise<Record<string, number>> {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  const found: Record<string, number> = {};
  for (const { id, type } of processInfo)
    try {
      const kB = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))![1]);
      found[type] = (found[type] ?? 0) + kB / 1000;
    } catch {
      // another system
    }
  return found;
}

/** Runs in the page: the files and rows that it keeps. */
async function kept(): Promise<{ files: number; fileBytes: number; rows: number }> {
  let [files, fileBytes, rows] = [0, 0, 0];
  const visit = async (directory: FileSystemDirectoryHandle): Promise<void> => {
    for await (const handle of directory.values())
      if (handle.kind === 'directory') await visit(handle);
      else {
        files++;
        fileBytes += (await handle.getFile()).size;
      }
  };
  await visit(await navigator.storage.getDirectory());
  for (const { name } of await indexedDB.databases()) {
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(name!);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error!);
    });
    for (const store of database.objectStoreNames)
      rows += await new Promise<number>((resolve) => {
        const request = database.transaction(store).objectStore(store).count();
        request.onsuccess = () => resolve(request.result);
      });
    database.close();
  }
  return { files, fileBytes, rows };
}

/** Deletes the networks of the rounds before, of which there is one. */
async function deleteOld(page: Page): Promise<void> {
  await page.getByRole('tab', { name: 'Models' }).click();
  await page.getByRole('button', { name: /^Show / }).waitFor();
  const old = page.getByRole('row').filter({ has: page.getByRole('button', { name: /^Open/ }) });
  for (const entry of await old.all()) await entry.getByRole('button', { name: /^Delete/ }).click();
  await old.waitFor({ state: 'detached' });
  await page.getByRole('tab', { name: 'Data' }).click();
}

const launch = chromium();
if (!launch) throw new Error('there is no Chromium for this machine: name one in UNET3D_CHROMIUM');
const site = await serveExample();
const browser = await playwright.launch({ ...launch, headless: true });
try {
  const context = await browser.newContext({
    serviceWorkers: 'block',
    viewport: { width: 1280, height: 800 },
  });
  const page = await context.newPage();
  page.setDefaultTimeout(300_000);
  page.on('dialog', (dialog) => void dialog.accept());
  await countIn(page);
  await page.goto(site.address);
  const heaps = await Heaps.of(page);
  const { images, labels } = await phantomUploads(4, [32, 32, 24]);
  await page.getByLabel('Choose images').setInputFiles(images);
  await page.getByLabel('Choose labels').setInputFiles(labels);
  await page.getByRole('button', { name: 'Next: look at the cases' }).waitFor();
  console.log(
    `${browser.version()}, ${await page.locator('#device').textContent()}; load ${loadavg()[0]!.toFixed(1)}\n`,
  );
  const columns = [
    ...['round', 'WebGL contexts', 'object URLs', 'workers', 'GPU buffers (MB)', 'nodes', 'listeners'],
    ...['files (kB)', 'rows', 'JS heaps, objects + arrays (MB)', 'resident (MB)'],
  ];
  for (const cells of [columns, columns.map(() => '---:')]) console.log(`| ${cells.join(' | ')} |`);
  const round = { epochs: 2, name: 'new.nii.gz', file: images[0]!.buffer };
  if (only === 'segment') await train(page, round);
  for (let index = 1; index <= rounds; index++) {
    if (only === 'segment') await segment(page, round);
    else if (only === 'look') await look(page);
    else {
      await (only === 'train' ? train : trainSegmentLook)(page, round);
      await deleteOld(page);
    }
    await page.getByRole('tab', { name: 'Data' }).click();
    await page.waitForTimeout(1000); // what ends by itself has ended
    const { contexts, urls, workers, buffers, bufferBytes, nodes, listeners } = await countsOf(page);
    const { files, fileBytes, rows } = await page.evaluate(kept);
    const inHeaps = [...(await heaps.read())].map(
      ([name, { objects, arrays }]) => `${name} ${(objects / MB).toFixed(2)} + ${(arrays / MB).toFixed(2)}`,
    );
    const inProcesses = Object.entries(await resident(browser)).map(
      ([type, mb]) => `${type} ${mb.toFixed(0)}`,
    );
    const cells = [
      ...[index, contexts, urls, workers, `${buffers} (${(bufferBytes / MB).toFixed(2)})`, nodes, listeners],
      ...[`${files} (${(fileBytes / 1000).toFixed(1)})`, rows, inHeaps.join(', '), inProcesses.join(', ')],
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
} finally {
  await browser.close();
  site.close();
}
