/** The cache of kernel choices in the user's cache folder. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UNet3DError } from '../errors.ts';
import { FolderLock } from '../files/lock.node.ts';
import { formatProcess, isRunning, parseProcess, thisProcess } from '../files/process.node.ts';
import { readIfThere } from '../files/read.node.ts';
import { removeLeftovers, writeFileAtomically } from '../files/write.node.ts';
import { assertOptions } from '../options.ts';
import { openObject, text, withParts } from '../schema.ts';
import type { TuningStore } from './tuning-cache.ts';

const placeEntries = {
  system: openObject({ platform: text, env: withParts('the environment, by name') }),
  home: text,
};

/**
 * Where this platform keeps what can be made again.
 * @param home of the user
 * @throws InvalidOption
 * @example
 * ```js
 * console.log(cacheFolder());
 * ```
 */
export function cacheFolder(
  system: { platform: string; env: Readonly<Record<string, string | undefined>> } = process,
  home = homedir(),
): string {
  assertOptions('cacheFolder', placeEntries, { system, home });
  const { platform, env } = system;
  const base =
    platform === 'win32'
      ? env['LOCALAPPDATA'] || join(home, 'AppData', 'Local')
      : env['XDG_CACHE_HOME'] || join(home, platform === 'darwin' ? 'Library/Caches' : '.cache');
  return join(base, 'unet3d-gpu');
}

/** Folders whose lock somebody has left, or keeps for longer than a write takes. */
const stuck = new Set<string>();

/**
 * The lock of the folder; none where it is not to be had within the time, once: at worst the choices of one of two
 * processes are lost, and measured again.
 */
async function locked(folder: string): Promise<FolderLock | undefined> {
  if (stuck.has(folder)) return undefined;
  try {
    return await FolderLock.wait(folder, patienceMs);
  } catch (error) {
    if (!(error instanceof UNet3DError)) throw error;
    stuck.add(folder);
    return undefined;
  }
}

/** Bytes of a cache at most; one of a hundred devices has some hundred thousand. */
const longest = 2 ** 24;

/** What another process may take to write the cache. */
const patienceMs = 10_000;

/**
 * Files of a folder, made on first use; replaced whole.
 * @example
 * ```js
 * setTuningStore(() => Promise.resolve(folderCache('kernels')));
 * ```
 */
export function folderCache(folder = cacheFolder()): TuningStore {
  assertOptions('folderCache', { folder: text }, { folder });
  const store = {
    async save(name: string, bytes: Uint8Array): Promise<void> {
      await removeLeftovers(folder);
      await writeFileAtomically(join(folder, name), bytes);
    },
    load: (name: string): Promise<Uint8Array | undefined> => readIfThere(join(folder, name), longest),
  };
  const own = formatProcess(thisProcess());
  return {
    ...store,
    users: {
      own,
      hasEnded(name) {
        const other = parseProcess(name);
        return other !== undefined && isRunning(other) === false;
      },
    },
    async update(name, change) {
      using held = await locked(folder);
      void held; // until the end
      await store.save(name, change(await store.load(name).catch(() => undefined)));
    },
  };
}
