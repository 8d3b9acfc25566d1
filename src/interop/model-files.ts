/** Folders of models as lists of files or as zip archives, such as nnUNetv2_export_model_to_zip and MONAI's bundles are. */
import * as v from 'valibot';
import type { ZipEntry } from 'unzipit';
import { openRanges, type ByteRanges } from '../data/byte-ranges.ts';
import { fileList, shownFiles, type FileEntry } from '../data/case.ts';
import { sourceName, sourceSchema, type Source } from '../data/source.ts';
import { assertOptions } from '../options.ts';
import { InvalidModel } from '../errors.ts';
import { EntryRanges } from '../weights/entry-ranges.ts';
import { fileKind, otherKinds, tellingBytes } from '../weights/file-kind.ts';
import { asDamage, zipEntries } from '../weights/zip.ts';

/** A file of a model's folder. */
export interface ModelFile {
  /** Within the folder, with forward slashes. */
  readonly path: string;
  /** Its bytes; what is compressed is unpacked as a whole, into a Blob. For texts. */
  readonly open: () => Promise<Source>;
  /** The same to read by range, for weights: what is compressed is unpacked as far as it is read. */
  readonly ranges: () => Promise<ByteRanges>;
}

/** What a call takes as the files of a model. */
export const modelFilesSchema = v.union(
  [fileList, sourceSchema],
  'a list of files, each with its path and source, or a zip archive of them',
);

/** Those that are not hidden. @throws InvalidModel as `filesInZip` */
export async function modelFiles(given: readonly FileEntry[] | Source): Promise<readonly ModelFile[]> {
  if (!Array.isArray(given)) return filesInZip(given as Source);
  return shownFiles(given as readonly FileEntry[], ({ path }) => path).map(({ path, source }) => {
    let opened: Promise<ByteRanges> | undefined;
    return {
      path,
      open: () => Promise.resolve(source),
      // One file throughout: that another takes its place is told. What is fetched would stay in memory.
      ranges: () =>
        source instanceof URL && source.protocol !== 'file:'
          ? openRanges(source, path)
          : (opened ??= openRanges(source, path).catch((error: unknown) => {
              opened = undefined; // the next one tries again
              throw error;
            })),
    };
  });
}

/** All bytes of a file. */
export async function bytesOf(file: ModelFile): Promise<Uint8Array> {
  const ranges = await file.ranges();
  return ranges.read(0, ranges.size);
}

/** Weights lose a tenth when they are compressed, zeros nearly all: more than this is made to fill the memory. */
const mostUnpacked = { times: 64, more: 2 ** 20 };

/** Bytes of an entry from which on it is unpacked piece by piece. */
const large = 2 ** 22;

/** The files in a zip archive that are not hidden, each unpacked when it is asked for. */
export async function filesInZip(source: Source, name = sourceName(source)): Promise<ModelFile[]> {
  assertOptions('filesInZip', { source: sourceSchema }, { source });
  const file = await openRanges(source, name);
  const refused = (problem: string): InvalidModel =>
    new InvalidModel(`${name} is no archive of a model: ${problem}`);
  const damaged = (problem: string): InvalidModel =>
    new InvalidModel(
      `${name} is not a readable zip archive: ${problem}; take another copy of the file or export it again`,
    );
  const kind = fileKind(await file.read(0, Math.min(file.size, tellingBytes)));
  if (kind === 'pointer') throw refused(otherKinds.pointer);
  if (kind !== 'zip')
    throw refused('it is no zip archive; give the folder of a model, or its files in a zip archive');
  // Some programs of Windows write backslashes between folders.
  const entries = (await zipEntries(file, damaged))
    .map((entry) => Object.assign(entry, { name: entry.name.replaceAll('\\', '/') }))
    .filter(({ name: path, size, isDirectory }) => !isDirectory && !(size === 0 && path.endsWith('/')));
  const seen = new Set<string>();
  let packed = 0;
  for (const { name: path, size, compressedSize } of entries) {
    const shown = JSON.stringify(path.slice(0, 100));
    if (/^\/|^[a-z]:|\0/i.test(path) || path.split('/').some((part) => part === '..' || part === '.'))
      throw refused(`it holds ${shown}, which leads out of its folder; take another copy of the file`);
    if (seen.has(path)) throw refused(`it holds ${shown} twice; take another copy of the file`);
    seen.add(path);
    packed += compressedSize;
    if (size > mostUnpacked.times * compressedSize + mostUnpacked.more)
      throw refused(
        `its ${shown} would unfold from ${compressedSize} to ${size} bytes, as no weights do; take another copy of the file`,
      );
  }
  if (packed > file.size)
    throw damaged(`its entries have ${packed} bytes together and the file ${file.size}: they overlap`);
  return shownFiles(entries, ({ name: path }) => path).map((entry): ModelFile => {
    const within = (problem: string): InvalidModel =>
      damaged(`of its ${JSON.stringify(entry.name)}, ${problem}`);
    const open = (): Promise<Source> => unpacked(entry, name, within);
    return {
      path: entry.name,
      open,
      async ranges() {
        if (entry.size < large) return openRanges(await open(), entry.name);
        requireReadable(entry, name);
        return new EntryRanges(entry, entry.name, within);
      },
    };
  });
}

async function unpacked(
  entry: ZipEntry,
  archive: string,
  damaged: (problem: string) => InvalidModel,
): Promise<Source> {
  requireReadable(entry, archive);
  try {
    return new File([await entry.blob()], entry.name);
  } catch (cause) {
    throw asDamage(cause, damaged);
  }
}

function requireReadable(entry: ZipEntry, archive: string): void {
  if (!entry.encrypted) return;
  throw new InvalidModel(
    `${JSON.stringify(entry.name)} in ${archive} is encrypted; give an archive without a password`,
  );
}
