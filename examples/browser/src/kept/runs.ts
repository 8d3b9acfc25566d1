/** The trainings that this browser keeps. A tab that works on one holds its lock: others leave it alone. */
import type { Case } from 'unet3d-gpu/worker';
import { withDatabase, type DataRecord, type RunRecord } from './database.ts';
import { removeStrays, RunFiles } from './run-files.ts';

const lockOf = (id: string): string => `unet3d-gpu-example run ${id}`;

/** Tells the other tabs, and this one, that the list is another now. */
const news = new BroadcastChannel('unet3d-gpu-example');
const listeners = new EventTarget();
news.addEventListener('message', () => listeners.dispatchEvent(new Event('change')));
function tell(): void {
  news.postMessage('');
  listeners.dispatchEvent(new Event('change'));
}

/** Calls `listener` when a tab has changed the list; returns how to stop that. */
export function onRunsChange(listener: () => void): () => void {
  listeners.addEventListener('change', listener);
  return () => listeners.removeEventListener('change', listener);
}
// Tabs that were closed, or crashed, have told nobody.
document.addEventListener('visibilitychange', () => listeners.dispatchEvent(new Event('change')));

/** How long a lock may take that was let go of just now, in milliseconds. */
const patience = 1000;

/**
 * Takes a training for this tab: alone, to work on it, or shared with other tabs that only look at what came of it.
 * @returns how to let it go
 * @throws Error where another tab has it
 */
export function claim(id: string, mode: LockMode = 'exclusive'): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const { locks } = navigator as Partial<Navigator>;
    if (!locks) return resolve(() => undefined);
    const work = (): Promise<void> => new Promise((release) => resolve(release));
    locks.request(lockOf(id), { mode, signal: AbortSignal.timeout(patience) }, work).then(tell, () => {
      reject(new Error('this training is open in another tab of this page: go on there, or close it there'));
    });
  });
}

/** Ids of the trainings that tabs, this one included, have open. */
export async function claimed(): Promise<Set<string>> {
  const { locks } = navigator as Partial<Navigator>;
  const held = (await locks?.query())?.held ?? [];
  const prefix = lockOf('');
  return new Set(held.flatMap(({ name }) => (name?.startsWith(prefix) ? [name.slice(prefix.length)] : [])));
}

/** All that are kept, the newest first; none where the browser keeps nothing, as in some private windows. */
export async function keptRuns(): Promise<RunRecord[]> {
  const found = await withDatabase((database) => database.getAll('runs')).catch(() => []);
  return found.sort((a, b) => b.started.getTime() - a.started.getTime());
}

export const keptRun = (id: string): Promise<RunRecord | undefined> =>
  withDatabase((database) => database.get('runs', id));

/** The data of a training, where they are still kept. */
export const keptData = (id: string): Promise<DataRecord | undefined> =>
  withDatabase((database) => database.get('data', id));

/** What was kept last, or came from there: the same files are not kept twice. */
let latest: DataRecord | undefined;

const sameFiles = (a: readonly Case[], b: readonly Case[]): boolean =>
  a.length === b.length &&
  a.every((item, at) => {
    const other = b[at]!;
    return (
      item.id === other.id &&
      item.label === other.label &&
      item.images.every((image, channel) => image === other.images[channel])
    );
  });

/** A key for these data: that of the data kept last if they are the same. */
export function dataKey(cases: readonly Case[]): string {
  return latest && sameFiles(latest.cases, cases) ? latest.id : crypto.randomUUID();
}

export function remember(data: DataRecord): void {
  latest = data;
}

/** Keeps a training, with its data where they are at hand. @throws QuotaExceeded where they do not fit */
export async function keepRun(run: RunRecord, data: DataRecord | undefined): Promise<void> {
  await withDatabase(async (database) => {
    await database.put('runs', run);
    if (data && (await database.getKey('data', data.id)) === undefined) await database.put('data', data);
  });
  if (data) latest = data;
  tell();
}

/** Changes what is kept of a training, if it is still kept. */
export async function updateRun(id: string, more: Partial<Omit<RunRecord, 'id'>>): Promise<void> {
  await withDatabase(async (database) => {
    const transaction = database.transaction('runs', 'readwrite');
    const found = await transaction.store.get(id);
    if (found) await transaction.store.put({ ...found, ...more });
    await transaction.done;
  });
  tell();
}

/** Forgets a training: its weights, and its data if no other has them. @throws Error where another tab has it */
export async function removeRun(id: string): Promise<void> {
  const release = await claim(id);
  try {
    await forget(id);
  } finally {
    release();
  }
}

/** As `removeRun`, by the tab that has it. */
export async function forget(id: string): Promise<void> {
  await withDatabase(async (database) => {
    const transaction = database.transaction(['runs', 'data'], 'readwrite');
    const [runs, data] = [transaction.objectStore('runs'), transaction.objectStore('data')];
    const found = await runs.get(id);
    await runs.delete(id);
    if (found && !(await runs.getAll()).some((other) => other.data === found.data))
      await data.delete(found.data);
    await transaction.done;
  });
  await new RunFiles(id).removeAll();
  tell();
}

/** Removes what a crash has left behind, unless a tab is just writing it. */
export async function tidy(): Promise<void> {
  const known = [...(await keptRuns()).map(({ id }) => id), ...(await claimed())];
  await removeStrays(new Set(known));
}
