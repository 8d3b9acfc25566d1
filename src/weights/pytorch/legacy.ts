/**
 * Files of torch.save before PyTorch 1.6: five pickles in a row (a magic number, a version, facts about the machine,
 * what was saved, the keys of the storages), then each storage's length and numbers.
 */
import type { ByteRanges } from '../../data/byte-ranges.ts';
import type { Failures } from './failures.ts';
import { globals } from './globals.ts';
import { unpickle } from './pickle.ts';
import { storageOf } from './storages.ts';
import { Storage } from './tensor.ts';

const version = 1001;

/** Bytes of the pickles at most; those of the largest networks have about one MiB. */
const longestStructure = 2 ** 23;

/** What was saved. */
export async function readLegacy(file: ByteRanges, failures: Failures): Promise<unknown> {
  const bytes = await file.read(0, Math.min(file.size, longestStructure));
  let end = 0;
  /** Where the numbers of each storage begin, which is stated behind the pickles. */
  const starts = new Map<string, number>();
  const storages = new Map<string, Storage>();
  const persistent = storageOf(failures, ({ type, key, length }) => {
    const storage = new Storage(type, length, {
      littleEndian: true,
      largestTensor: file.size,
      read: (from, to) => {
        const start = starts.get(key)!;
        return file.read(start + from * type.bytes, start + to * type.bytes);
      },
    });
    storages.set(key, storage);
    return storage;
  });
  const next = (): unknown => {
    const found = unpickle(bytes, { globals, persistent, ...failures }, end);
    end = found.end;
    return found.value;
  };
  next(); // the magic number, by which the file is recognised
  const found = next();
  if (found !== version) throw failures.damaged(`its version is not ${version}`);
  next(); // of which machine: numbers are little-endian whatever it was
  const saved = next();
  const keys = next();
  if (!Array.isArray(keys)) throw failures.damaged('its storages are not listed');
  let at = end;
  for (const key of keys as unknown[]) {
    const storage = storages.get(key as string);
    if (!storage || starts.has(key as string))
      throw failures.damaged('it lists a storage twice, or one that nothing refers to');
    const stated = await file.read(at, at + 8);
    const length = new DataView(stated.buffer, stated.byteOffset, 8).getBigInt64(0, true);
    if (length !== BigInt(storage.length))
      throw failures.damaged(`a storage of it has ${length} numbers; expected ${storage.length}`);
    starts.set(key as string, at + 8);
    at += 8 + storage.length * storage.type.bytes;
  }
  if (starts.size < storages.size) throw failures.damaged('the numbers of one of its storages are not in it');
  if (at > file.size)
    throw failures.damaged(`it ends at byte ${file.size}; expected ${at}, as its storages say`);
  return saved;
}
