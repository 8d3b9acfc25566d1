/** Folders of models as lists of files or as zip archives, such as nnUNetv2_export_model_to_zip and MONAI's bundles are. */
import * as v from 'valibot';
import type { ZipEntry } from 'unzipit';
import { openRanges } from '../data/byte-ranges.ts';
import { fileList, type FileEntry } from '../data/case.ts';
import { sourceName, sourceSchema, type Source } from '../data/source.ts';
import { InvalidModel } from '../errors.ts';
import { fileKind, tellingBytes } from '../weights/file-kind.ts';
import { asDamage, zipEntries } from '../weights/zip.ts';

/** A file of a model's folder. */
export interface ModelFile {
  /** Within the folder, with forward slashes. */
  readonly path: string;
  /** Its bytes; what is compressed is unpacked as a whole, into a Blob. */
  readonly open: () => Promise<Source>;
}

/** What a call takes as the files of a model. */
export const modelFilesSchema = v.union(
  [fileList, sourceSchema],
  'a list of files, each with its path and source, or a zip archive of them',
);

/** @throws InvalidModel as `filesInZip` */
export async function modelFiles(given: readonly FileEntry[] | Source): Promise<readonly ModelFile[]> {
  if (!Array.isArray(given)) return filesInZip(given as Source);
  return (given as readonly FileEntry[]).map(({ path, source }) => ({
    path,
    open: () => Promise.resolve(source),
  }));
}

/** Weights lose a tenth when they are compressed, zeros nearly all: more than this is made to fill the memory. */
const mostUnpacked = { times: 64, more: 2 ** 20 };

/** The files in a zip archive, each unpacked when it is asked for. */
export async function filesInZip(source: Source, name = sourceName(source)): Promise<ModelFile[]> {
  const file = await openRanges(source, name);
  const refused = (problem: string): InvalidModel =>
    new InvalidModel(`${name} is no archive of a model: ${problem}`);
  const damaged = (problem: string): InvalidModel =>
    new InvalidModel(
      `${name} is not a readable zip archive: ${problem}; take another copy of the file or export it again`,
    );
  if (fileKind(await file.read(0, Math.min(file.size, tellingBytes))) !== 'zip')
    throw refused('it is no zip archive; give the folder of a model, or its files in a zip archive');
  const entries = (await zipEntries(file, damaged)).filter(({ isDirectory }) => !isDirectory);
  const seen = new Set<string>();
  let packed = 0;
  for (const { name: path, size, compressedSize } of entries) {
    const shown = JSON.stringify(path.slice(0, 100));
    if (/^\/|^[a-z]:|\\|\0/i.test(path) || path.split('/').some((part) => part === '..' || part === '.'))
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
  return entries.map((entry) => ({ path: entry.name, open: () => unpacked(entry, name, damaged) }));
}

async function unpacked(
  entry: ZipEntry,
  archive: string,
  damaged: (problem: string) => InvalidModel,
): Promise<Source> {
  if (entry.encrypted)
    throw new InvalidModel(
      `${JSON.stringify(entry.name)} in ${archive} is encrypted; give an archive without a password`,
    );
  try {
    return new File([await entry.blob()], entry.name);
  } catch (cause) {
    throw asDamage(cause, (problem) => damaged(`of its ${JSON.stringify(entry.name)}, ${problem}`));
  }
}
