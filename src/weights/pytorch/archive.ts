/** Files of torch.save since PyTorch 1.6: zip archives with the structure as a pickle and each storage as an entry. */
import type { ZipEntry } from 'unzipit';
import type { ByteRanges } from '../../data/byte-ranges.ts';
import { listed } from '../../listed.ts';
import { asDamage, zipEntries } from '../zip.ts';
import type { Failures } from './failures.ts';
import { globals } from './globals.ts';
import { unpickle } from './pickle.ts';
import { storageOf } from './storages.ts';
import { Storage } from './tensor.ts';

/** What a file of PyTorch holds. */
export interface Saved {
  readonly value: unknown;
  readonly description?: string | undefined;
}

/** Of the entry with which this package describes a network that it wrote. */
export const descriptionName = 'unet3d-gpu.json';

/**
 * Bytes of data.pkl at most. Those of the largest networks have about one MiB; nnU-Net's checkpoints have a number more
 * for each class and epoch: 31 MiB for 117 classes and 4,000 epochs.
 */
const longestStructure = 2 ** 26;
/** Bytes of a description at most. */
const longestDescription = 2 ** 20;

/** What was saved, and the JSON of its description if there is one. */
export async function readArchive(file: ByteRanges, failures: Failures): Promise<Saved> {
  const entries = await entriesOf(file, failures);
  const content = async (name: string, most: number): Promise<Uint8Array | undefined> => {
    const entry = entries.get(name);
    if (!entry) return undefined;
    if (entry.size > most)
      throw failures.other(
        `its ${name} has ${entry.size} bytes, and at most ${most} are read; in Python, save the weights alone`,
      );
    return contentOf(entry, failures);
  };
  const order = new TextDecoder().decode((await content('byteorder', 32)) ?? new Uint8Array());
  if (!['', 'little', 'big'].includes(order.trim()))
    throw failures.damaged(`its byteorder is ${JSON.stringify(order)}; expected little or big`);
  const places = new Map([...entries.values()].map((entry, index) => [entry, index]));
  const storage = storageOf(failures, ({ type, key, length }) => {
    const entry = entries.get(`data/${key}`);
    if (!entry) throw failures.damaged(`the numbers of its storage ${JSON.stringify(key)} are not in it`);
    if (entry.size !== length * type.bytes)
      throw failures.damaged(
        `its storage ${JSON.stringify(key)} has ${entry.size} bytes; expected ${length * type.bytes}, ${length} of ${type.name}`,
      );
    const read = async (from: number, to: number): Promise<Uint8Array> => {
      const bytes = await contentOf(entry, failures);
      return bytes.subarray(from * type.bytes, to * type.bytes);
    };
    return new Storage(type, length, {
      littleEndian: order.trim() !== 'big',
      largestTensor: file.size,
      read,
      place: places.get(entry),
    });
  });
  const pickle = (await content('data.pkl', longestStructure))!;
  const description = await content(descriptionName, longestDescription);
  return {
    value: unpickle(pickle, { globals, persistent: storage, ...failures }).value,
    description: description && new TextDecoder().decode(description),
  };
}

/** What to do with an archive of other files. */
function remedyFor(names: readonly string[]): string {
  const has = (end: RegExp): boolean => names.some((name) => end.test(name));
  if (has(/(^|\/)plans\.json$/))
    return 'it is a model of nnU-Net, which Ensemble.open and NnunetPredictor.load open';
  if (has(/(^|\/)fold_\d+\/model\.safetensors$/)) return 'they are folds, which Ensemble.open opens';
  if (has(/(^|\/)(configs\/metadata|network)\.json$/))
    return 'it is a model of MONAI, which MonaiPredictor.load and openMonai open';
  return 'unzip it and give the file with the weights';
}

/** By their names in the one folder that holds data.pkl. */
async function entriesOf(file: ByteRanges, failures: Failures): Promise<Map<string, ZipEntry>> {
  const entries = await zipEntries(file, failures.damaged);
  const names = entries.map(({ name }) => name);
  const root = names.find((name) => /^[^/]+\/data\.pkl$/.test(name))?.replace('data.pkl', '');
  if (root === undefined)
    throw failures.other(
      `it is a zip archive, but none of torch.save (it holds ${listed(names)}, no data.pkl); ${remedyFor(names)}`,
    );
  if (names.some((name) => name === `${root}constants.pkl` || name.startsWith(`${root}code/`)))
    throw failures.other(
      'it is TorchScript, a program with weights; in Python, save the weights alone: ' +
        'torch.save(torch.jit.load(path).state_dict(), "weights.pth")',
    );
  const found = new Map<string, ZipEntry>();
  for (const entry of entries) {
    if (!entry.name.startsWith(root)) continue;
    const name = entry.name.slice(root.length);
    if (found.has(name)) throw failures.damaged(`it holds ${JSON.stringify(entry.name)} twice`);
    found.set(name, entry);
  }
  return found;
}

/** Entries are stored as they are: torch.save compresses nothing, and what is not compressed cannot unfold. */
async function contentOf(entry: ZipEntry, failures: Failures): Promise<Uint8Array> {
  if (entry.compressionMethod !== 0)
    throw failures.other(
      `its ${JSON.stringify(entry.name)} is compressed, which torch.save never does; save it again with torch.save`,
    );
  try {
    return new Uint8Array(await entry.arrayBuffer());
  } catch (cause) {
    throw asDamage(cause, failures.damaged);
  }
}
