/** What is at a path. */
import { stat } from 'node:fs/promises';

/** Whether there is a folder; false for what cannot be looked at, too. */
export const isFolderAt = (path: string): Promise<boolean> =>
  stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  );
