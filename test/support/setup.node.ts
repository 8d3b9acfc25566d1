/**
 * Runs around every test file in Node: notes the adapters that were used for the summary, and lets go of Dawn so
 * that the process can end.
 */
import { afterAll } from 'vitest';
import { adaptersFound, releaseNodeGpu } from '../../src/gpu/node.ts';
import { noteAdapters } from './adapters.ts';

afterAll(async ({}, file) => {
  noteAdapters(
    file,
    [...adaptersFound].map((adapter) => `Node: ${adapter}`),
  );
  await releaseNodeGpu();
});
