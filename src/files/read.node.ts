/** Files read whole, of whatever length. */
import { open, stat } from 'node:fs/promises';
import { UNet3DError } from '../errors.ts';
import { aboutFile } from './write.node.ts';

/** Bytes that are read in one go; Node's own `readFile` ends at 2 GiB. */
const part = 2 ** 28;

/**
 * The bytes of a file; undefined if there is none of that name.
 * @param most bytes that it may have
 * @throws UNet3DError for what is no file (a pipe would be waited for) and for one that is longer; the operating
 *   system's error, about `path`
 */
export async function readIfThere(
  path: string,
  most = Infinity,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return undefined;
  });
  if (!info) return undefined;
  if (!info.isFile()) throw new UNet3DError(`${path} is a folder, a pipe or a device; expected a file`);
  if (info.size > most)
    throw new UNet3DError(`${path} has ${info.size} bytes; expected ${most} at most, look what it is`);
  await using file = await open(path);
  const bytes = new Uint8Array(info.size);
  let length = 0;
  while (length < bytes.length) {
    const { bytesRead } = await file
      .read(bytes, length, Math.min(part, bytes.length - length), length)
      .catch((error: NodeJS.ErrnoException) => {
        throw aboutFile(error, path, 'read');
      });
    if (bytesRead === 0) break; // it has become shorter
    length += bytesRead;
  }
  return bytes.subarray(0, length);
}
