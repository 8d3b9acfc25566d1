/** Checkpoints in a folder, written atomically: a temporary file, fsync, rename; the one before is kept. */
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { checkpointName, previousName, type CheckpointStore } from './checkpoint.ts';

/** Replaces `path` with `bytes` so that at any moment either the old or the new content is there, whole. */
export async function writeFileAtomically(path: string, bytes: Uint8Array | string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Where a checkpoint may lie, newest first: a kill between two renames leaves only the new file and the previous. */
const places = (path: string): string[] => [path, `${path}.new`, previousName(path)];

export const hasCheckpoint = (folder: string): boolean =>
  places(join(folder, checkpointName)).some((path) => existsSync(path));

export async function removeCheckpoints(folder: string): Promise<void> {
  for (const path of places(join(folder, checkpointName))) await rm(path, { force: true });
}

/** Keeps checkpoints as files of a folder, the one before included. */
export function folderStore(folder: string): CheckpointStore {
  return {
    async save(name, bytes) {
      const path = join(folder, name);
      await writeFileAtomically(`${path}.new`, bytes);
      await rename(path, previousName(path)).catch(ignoreMissing);
      await rename(`${path}.new`, path);
    },
    async load(name) {
      for (const candidate of places(join(folder, name))) {
        const bytes = await readFile(candidate).catch(ignoreMissing);
        if (bytes) return bytes;
      }
      return undefined;
    },
  };
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}
