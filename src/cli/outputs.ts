/**
 * What a command is about to write, looked at before its work: places that cannot be written, and files that the
 * result would destroy because they are the command's own input, under whatever name.
 */
import { lstatSync, mkdirSync, rmSync, type Stats } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { bothOfPair } from '../data/source.ts';
import { InvalidOption, UNet3DError } from '../errors.ts';
import { fileKeys } from '../files/same.node.ts';
import { makeFolder, removeLeftovers, temporaryName } from '../files/write.node.ts';
import { fileReason } from './failure.ts';

/** Files that a command writes, and the option that says where. */
export interface Outputs {
  readonly option: string;
  readonly paths: readonly string[];
}

/**
 * @param inputs files that the command reads
 * @throws InvalidOption for an output that is no plain file, that is an input or another output; UNet3DError for one
 *   whose folder cannot be written
 */
export async function checkOutputs(outputs: readonly Outputs[], inputs: readonly string[]): Promise<void> {
  const taken = new Map<string, { path: string; isInput: boolean }>();
  for (const path of inputs.flatMap(bothOfPair))
    for (const key of await fileKeys(path)) taken.set(key, { path, isInput: true });
  const folders = new Map<string, string>();
  for (const { option, paths } of outputs)
    for (const path of paths) {
      await assertPlainFile(option, path);
      const keys = await fileKeys(path);
      const other = keys.map((key) => taken.get(key)).find((found) => found !== undefined);
      if (other) throw oneFile(option, path, other);
      for (const key of keys) taken.set(key, { path, isInput: false });
      folders.set(dirname(path), option);
    }
  for (const [folder, option] of folders) {
    const there = nearest(folder);
    assertWritable(option, folder, there);
    for (const place of new Set([there, folder])) await removeLeftovers(place);
  }
}

function oneFile(option: string, path: string, other: { path: string; isInput: boolean }): InvalidOption {
  const same = other.path === path ? '' : `, which is the same file as ${path}`;
  return new InvalidOption(
    other.isInput
      ? `the result would overwrite its input ${other.path}${same}: give another ${option}`
      : `two results would both be written to ${other.path}${same}: give them different names`,
  );
}

/** Results replace a file of their name as a whole, which neither a pipe nor a device can be. */
async function assertPlainFile(option: string, path: string): Promise<void> {
  const refuse = (what: string): never => {
    throw new InvalidOption(`${option} ${path} is ${what}: give the name of a file`);
  };
  const info = await stat(path).catch(() => undefined);
  if (info?.isDirectory()) refuse('a folder');
  if (info && !info.isFile()) refuse(`${kindOf(info)}, and results are written as whole files`);
  if (isTooLong(join(nearest(dirname(path)), basename(path))))
    refuse(`a name of ${Buffer.byteLength(basename(path))} bytes, which the file system does not take`);
  // Such as /dev/stdout where it leads to a file: what would be replaced is the name in /dev.
  const folder = await realpath(dirname(path)).catch(() => '');
  if (/^\/(dev|proc|sys)(?!\/shm)(\/|$)/.test(folder)) refuse(`in ${folder}, which is not for files`);
}

function isTooLong(path: string): boolean {
  try {
    lstatSync(path);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENAMETOOLONG';
  }
}

const kindOf = (info: Stats): string =>
  info.isFIFO() ? 'a named pipe' : info.isSocket() ? 'a socket' : 'a device';

/** The folder, or the innermost place around it that is there: a file, where one is in the way. */
function nearest(folder: string): string {
  const isThere = (place: string): boolean => {
    try {
      return lstatSync(place, { throwIfNoEntry: false }) !== undefined;
    } catch {
      return false; // below a file, or of too long a name
    }
  };
  let there = resolve(folder);
  while (!isThere(there) && dirname(there) !== there) there = dirname(there);
  return there;
}

/**
 * Tries where the folder is or would be made, in a place of its own, and leaves nothing there: no other process that is
 * about to write into the folder finds it made or taken away.
 */
function assertWritable(option: string, folder: string, there: string): void {
  const trial = join(there, temporaryName());
  try {
    mkdirSync(trial);
    try {
      makeFolder(join(trial, relative(there, resolve(folder))));
    } finally {
      rmSync(trial, { recursive: true, force: true });
    }
  } catch (error) {
    const reason = fileReason(error as NodeJS.ErrnoException) ?? (error as Error).message;
    throw new UNet3DError(`cannot write into the folder ${folder} (${reason}): give another ${option}`, {
      cause: error,
    });
  }
}
