/** The trainings that this browser keeps. A tab that works on one holds its lock: others leave it alone. */
import type { Case } from 'unet3d-gpu/worker';
import { getData, putData, removeUnused, stores } from './data.ts';
import { withDatabase, type DataRecord, type RunRecord } from './database.ts';
import { held, hold } from './locks.ts';
import { idsWithFiles, RunFiles } from './run-files.ts';

const lockOf = (id: string): string => `run ${id}`;

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

/**
 * Takes a training for this tab: alone, to work on it, or shared with other tabs that only look at what came of it.
 * @returns how to let it go
 * @throws Error where another tab has it
 */
export async function claim(id: string, mode?: LockMode): Promise<() => void> {
  const message = 'this training is open in another tab of this page: go on there, or close it there';
  const release = await hold(lockOf(id), message, { ...(mode && { mode }), onRelease: tell });
  tell();
  return release;
}

/** Ids of the trainings that tabs, this one included, have open. */
export const claimed = async (): Promise<Set<string>> => new Set(await held(lockOf('')));

/** All that are kept, the newest first. @throws Error where they cannot be read, as in some private windows */
export async function keptRuns(): Promise<RunRecord[]> {
  const found = await withDatabase((database) => database.getAll('runs'));
  return found.sort((a, b) => b.started.getTime() - a.started.getTime());
}

export const keptRun = (id: string): Promise<RunRecord | undefined> =>
  withDatabase((database) => database.get('runs', id));

/** The data of a training, where they are still kept. */
export const keptData = (id: string): Promise<DataRecord | undefined> =>
  withDatabase((database) => getData(database.transaction(stores), id));

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

/**
 * Keeps a training, with its data where they are at hand: both, or none. Who calls this has claimed the training.
 * @throws QuotaExceeded where they do not fit
 */
export async function keepRun(run: RunRecord, data: DataRecord | undefined): Promise<void> {
  await withDatabase(async (database) => {
    const transaction = database.transaction(stores, 'readwrite');
    await Promise.all([
      transaction.objectStore('runs').put(run),
      data && putData(transaction, data),
      transaction.done,
    ]);
  });
  if (data) latest = data;
  tell();
}

/** Keeps data, or those of their cases that are not kept yet. @throws QuotaExceeded where they do not fit */
export async function keepData(data: DataRecord): Promise<void> {
  await withDatabase(async (database) => {
    const transaction = database.transaction(stores, 'readwrite');
    await Promise.all([putData(transaction, data), transaction.done]);
  });
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
    const transaction = database.transaction(stores, 'readwrite');
    await transaction.objectStore('runs').delete(id);
    await removeUnused(transaction);
    await transaction.done;
  });
  await new RunFiles(id).removeAll();
  tell();
}

/**
 * Removes files that a crash has left behind. In this order: a tab claims a training before it writes its files, and
 * keeps it before it lets go of it.
 * @throws Error, and removes nothing, where it cannot be told which trainings are kept
 */
export async function tidy(): Promise<void> {
  const found = await idsWithFiles();
  const busy = await claimed();
  const kept = new Set(await withDatabase((database) => database.getAllKeys('runs')));
  for (const id of found) if (!busy.has(id) && !kept.has(id)) await new RunFiles(id).removeAll();
}
