/**
 * Files in the origin's private file system, which outlive reloads and crashes of the tab. A file is replaced whole,
 * when its new content has been written.
 */
import * as v from 'valibot';
import { UNet3DError } from '../errors.ts';
import { formatBytes } from '../format.ts';
import { assertOptions } from '../options.ts';
import { text } from '../schema.ts';
import { previousName, type FileStore } from './store.ts';

/** The browser gives this origin no more space on the disk. */
export class QuotaExceeded extends UNet3DError {
  override readonly name = 'QuotaExceeded';
  constructor(
    message: string,
    /** Bytes that were to be written. */
    readonly needed: number,
    /** Bytes that the origin may still use; NaN if the browser does not tell. */
    readonly available: number,
  ) {
    super(message);
  }
}

/** A store of files in a folder of the origin. */
export interface PrivateStore extends FileStore {
  /** Names of the files, those before them included. */
  list(): Promise<string[]>;
  /** Removes a file and the one before it; one that is not there is no error. */
  remove(name: string): Promise<void>;
}

const folderName = v.pipe(text, v.regex(/^(?!\.{0,2}$)[^/\\]+$/, 'the name of one folder, without / and \\'));

/**
 * A folder of the origin's private file system, made on first use.
 * @throws InvalidOption for a folder within another; UNet3DError where the browser has no such file system, as in some private windows; QuotaExceeded from `save`
 */
export async function privateStore(folder = 'unet3d-gpu'): Promise<PrivateStore> {
  assertOptions('privateStore', { folder: folderName }, { folder });
  const { storage, locks } = (globalThis.navigator ?? {}) as Partial<Navigator>;
  if (!storage || !('getDirectory' in storage))
    throw new UNet3DError(
      'this page has no private file system for checkpoints: use a current browser over HTTPS or localhost, or train without a checkpoint store',
    );
  let directory: FileSystemDirectoryHandle;
  try {
    directory = await (await storage.getDirectory()).getDirectoryHandle(folder, { create: true });
  } catch (cause) {
    throw new UNet3DError(
      `the private file system cannot be opened (${String(cause)}): leave private browsing, or train without a checkpoint store`,
      { cause },
    );
  }
  // Neither a write nor a removal can overtake another.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };
  const load = async (name: string) => {
    const file = await fileOf(directory, name);
    return file && new Uint8Array(await file.arrayBuffer());
  };
  const files: FileStore = {
    save: (name, bytes) =>
      inTurn(async () => {
        const before = await load(name);
        await replaceNewest(directory, name, bytes);
        // Only now: were the newest damaged, nothing else but the previous one would be whole.
        if (before) await replaceFile(directory, previousName(name), before).catch(ignoreFull);
      }),
    load,
  };
  const lockName = `unet3d-gpu ${folder}`;
  return {
    ...files,
    async update(name, change) {
      const work = async () => files.save(name, change(await files.load(name)));
      await (locks ? locks.request(`${lockName} ${name}`, work) : work());
    },
    hold: () => hold(locks, lockName, folder),
    async list() {
      const names: string[] = [];
      for await (const name of directory.keys()) names.push(name);
      return names.sort();
    },
    remove: (name) =>
      inTurn(async () => {
        for (const each of [name, previousName(name)]) await directory.removeEntry(each).catch(ignoreMissing);
      }),
  };
}

/** The file of a name. An empty one is one whose first content was never written to the end. */
async function fileOf(directory: FileSystemDirectoryHandle, name: string): Promise<File | undefined> {
  const handle = await directory.getFileHandle(name).catch(ignoreMissing);
  const file = await handle?.getFile();
  return file && file.size > 0 ? file : undefined;
}

/** Replaces a file; the one before it makes room where that may be enough, and comes back where it was not. */
async function replaceNewest(
  directory: FileSystemDirectoryHandle,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  try {
    await replaceFile(directory, name, bytes);
  } catch (error) {
    if (!(error instanceof QuotaExceeded)) throw error;
    const file = await fileOf(directory, previousName(name));
    // Browsers may tell of more room than there is.
    if (!file || bytes.length - error.available > file.size) throw error;
    const previous = new Uint8Array(await file.arrayBuffer());
    await directory.removeEntry(previousName(name));
    try {
      await replaceFile(directory, name, bytes);
    } catch (still) {
      await replaceFile(directory, previousName(name), previous).catch(ignoreFull);
      throw still;
    }
  }
}

/** Holds a lock of the origin, which its tabs and workers share. @throws UNet3DError if another holds it */
function hold(locks: LockManager | undefined, name: string, folder: string): Promise<Disposable> {
  return new Promise((resolve, reject) => {
    if (!locks) {
      resolve({ [Symbol.dispose]: () => undefined });
      return;
    }
    const held = locks.request(name, { ifAvailable: true }, (lock) => {
      if (!lock)
        throw new UNet3DError(
          `the private folder "${folder}" is in use by another training of this site: wait until it ends, close its tab, or give another folder`,
        );
      return new Promise<void>((release) => resolve({ [Symbol.dispose]: release }));
    });
    held.catch(reject);
  });
}

const partBytes = 4 * 2 ** 20;

async function replaceFile(
  directory: FileSystemDirectoryHandle,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  try {
    const handle = await directory.getFileHandle(name, { create: true });
    // Writes go to a copy, which takes the file's place when it is closed.
    const stream = await handle.createWritable();
    try {
      // In parts: each is copied in one go, and the page's thread must not be held up.
      for (let at = 0; at < bytes.length; at += partBytes)
        await stream.write(bytes.subarray(at, at + partBytes));
      await stream.close();
    } catch (error) {
      await stream.abort().catch(() => undefined);
      throw error;
    }
  } catch (error) {
    if (!(error instanceof DOMException) || error.name !== 'QuotaExceededError') throw error;
    const { quota = NaN, usage = NaN } = await navigator.storage.estimate();
    const left = quota - usage;
    const room = left < bytes.length ? `; this site has room for ${formatBytes(Math.max(0, left))}` : '';
    throw new QuotaExceeded(
      `${name} of ${formatBytes(bytes.length)} does not fit the disk${room}: free disk space or remove stored trainings; the last checkpoint stands`,
      bytes.length,
      left,
    );
  }
}

function ignoreFull(error: unknown): void {
  if (!(error instanceof QuotaExceeded)) throw error;
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof DOMException && error.name === 'NotFoundError') return undefined;
  throw error;
}
