/** Whether two paths are one file, whatever they are called: through links of either kind, and before they are there. */
import type { BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';

const found = (path: string): Promise<BigIntStats | undefined> =>
  stat(path, { bigint: true }).catch(() => undefined);

/** Most file systems of these do not tell A from a. */
const fold = (name: string): string =>
  process.platform === 'darwin' || process.platform === 'win32' ? name.normalize('NFC').toLowerCase() : name;

/** Two paths are one file if they have a key in common: what is stored there, or the place itself. */
export async function fileKeys(path: string): Promise<string[]> {
  const info = await found(path);
  const place = await placeKey(resolve(path));
  return info && info.ino > 0n ? [`${info.dev}:${info.ino}`, place] : [place];
}

/** The nearest folder that is there, and the way on from it. */
async function placeKey(path: string, below = ''): Promise<string> {
  const [folder, name] = [dirname(path), join(fold(basename(path)), below)];
  if (folder === path) return path + below;
  const info = await found(folder);
  return info ? `${info.dev}:${info.ino}/${name}` : placeKey(folder, name);
}
