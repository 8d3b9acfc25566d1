/** Files beside the checkout, by path. */
import { readFile } from 'node:fs/promises';
import '../../src/data/source.node.ts';
import type { FilesBeside } from './files.ts';

export const bytesOf: FilesBeside['bytesOf'] = (path) =>
  readFile(path).then(
    (bytes) => new Uint8Array(bytes),
    () => undefined,
  );

export const volumeAt: FilesBeside['volumeAt'] = (path) => Promise.resolve([path, {}]);
