/** Data sets in a directory: walks it and hands the files to dataset.ts. Node only. */
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { InvalidDataset } from '../errors.ts';
import { openDataset, pairDataset, type Dataset, type DatasetOptions, type FileEntry } from './dataset.ts';
import './source.node.ts';

const deepest = 3; // levels of folders below the data set's own

/** Files below a directory; paths relative to it with forward slashes. */
async function walk(directory: string, prefix = '', depth = 0): Promise<FileEntry[]> {
  const found = await readdir(directory, { withFileTypes: true });
  const lists = await Promise.all(
    found
      .filter(({ name }) => !name.startsWith('.'))
      .map(async (item): Promise<FileEntry[]> => {
        const path = join(directory, item.name);
        const isFolder = item.isSymbolicLink() ? (await stat(path)).isDirectory() : item.isDirectory();
        if (!isFolder) return [{ path: prefix + item.name, source: path }];
        return depth < deepest ? walk(path, `${prefix}${item.name}/`, depth + 1) : [];
      }),
  );
  return lists.flat();
}

async function filesIn(directory: string): Promise<FileEntry[]> {
  const info = await stat(directory).catch((error: NodeJS.ErrnoException) => {
    const reason = error.code === 'ENOENT' ? 'does not exist' : `cannot be read (${error.message})`;
    throw new InvalidDataset(`${directory} ${reason}; give the folder of the data set.`, { cause: error });
  });
  if (!info.isDirectory())
    throw new InvalidDataset(`${directory} is not a directory; give the folder of the data set.`);
  return walk(directory);
}

/**
 * The data set in a directory, see openDataset. Sources are paths.
 * @throws InvalidDataset if it is not a directory, and as openDataset does
 */
export async function openDatasetFolder(directory: string, options: DatasetOptions = {}): Promise<Dataset> {
  const files = await filesIn(directory);
  const dataset = await openDataset(files, options).catch((error: unknown) => {
    if (!(error instanceof InvalidDataset)) throw error;
    throw new InvalidDataset(`${directory}: ${error.message}`, { cause: error });
  });
  return dataset.name === 'dataset' && options.name === undefined
    ? { ...dataset, name: basename(resolve(directory)) }
    : dataset;
}

/** The data set of a directory of images and one of labels, matched by name; see pairDataset. */
export async function openFolderPair(
  images: string,
  labels: string,
  options: DatasetOptions = {},
): Promise<Dataset> {
  const name = basename(resolve(images, '..'));
  return pairDataset(await filesIn(images), await filesIn(labels), { name, ...options });
}
