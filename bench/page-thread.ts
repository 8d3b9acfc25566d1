/**
 * What the reading of many cases takes of the page's thread: chooses a data set in the built page of the browser
 * example, in Chromium, and prints a table of the time in its scripts, by a CPU profile, and of the tasks of its main
 * thread, by a trace. Times of tasks are those of the thread: while other programs have the processor, they stand still.
 *   node scripts/setup.mjs && npx tsx bench/page-thread.ts FOLDER
 */
import { loadavg } from 'node:os';
import { chromium as playwright, type CDPSession, type Page } from 'playwright';
import { chromium } from '../scripts/chromium.ts';
import { serveExample } from '../test/support/site.ts';

/** Milliseconds from which on a browser calls a task long. */
const long = 50;

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds of the clock and of the thread. */
  readonly dur?: number;
  readonly tdur?: number;
  readonly args: { readonly name?: string; readonly data?: { readonly url?: string } };
}

type Profile = Awaited<ReturnType<typeof profileOf>>;

const profileOf = async (session: CDPSession) => (await session.send('Profiler.stop')).profile;

/** Milliseconds in scripts of the site and in what these call, by samples. */
function inScripts({ nodes, samples = [], timeDeltas = [] }: Profile, site: string): number {
  const known = new Map(nodes.map((node) => [node.id, node]));
  const ours = new Set<number>();
  const visit = (id: number, isOurs: boolean): void => {
    const { callFrame, children = [] } = known.get(id)!;
    const is = isOurs || callFrame.url.startsWith(site);
    if (is) ours.add(id);
    for (const child of children) visit(child, is);
  };
  visit(nodes[0]!.id, false);
  // Each sample stands for the time until the next one.
  return samples.reduce((sum, id, at) => sum + (ours.has(id) ? (timeDeltas[at + 1] ?? 0) : 0), 0) / 1000;
}

/** Milliseconds of each task of the main thread of the renderer that runs the site's scripts. */
function tasksOf(events: readonly TraceEvent[], site: string): number[] {
  const page = events.find(({ args }) => args.data?.url?.startsWith(site))?.pid;
  const main = events.find(
    ({ name, pid, args }) => name === 'thread_name' && pid === page && args.name === 'CrRendererMain',
  );
  if (!main) throw new Error('the trace has no main thread of the page');
  return events
    .filter(({ name, pid, tid }) => /RunTask$/.test(name) && pid === main.pid && tid === main.tid)
    .map(({ tdur, dur }) => (tdur ?? dur ?? 0) / 1000);
}

const launch = chromium();
if (!launch) throw new Error('there is no Chromium for this machine: name one in UNET3D_CHROMIUM');
const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('name the folder of a data set');
const site = await serveExample();
const browser = await playwright.launch({ ...launch, headless: true });

/** Does something on the page, and prints what it took. */
async function measured(page: Page, what: string, act: () => Promise<unknown>): Promise<void> {
  const session = await page.context().newCDPSession(page);
  await session.send('Profiler.enable');
  await session.send('Profiler.setSamplingInterval', { interval: 200 });
  await browser.startTracing(page, { categories: ['toplevel', 'devtools.timeline'] });
  await session.send('Profiler.start');
  const begun = performance.now();
  await act();
  const seconds = (performance.now() - begun) / 1000;
  const profile = await profileOf(session);
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString()) as {
    traceEvents: TraceEvent[];
  };
  await session.detach();
  const tasks = tasksOf(traceEvents, site.address);
  const cells = [
    what,
    seconds.toFixed(1),
    inScripts(profile, site.address).toFixed(0),
    tasks.reduce((sum, ms) => sum + ms, 0).toFixed(0),
    Math.max(...tasks).toFixed(1),
    tasks.filter((ms) => ms > long).length,
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(600_000);
  await page.goto(site.address);
  await page.locator('#device', { hasText: ':' }).waitFor();
  const device = await page.locator('#device').textContent();
  console.log(`${browser.version()}, ${device}; load ${loadavg()[0]!.toFixed(1)}\n`);
  const columns = [
    ...['', 'seconds', 'in scripts of the page (ms)', 'main thread busy (ms)'],
    ...['longest task (ms)', `tasks over ${long} ms`],
  ];
  for (const cells of [columns, columns.map(() => '---:')]) console.log(`| ${cells.join(' | ')} |`);
  const ready = page.getByRole('button', { name: 'Next: look at the cases' });
  await measured(page, 'reading', async () => {
    await page.getByLabel('Choose a folder').setInputFiles(folder);
    await ready.waitFor();
  });
  const label = page.locator('.cases-table tbody select').first();
  await measured(page, 'another label of one case', async () => {
    await label.focus();
    await label.selectOption({ index: 2 });
    await page.locator('.busy').waitFor({ state: 'detached' });
    await ready.waitFor();
  });
  for (const view of ['See', 'Data'])
    await measured(page, `the view "${view}"`, async () => {
      await page.getByRole('tab', { name: view }).click();
      await page.waitForTimeout(2000);
    });
} finally {
  await browser.close();
  site.close();
}
