/** All kinds of input. */
import { descriptions } from './descriptions.ts';
import { dataFolders, runFolders } from './folders.ts';
import type { Kind } from './harness.ts';
import { models } from './models.ts';
import { volumes } from './volumes.ts';

/** Kinds whose every fault is one. */
export const held: readonly Kind[] = [volumes, dataFolders];

/** Kinds whose faults are counted only, until their files are held to schemas. */
export const counted: readonly Kind[] = [descriptions, models, runFolders];
