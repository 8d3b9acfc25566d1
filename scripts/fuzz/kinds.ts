/** All kinds of input. */
import { descriptions } from './descriptions.ts';
import { dataFolders, runFolders } from './folders.ts';
import type { Kind } from './harness.ts';
import { checkpoints, models } from './models.ts';
import { pytorch } from './pytorch.ts';
import { volumes } from './volumes.ts';

export const kinds: readonly Kind[] = [
  volumes,
  dataFolders,
  descriptions,
  models,
  checkpoints,
  pytorch,
  runFolders,
];
