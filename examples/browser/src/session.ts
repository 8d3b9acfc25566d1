/**
 * What a training needs to go on after a reload: files, parts and settings in IndexedDB; its checkpoint lies in the
 * origin's private file system.
 */
import {
  checkpointName,
  privateStore,
  progressOf,
  QuotaExceeded,
  type CheckpointStore,
  type EpochRow,
  type Progress,
} from 'unet3d-gpu/worker';
import { messageOf } from './dom.ts';
import { state, type PageCase, type Settings, type State } from './state.ts';

export interface Session {
  readonly name: string;
  readonly cases: readonly PageCase[];
  readonly labels: readonly string[];
  readonly ignoreLabel: number | undefined;
  readonly settings: Settings;
  readonly preprocessing: State['preprocessing'];
  readonly classes: number;
  readonly channels: number;
  readonly started: Date;
}

const folder = 'unet3d-gpu-example';

function database(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(folder, 1);
    request.onupgradeneeded = () => request.result.createObjectStore('sessions');
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(new Error(`IndexedDB cannot be opened: ${request.error?.message}`));
  });
}

async function withStore<T>(
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  const db = await database();
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = db.transaction('sessions', mode);
      const request = work(transaction.objectStore('sessions'));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = transaction.onabort = () => {
        const { error } = transaction;
        reject(
          error?.name === 'QuotaExceededError'
            ? new QuotaExceeded(
                'the files of this training do not fit the room this site has on the disk: free disk space, or train on fewer cases',
                NaN,
                NaN,
              )
            : new Error(`the training could not be stored: ${error?.message}`),
        );
      };
    });
  } finally {
    db.close();
  }
}

/** The last checkpoint, while the disk does not take it: lost in a reload, but not in a pause. */
let kept: Uint8Array | undefined;

export interface Checkpoints extends CheckpointStore {
  remove(name: string): Promise<void>;
}

/** Checkpoints on the disk, or in memory where there is no room or no private file system; `warn` is told why. */
export async function checkpoints(warn: (problem: string) => void = () => undefined): Promise<Checkpoints> {
  const store = await privateStore(folder).catch((error: unknown) => {
    warn(messageOf(error));
    return undefined;
  });
  return {
    async save(name, bytes) {
      try {
        await store?.save(name, bytes);
        kept = store ? undefined : bytes;
      } catch (error) {
        if (!kept) warn(messageOf(error));
        kept = bytes;
      }
    },
    load: async (name) => kept ?? store?.load(name),
    async remove(name) {
      kept = undefined;
      await store?.remove(name);
    },
  };
}

/** Keeps what is on the page, as of the start of the training. */
export async function keepSession(classes: number, channels: number): Promise<void> {
  const { name, cases, labels, ignoreLabel, settings, preprocessing } = state;
  const session: Session = {
    name,
    cases,
    labels,
    ignoreLabel,
    settings,
    preprocessing,
    classes,
    channels,
    started: new Date(),
  };
  await withStore('readwrite', (store) => store.put(session, 'training'));
}

/** A training that was interrupted and can go on. */
export async function interrupted(): Promise<Session | undefined> {
  try {
    const session = await withStore<Session | undefined>(
      'readonly',
      (store) => store.get('training') as IDBRequest<Session | undefined>,
    );
    const checkpoint = session && (await (await checkpoints()).load(checkpointName));
    return checkpoint ? session : undefined;
  } catch {
    return undefined; // no storage, as in some private windows: nothing was kept
  }
}

export async function forgetSession(): Promise<void> {
  await withStore('readwrite', (store) => store.delete('training'));
  await (await checkpoints()).remove(checkpointName);
}

/** The epochs that the stored checkpoint has behind it, and its best one. */
export async function storedProgress(): Promise<{ history: EpochRow[]; best: Progress['best'] }> {
  const checkpoint = await (await checkpoints()).load(checkpointName);
  if (!checkpoint) return { history: [], best: undefined };
  const { history, best } = progressOf(checkpoint);
  return { history: [...history], best };
}
