/** Runs around every test file in Node: notes the adapters that were used for the summary, and removes its folders. */
import { afterAll } from 'vitest';
import { adaptersFound } from '../../src/gpu/node.ts';
import { noteAdapters } from './adapters.ts';
import { removeTemporaryFolders } from './temporary.node.ts';

afterAll(async ({}, file) => {
  noteAdapters(
    file,
    [...adaptersFound].map((adapter) => `Node: ${adapter}`),
  );
  await removeTemporaryFolders();
});
