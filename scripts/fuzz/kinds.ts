/** All kinds of input. */
import { descriptions } from './descriptions.ts';
import { dataFolders } from './folders.ts';
import type { Kind } from './harness.ts';
import { checkpoints, models } from './models.ts';
import { monai } from './monai.ts';
import { nnunet } from './nnunet.ts';
import { pytorch } from './pytorch.ts';
import { runFolders } from './run-folders.ts';
import { subjects } from './subjects.ts';
import { volumes } from './volumes.ts';

export const kinds: readonly Kind[] = [
  volumes,
  dataFolders,
  descriptions,
  models,
  checkpoints,
  pytorch,
  nnunet,
  monai,
  subjects,
  runFolders,
];
