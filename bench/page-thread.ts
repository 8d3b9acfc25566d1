/**
 * What the reading of many cases takes of the page's thread: chooses a data set in the built page of the browser
 * example, in Chromium, and prints a table of the tasks of its main thread, from a trace, and what the longest are made
 * of. Times are those of the thread: while other programs have the processor, they stand still.
 *   node scripts/setup.mjs && npx tsx bench/page-thread.ts FOLDER
 */
import { loadavg } from 'node:os';
import { chromium as playwright, type Page } from 'playwright';
import { chromium } from '../scripts/chromium.ts';
import { serveExample } from '../test/support/site.ts';

/** Milliseconds from which on a browser calls a task long. */
const long = 50;

interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds: the beginning, and how long it took by the clock and of the thread. */
  readonly ts: number;
  readonly dur?: number;
  readonly tdur?: number;
  readonly args: {
    readonly name?: string;
    readonly data?: { readonly url?: string; readonly functionName?: string; readonly type?: string };
  };
}

interface Task {
  readonly ms: number;
  /** Whether a function of the page was called in it. */
  readonly isOurs: boolean;
  /** The parts that took longest, with their milliseconds. */
  readonly parts: string;
}

/** Tasks of the main thread of the renderer that runs the site's scripts. */
function tasksOf(events: readonly TraceEvent[], site: string): Task[] {
  const ofSite = ({ args }: TraceEvent): boolean => args.data?.url?.startsWith(site) === true;
  const page = events.find(ofSite)?.pid;
  const main = events.find(
    ({ name, pid, args }) => name === 'thread_name' && pid === page && args.name === 'CrRendererMain',
  );
  if (!main) throw new Error('the trace has no main thread of the page');
  const here = events.filter(({ pid, tid }) => pid === main.pid && tid === main.tid);
  const ms = ({ tdur, dur = 0 }: TraceEvent): number => (tdur ?? dur) / 1000;
  const partOf = (event: TraceEvent): string => {
    const { functionName, type } = event.args.data ?? {};
    return [event.name, functionName ?? type, ms(event).toFixed(0)].filter(Boolean).join(' ');
  };
  const inOrder = here.toSorted((a, b) => a.ts - b.ts);
  let next = 0;
  return inOrder
    .filter(({ name }) => /RunTask$/.test(name))
    .map((task) => {
      const within: TraceEvent[] = [];
      const end = task.ts + (task.dur ?? 0);
      while (next < inOrder.length && inOrder[next]!.ts <= task.ts) next++;
      for (; next < inOrder.length && inOrder[next]!.ts < end; next++) within.push(inOrder[next]!);
      const parts = within.filter((event) => ms(event) > long / 10).sort((a, b) => ms(b) - ms(a));
      return {
        ms: ms(task),
        isOurs: within.some(ofSite),
        parts: parts.slice(0, 6).map(partOf).join(', '),
      };
    });
}

const launch = chromium();
if (!launch) throw new Error('there is no Chromium for this machine: name one in UNET3D_CHROMIUM');
const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('name the folder of a data set');
const site = await serveExample();
const browser = await playwright.launch({ ...launch, headless: true });
const details: string[] = [];

/** Does something on the page, and prints what it took. */
async function measured(page: Page, what: string, act: () => Promise<unknown>): Promise<void> {
  await browser.startTracing(page, { categories: ['toplevel', 'devtools.timeline'] });
  await act();
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString()) as {
    traceEvents: TraceEvent[];
  };
  const tasks = tasksOf(traceEvents, site.address);
  const sum = (some: readonly Task[]): string => some.reduce((total, { ms }) => total + ms, 0).toFixed(0);
  const longest = tasks.filter(({ ms }) => ms > long / 2).sort((a, b) => b.ms - a.ms);
  const cells = [
    ...[what, sum(tasks), sum(tasks.filter(({ isOurs }) => isOurs))],
    ...[Math.max(...tasks.map(({ ms }) => ms)).toFixed(1), longest.filter(({ ms }) => ms > long).length],
  ];
  console.log(`| ${cells.join(' | ')} |`);
  for (const { ms, isOurs, parts } of longest.slice(0, 8))
    details.push(`${what}: ${ms.toFixed(1)} ms${isOurs ? ', ours' : ''}: ${parts}`);
}

try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(600_000);
  await page.goto(site.address);
  await page.locator('#device', { hasText: ':' }).waitFor();
  const device = await page.locator('#device').textContent();
  console.log(`Chromium ${browser.version()}, ${device}; load ${loadavg()[0]!.toFixed(1)}\n`);
  const columns = [
    ...['', 'main thread (ms)', 'of it tasks with scripts of the page (ms)'],
    ...['longest task (ms)', `tasks over ${long} ms`],
  ];
  for (const cells of [columns, columns.map(() => '---:')]) console.log(`| ${cells.join(' | ')} |`);
  const ready = page.getByRole('button', { name: 'Next: look at the cases' });
  await measured(page, 'reading', async () => {
    await page.getByLabel('Choose a folder').setInputFiles(folder);
    await ready.waitFor();
  });
  await measured(page, 'scrolling through the list', () =>
    page.locator('.cases-table').evaluate(async (list) => {
      for (list.scrollTop = 0; list.scrollTop + list.clientHeight < list.scrollHeight; list.scrollTop += 200)
        await new Promise(requestAnimationFrame);
    }),
  );
  console.log(`\n${details.join('\n')}`);
} finally {
  await browser.close();
  site.close();
}
