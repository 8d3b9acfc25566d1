/** Files of PyTorch: damaged bytes, pickles with other instructions, entries that are gone, doubled or cut. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readStateDict } from '../../src/weights/pytorch/state-dict.ts';
import type { Random } from '../../src/data/random.ts';
import { concatenated, entriesOf, storedZip, type Entries } from './archives.ts';
import type { Kind } from './harness.ts';
import { chance, mutatedBytes, pick } from './mutations.ts';

const folder = fileURLToPath(new URL('../../test/fixtures/pytorch-files/', import.meta.url));
const files = readdirSync(folder)
  .filter((name) => /\.(pth|ckpt)$/.test(name))
  .map((name) => new Uint8Array(readFileSync(folder + name)));
const archives: readonly Entries[] = await Promise.all(
  files.filter((bytes) => bytes[0] === 0x50).map(entriesOf),
);
const legacy = files.filter((bytes) => bytes[0] !== 0x50);

/** Instructions and texts that pickles may have more of. */
const pieces = [
  ...['(', ')', ']', '}', 'N', '.', '0', '2', 't', 'u', 's', 'e', 'a', 'b', 'R', 'Q', 'l', 'd'],
  ...['K\u0001', 'h\u0001', 'h\u0002', 'q\u0001', 'J\u00ff\u00ff\u00ff\u00ff', 'X\u00ff\u00ff\u00ff\u007f'],
  ...['cos\nsystem\n', 'c__builtin__\neval\n', 'ctorch\nSize\n', 'ccollections\nOrderedDict\n'],
  ...['cnumpy\ndtype\n', 'cnumpy.core.multiarray\n_reconstruct\n', 'ctorch._utils\n_rebuild_tensor_v2\n'],
  ...['\u0080\u0005', '\u0081', '\u0085', '\u0088', '\u008f', '\u0090', '\u0093', '\u0094', '\u008a\u00ff'],
  'h\u0001'.repeat(5000),
  '('.repeat(5000),
  '}q\u0001'.repeat(3000),
].map((text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0)));

/** A pickle with some of its bytes changed, or more instructions within it. */
function mutatedPickle(bytes: Uint8Array, source: Random): Uint8Array {
  if (chance(source, 3)) return mutatedBytes(bytes, source);
  const at = source.int(bytes.length);
  return concatenated([bytes.subarray(0, at), pick(source, pieces), bytes.subarray(at + source.int(3))]);
}

function mutatedEntries(entries: Entries, source: Random): Entries {
  const at = source.int(entries.length);
  const [name, content] = entries[at]!;
  switch (source.int(5)) {
    case 0:
      return entries.toSpliced(at, 1);
    case 1:
      return [...entries, [name, mutatedBytes(content, source)]];
    case 2:
      return entries.with(at, [name, mutatedBytes(content, source)]);
    case 3:
      return entries.with(at, [
        pick(source, ['a/byteorder', 'a/code/x', 'data.pkl', '', name + '/']),
        content,
      ]);
    default:
      return entries.map(([other, bytes]) => [
        other,
        other.endsWith('data.pkl') ? mutatedPickle(bytes, source) : bytes,
      ]);
  }
}

/** Of an archive's entries, another archive. */
export const mutatedArchive = (entries: Entries, source: Random): Uint8Array<ArrayBuffer> =>
  storedZip(mutatedEntries(entries, source), {
    method: chance(source, 20) ? 8 : 0,
    start: chance(source, 20) ? 64 : 0,
  });

function mutatedFile(source: Random): Uint8Array<ArrayBuffer> {
  if (chance(source, 3)) {
    const bytes = pick(source, legacy);
    return chance(source, 2) ? mutatedBytes(bytes, source) : concatenated([mutatedPickle(bytes, source)]);
  }
  if (chance(source, 4)) return mutatedBytes(pick(source, files), source);
  return mutatedArchive(pick(source, archives), source);
}

export const pytorch: Kind = {
  name: 'pytorch',
  async read(source) {
    let bytes = 0;
    for (const tensor of (await readStateDict(mutatedFile(source))).values())
      bytes += (await tensor.read()).byteLength;
    return bytes;
  },
};
