/** Zip archives, of which the list of entries is read first and then what is asked for. */
import { unzipRaw, type ZipEntry } from 'unzipit';
import type { ByteRanges } from '../data/byte-ranges.ts';
import { UNet3DError } from '../errors.ts';

/** Bytes of the list of entries at most: of tens of thousands. */
const longestDirectory = 2 ** 22;

/**
 * @param damaged makes the error of a problem with the bytes, such as `its zip archive cannot be read`
 * @throws what `damaged` makes
 */
export async function zipEntries(
  file: ByteRanges,
  damaged: (problem: string) => Error,
): Promise<readonly ZipEntry[]> {
  let opened = false;
  const reader = {
    getLength: () => Promise.resolve(file.size),
    async read(offset: number, size: number) {
      if (!opened && size > longestDirectory)
        throw damaged(`its list of entries has ${size} bytes; expected ${longestDirectory} at most`);
      const { buffer, byteOffset, byteLength } = await file.read(offset, offset + size);
      // A Buffer of Node's would not do: slices of it are views, and the library counts on copies.
      return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
    },
  };
  const { entries } = await unzipRaw(reader).catch((cause: unknown) => {
    throw asDamage(cause, damaged);
  });
  opened = true;
  return entries;
}

/** What the library says of an archive, as an error of this package's. */
export const asDamage = (cause: unknown, damaged: (problem: string) => Error): Error =>
  cause instanceof UNet3DError
    ? cause
    : damaged(`its zip archive cannot be read (${cause instanceof Error ? cause.message : String(cause)})`);
