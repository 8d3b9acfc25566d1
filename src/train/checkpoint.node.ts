/** Checkpoints in a folder, written atomically: a temporary file, fsync, rename; the one before is kept. */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { previousName, type CheckpointStore } from './checkpoint.ts';

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
      const path = join(folder, name);
      // A kill between the two renames leaves only the new file and the previous one.
      for (const candidate of [path, `${path}.new`, previousName(path)]) {
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
