/** Data sets in a directory: walks it and hands the files to dataset.ts. Node only. */
import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { InvalidDataset } from '../errors.ts';
import { assertOptions } from '../options.ts';
import { text } from '../schema.ts';
import { datasetEntries, openFiles, pairDataset, type Dataset, type DatasetOptions } from './dataset.ts';
import type { FileEntry } from './case.ts';
import './source.node.ts';
import type { Source } from './source.ts';

/** Folders of a data set at most: links that multiply each other end there. */
const mostFolders = 100_000;

/** What a walk through folders has met. */
interface Walk {
  /** Real path of a folder below that is left out. */
  readonly except: string | undefined;
  readonly files: FileEntry[];
  /** What it had to leave out, one sentence each. */
  readonly warnings: string[];
  /** Folders below that could not be read. */
  readonly unread: string[];
  folders: number;
}

/**
 * Files below a directory; paths relative to it with forward slashes. Links are followed; one whose target is
 * missing counts as a file, which is refused when it is read.
 * @param above real paths of the folders that lead here
 */
async function walk(
  found: Walk,
  directory: string,
  prefix = '',
  above: readonly string[] = [],
): Promise<void> {
  /** Undefined of a folder below that cannot be read, by its name or at all: the others are as good as they were. */
  const unlessBelow = <T>(reading: Promise<T>): Promise<T | undefined> =>
    reading.catch((error: unknown) => {
      if (prefix === '') throw error;
      found.unread.push(directory);
      found.warnings.push(`${directory} cannot be read (${(error as Error).message}); left out.`);
      return undefined;
    });
  const here = await unlessBelow(realpath(directory));
  if (here === undefined) return;
  if (here === found.except && prefix !== '') return;
  if (above.includes(here))
    return void found.warnings.push(`${directory} leads back to ${here}, a folder above it; left out.`);
  if (++found.folders > mostFolders)
    throw new InvalidDataset(
      `${directory} is one of more than ${mostFolders} folders; give the folder of one data set, and look for links in it that lead to each other.`,
    );
  const items = await unlessBelow(readdir(directory, { withFileTypes: true }));
  for (const item of items ?? []) {
    if (item.name.startsWith('.')) continue;
    const path = join(directory, item.name);
    const isFolder = item.isSymbolicLink()
      ? await stat(path).then(
          (info) => info.isDirectory(),
          () => false,
        )
      : item.isDirectory();
    if (isFolder) await walk(found, path, `${prefix}${item.name}/`, [...above, here]);
    else found.files.push({ path: prefix + item.name, source: path });
  }
}

/**
 * All files below a directory that are not hidden, through links, and what had to be left out.
 * @param except a folder below whose files are left out, such as that of results
 * @throws InvalidDataset if it is not a directory that can be read
 */
export async function filesIn(
  directory: string,
  except?: string,
): Promise<Pick<Walk, 'files' | 'warnings' | 'unread'>> {
  const real = except === undefined ? undefined : await realpath(except).catch(() => undefined);
  const found: Walk = { except: real, files: [], warnings: [], unread: [], folders: 0 };
  try {
    if (!(await stat(directory)).isDirectory())
      throw new InvalidDataset(`${directory} is not a directory; give the folder of the data set.`);
    await walk(found, directory);
    return found;
  } catch (error) {
    if (error instanceof InvalidDataset) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'does not exist' : `cannot be read (${message})`;
    throw new InvalidDataset(`${directory} ${reason}; give the folder of the data set.`, { cause: error });
  }
}

/**
 * All files below a model's directory, of which none may be missing: of several folds, the others would go on without it.
 * @throws InvalidDataset as `filesIn` does, and if a folder below cannot be read
 */
export async function modelFilesIn(directory: string): Promise<readonly FileEntry[]> {
  const { files, unread } = await filesIn(directory);
  if (unread.length > 0)
    throw new InvalidDataset(
      `${unread[0]} cannot be read, and may hold a part of the model; make it readable, or take it out of ${directory}.`,
    );
  return files;
}

/** As nnU-Net has it: absolute, or relative to dataset.json, with variables of the environment. */
async function locate(path: string, description: Source): Promise<Source | undefined> {
  if (typeof description !== 'string') return undefined;
  const expanded = path.replace(
    /\$(\w+)|\$\{(\w+)\}/g,
    (text, a?: string, b?: string) => process.env[a ?? b ?? ''] ?? text,
  );
  const place = resolve(dirname(description), expanded);
  const isThere = await lstat(place).then(
    () => true,
    () => false,
  );
  return isThere ? place : undefined;
}

/**
 * The data set in a directory, see openDataset. Sources are paths.
 * @throws InvalidDataset if it is not a directory, and as openDataset does
 * @example
 * ```js
 * const { cases, labels, channels } = await openDatasetFolder('data');
 * ```
 */
export async function openDatasetFolder(directory: string, options: DatasetOptions = {}): Promise<Dataset> {
  assertOptions('openDatasetFolder', { directory: text }, { directory });
  assertOptions('openDatasetFolder', datasetEntries, options);
  return datasetIn(directory, options);
}

/** As `openDatasetFolder`. @param except a folder below that is left out */
export async function datasetIn(
  directory: string,
  options: DatasetOptions,
  except?: string,
): Promise<Dataset> {
  const { files, warnings } = await filesIn(directory, except);
  const dataset = await openFiles(files, options, locate).catch((error: unknown) => {
    if (!(error instanceof InvalidDataset)) throw error;
    throw new InvalidDataset(`${directory}: ${error.message}`, { cause: error });
  });
  return {
    ...dataset,
    ...(dataset.name === 'dataset' && options.name === undefined && { name: basename(resolve(directory)) }),
    warnings: [...dataset.warnings, ...warnings],
  };
}

/**
 * The data set of a directory of images and one of labels, matched by name; see pairDataset.
 * @example
 * ```js
 * const { cases } = await openFolderPair('data/imagesTr', 'data/labelsTr');
 * ```
 */
export async function openFolderPair(
  images: string,
  labels: string,
  options: DatasetOptions = {},
): Promise<Dataset> {
  assertOptions('openFolderPair', { images: text, labels: text }, { images, labels });
  assertOptions('openFolderPair', datasetEntries, options);
  return pairIn(images, labels, options);
}

/** As `openFolderPair`. @param except a folder below one of them that is left out */
export async function pairIn(
  images: string,
  labels: string,
  options: DatasetOptions,
  except?: string,
): Promise<Dataset> {
  const name = basename(resolve(images, '..'));
  const [a, b] = [await filesIn(images, except), await filesIn(labels, except)];
  const dataset = await pairDataset(a.files, b.files, { ...options, name: options.name ?? name });
  return { ...dataset, warnings: [...dataset.warnings, ...a.warnings, ...b.warnings] };
}
