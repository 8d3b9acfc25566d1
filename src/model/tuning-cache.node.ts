/** The cache of kernel choices in the user's cache folder. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { FolderLock } from '../files/lock.node.ts';
import { makeFolder, removeLeftovers, writeFileAtomically } from '../files/write.node.ts';
import { assertOptions } from '../options.ts';
import { text } from '../schema.ts';
import type { TuningStore } from './tuning-cache.ts';

/** Where this platform keeps what can be made again. */
export function cacheFolder(
  { platform, env }: { platform: string; env: Readonly<Record<string, string | undefined>> } = process,
  home = homedir(),
): string {
  const base =
    platform === 'win32'
      ? (env['LOCALAPPDATA'] ?? join(home, 'AppData', 'Local'))
      : (env['XDG_CACHE_HOME'] ?? join(home, platform === 'darwin' ? 'Library/Caches' : '.cache'));
  return join(base, 'unet3d-gpu');
}

/** What another process may take to write the cache. */
const patienceMs = 10_000;

/** Files of a folder, made on first use; replaced whole. */
export function folderCache(folder = cacheFolder()): TuningStore {
  assertOptions('folderCache', { folder: text }, { folder });
  const store = {
    async save(name: string, bytes: Uint8Array): Promise<void> {
      await removeLeftovers(folder);
      await writeFileAtomically(join(folder, name), bytes);
    },
    load: (name: string): Promise<Uint8Array | undefined> =>
      readFile(join(folder, name)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
        return undefined;
      }),
  };
  return {
    ...store,
    async update(name, change) {
      makeFolder(folder);
      using held = await FolderLock.wait(folder, patienceMs);
      void held; // until the end
      await store.save(name, change(await store.load(name).catch(() => undefined)));
    },
  };
}
