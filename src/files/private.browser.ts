/**
 * Files in the origin's private file system, which outlive reloads and crashes of the tab. A file is replaced whole,
 * when its new content has been written.
 */
import { UNet3DError } from '../errors.ts';
import type { FileStore } from './store.ts';

/** The browser gives this origin no more room on the disk. */
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
  /** Names of the files. */
  list(): Promise<string[]>;
  /** Removes a file; one that is not there is no error. */
  remove(name: string): Promise<void>;
}

/**
 * A folder of the origin's private file system, made on first use.
 * @throws UNet3DError where the browser has no such file system, as in some private windows; QuotaExceeded from `save`
 */
export async function privateStore(folder = 'unet3d-gpu'): Promise<PrivateStore> {
  const storage = (navigator as Partial<Navigator>).storage;
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
  // A write cannot overtake another of the same file.
  let last: Promise<unknown> = Promise.resolve();
  return {
    save(name, bytes) {
      const write = last.then(() => replaceFile(directory, name, bytes));
      last = write.catch(() => undefined);
      return write;
    },
    async load(name) {
      const handle = await directory.getFileHandle(name).catch(ignoreMissing);
      const file = await handle?.getFile();
      // An empty file is one whose first content was never written to the end.
      return file && file.size > 0 ? new Uint8Array(await file.arrayBuffer()) : undefined;
    },
    async list() {
      const names: string[] = [];
      for await (const name of directory.keys()) names.push(name);
      return names.sort();
    },
    async remove(name) {
      await directory.removeEntry(name).catch(ignoreMissing);
    },
  };
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
    throw new QuotaExceeded(
      `${name} needs ${bytes.length} bytes and this site may use ${quota - usage} more: free disk space or remove stored trainings; the last checkpoint stands`,
      bytes.length,
      quota - usage,
    );
  }
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof DOMException && error.name === 'NotFoundError') return undefined;
  throw error;
}
