/** The cache of kernel choices in the user's cache folder. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { removeLeftovers, writeFileAtomically } from '../files/write.node.ts';
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

/** Files of a folder, made on first use; replaced whole. */
export function folderCache(folder = cacheFolder()): TuningStore {
  assertOptions('folderCache', { folder: text }, { folder });
  return {
    async save(name, bytes) {
      await removeLeftovers(folder);
      await writeFileAtomically(join(folder, name), bytes);
    },
    load: (name) =>
      readFile(join(folder, name)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
        return undefined;
      }),
  };
}
