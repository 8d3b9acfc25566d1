/** `predict --shard` and `--continue`: which volumes are this process's, and which results are there already. */
import { existsSync } from 'node:fs';
import { readFile, rm, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { InvalidOption, UNet3DError } from '../errors.ts';
import { FolderLock } from '../files/lock.node.ts';
import { readIfThere } from '../files/read.node.ts';
import { makeFolder, writeFileAtomically } from '../files/write.node.ts';
import { hashOfHashes, sha256OfFile } from './provenance.ts';
import type { Shard } from './slurm.ts';
import { toJson } from './text.ts';

/** Every so many-th by name, however the folder is listed. */
export function shareOf<Job extends { readonly target: string }>(
  jobs: readonly Job[],
  { shard, shards }: Shard,
): Job[] {
  const sorted = [...jobs].sort((a, b) => (a.target < b.target ? -1 : 1));
  return sorted.filter((_, at) => at % shards === shard - 1);
}

/** Beside the results, says what they are made by. */
export const recordName = 'predicted-by.json';

/** For which other shares may look after the record. */
const patienceMs = 60_000;
/** Bytes that a record may have. */
const longest = 10 * 2 ** 20;

export interface Making {
  /** Files of the model. */
  readonly model: readonly string[];
  /** Options that results depend on. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Files and folders, as they were given. */
  readonly inputs: readonly string[];
}

/** A result, and where it goes. */
export interface WrittenFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** One after another: what the last one is taken as the sign of is there by then. */
export async function writeFiles(files: readonly WrittenFile[]): Promise<void> {
  for (const { path, bytes } of files) await writeFileAtomically(path, bytes);
}

/** A folder whose results are all of one making. */
export class ResultsFolder {
  private constructor(
    private readonly path: string,
    private readonly record: string,
    private readonly signal: AbortSignal,
  ) {}

  /**
   * Writes the record, or finds it there.
   * @param targets all results, those of other shares included
   * @throws InvalidOption for results that were made otherwise, or nobody knows how, unless they are to be overwritten:
   *   then they are taken away
   */
  static async open(
    path: string,
    { model, options, inputs }: Making,
    targets: readonly string[],
    { overwrite, signal }: { readonly overwrite: boolean; readonly signal: AbortSignal },
  ): Promise<ResultsFolder> {
    const hashes: [string, string][] = [];
    for (const file of [...model].sort())
      hashes.push([`${hashes.length} ${basename(file)}`, await sha256OfFile(file)]);
    const making = {
      model: hashOfHashes(Object.fromEntries(hashes)),
      options,
      inputs: inputs.map((input) => resolve(input)).sort(),
    };
    const record = `${toJson(making, 2)}\n`;
    const file = join(path, recordName);
    makeFolder(path);
    using held = await FolderLock.wait(path, patienceMs, signal);
    void held; // until the end
    const before = await readIfThere(file, longest);
    if (before && new TextDecoder().decode(before) === record) return new ResultsFolder(path, record, signal);
    const there = targets.filter((target) => existsSync(target));
    const remedy = 'have all made anew (--overwrite), or give another --out';
    if (!overwrite && (before ?? there.length > 0))
      throw new InvalidOption(
        before
          ? `the results in ${path} are of another model, other options or other images, see ${recordName} there: ${remedy}`
          : `${there[0]} is there already, and no ${recordName} beside it says by which model: ${remedy}`,
      );
    for (const target of there) await rm(target, { force: true });
    await writeFileAtomically(file, record);
    return new ResultsFolder(path, record, signal);
  }

  /** @throws UNet3DError where another command has taken over the folder, and then nothing is written */
  async write(files: readonly WrittenFile[]): Promise<void> {
    using held = await FolderLock.wait(this.path, patienceMs, this.signal);
    void held;
    const found = await readFile(join(this.path, recordName), 'utf8').catch(() => '');
    if (found !== this.record)
      throw new UNet3DError(
        `${this.path} was taken over by another command meanwhile, with another model, options or images: give another --out`,
      );
    await writeFiles(files);
  }
}

/** Whether a result is there, which is whole then, and no older than what it is made from. */
export async function isMade({
  files,
  target,
}: {
  readonly files: readonly string[];
  readonly target: string;
}): Promise<boolean> {
  const made = await stat(target).catch(() => undefined);
  if (!made) return false;
  const images = await Promise.all(files.map((file) => stat(file).catch(() => undefined)));
  return images.every((image) => image && image.mtimeMs <= made.mtimeMs);
}
