/** Checkpoints in a folder, written atomically; the one before is kept. */
import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { FolderLock } from '../files/lock.node.ts';
import { readIfThere } from '../files/read.node.ts';
import { previousName } from '../files/store.ts';
import { writeFileAtomically } from '../files/write.node.ts';
import { assertOptions } from '../options.ts';
import { text } from '../schema.ts';
import { checkpointName, type CheckpointStore } from './checkpoint.ts';

/** Where a checkpoint may lie, newest first: a kill between two renames leaves only the new file and the previous. */
const places = (path: string): string[] => [path, `${path}.new`, previousName(path)];

/** Names of the files that a store keeps for a checkpoint. */
export const checkpointFiles: readonly string[] = places(checkpointName);

export const hasCheckpoint = (folder: string): boolean =>
  checkpointFiles.some((name) => existsSync(join(folder, name)));

/**
 * Keeps checkpoints as files of a folder, the one before included; a training locks the folder while it runs.
 * @example
 * ```js
 * await model.fit(cases, { epochs: 1, checkpoint: folderStore('checkpoints') });
 * ```
 */
export function folderStore(folder: string): CheckpointStore {
  assertOptions('folderStore', { folder: text }, { folder });
  let lock: FolderLock | undefined;
  return {
    ...folderFiles(folder, { assertHeld: () => lock?.assertHeld() }),
    // oxlint-disable-next-line typescript/require-await -- what is thrown is a rejection
    async hold() {
      const taken = (lock = FolderLock.take(folder));
      return {
        [Symbol.dispose]() {
          taken[Symbol.dispose]();
          lock = undefined;
        },
      };
    },
  };
}

/** As `folderStore`, for a folder that is locked already. */
export function folderFiles(
  folder: string,
  lock: Pick<FolderLock, 'assertHeld'> | undefined,
): CheckpointStore {
  return {
    async save(name, bytes) {
      lock?.assertHeld();
      const path = join(folder, name);
      await writeFileAtomically(`${path}.new`, bytes).catch((error: Error) => {
        throw Object.assign(error, { path }); // the name that people know
      });
      await rename(path, previousName(path)).catch(ignoreMissing);
      await rename(`${path}.new`, path);
    },
    async load(name) {
      for (const candidate of places(join(folder, name))) {
        const bytes = await readIfThere(candidate);
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
