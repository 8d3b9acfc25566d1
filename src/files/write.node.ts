/** Files that are written whole or not at all, and folders for them. */
import { randomBytes } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, rmdirSync } from 'node:fs';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import * as v from 'valibot';
import { UNet3DError } from '../errors.ts';
import { assertOptions } from '../options.ts';
import { text } from '../schema.ts';
import { formatProcess, isRunning, parseProcess, thisProcess } from './process.node.ts';

/**
 * Makes a folder with its parents. (Node's own recursive mkdir never returns for a place under /proc.)
 * @returns those that were not there, innermost first
 */
export function makeFolder(path: string): string[] {
  const folder = resolve(path);
  if (existsSync(folder)) return [];
  const parent = dirname(folder);
  const made = parent === folder ? [] : makeFolder(parent);
  try {
    mkdirSync(folder);
    return [folder, ...made];
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return made; // by another process meanwhile
    // Another process has taken its empty parent away.
    if (code === 'ENOENT' && !lstatSync(parent, { throwIfNoEntry: false })) return makeFolder(path);
    throw error;
  }
}

/** Removes folders, innermost first, as far as nobody has put something there. */
export function removeEmpty(folders: readonly string[]): void {
  for (const folder of folders)
    try {
      rmdirSync(folder);
    } catch {
      return;
    }
}

/** A file under way, beside the one that it is to become; hidden, so that nothing takes it for a volume. */
export const temporaryName = (): string =>
  `.unet3d-${formatProcess(thisProcess())}-${randomBytes(4).toString('hex')}.tmp`;
const temporaryPattern = /^\.unet3d-(.+)-[0-9a-f]{8}\.tmp$/;

const writeEntries = {
  path: text,
  bytes: v.union([text, v.instance(Uint8Array)], 'a text or bytes (a Uint8Array)'),
};

/**
 * Replaces `path` with `bytes` so that at any moment either the old or the new content is there, whole, however many
 * write to it. Makes its folder; a link is replaced, not followed.
 * @throws the operating system's error, about `path`
 * @example
 * ```js
 * await writeFileAtomically('model-copy.safetensors', modelBytes);
 * ```
 */
export async function writeFileAtomically(path: string, bytes: Uint8Array | string): Promise<void> {
  assertOptions('writeFileAtomically', writeEntries, { path, bytes });
  await replaceFile(path, bytes);
}

/** As `writeFileAtomically`. @param confirm is asked last, when all is written but the name: the old file stays if it throws */
export async function replaceFile(
  path: string,
  bytes: Uint8Array | string,
  confirm?: () => Promise<void>,
): Promise<void> {
  const temporary = join(dirname(path), temporaryName());
  try {
    makeFolder(dirname(path));
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await confirm?.();
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error instanceof UNet3DError ? error : aboutFile(error as NodeJS.ErrnoException, path);
  }
}

/** The error with the name of the file that was wanted, in place of the one under way or of none. */
export function aboutFile(
  error: NodeJS.ErrnoException,
  path: string,
  what: 'read' | 'write' = 'write',
): NodeJS.ErrnoException {
  if (error.syscall === 'mkdir') return error;
  error.message = error.message.replace(/, \w+( '.*)?$/s, `, ${what} '${path}'`);
  return Object.assign(error, { path });
}

/** Removes what processes of this host that no longer run were writing into a folder, if there is one. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const owner = parseProcess(temporaryPattern.exec(name)?.[1] ?? '');
    if (owner && isRunning(owner) === false) await rm(join(folder, name), { recursive: true, force: true });
  }
}
