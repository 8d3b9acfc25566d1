/** `predict --shard` and `--continue`: which volumes are this process's, and which results are there already. */
import { existsSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { InvalidOption, UNet3DError } from '../errors.ts';
import { FolderLock } from '../files/lock.node.ts';
import { readIfThere } from '../files/read.node.ts';
import { stampAt } from '../files/stamp.node.ts';
import { replaceFile, writeFileAtomically } from '../files/write.node.ts';
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
  readonly model: ModelFiles;
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

/** A folder whose results are all of one making, or of which nothing is recorded. */
export class ResultsFolder {
  private constructor(
    private readonly path: string,
    /** Undefined where nothing is to be recorded. */
    private readonly record: string | undefined,
  ) {}

  /** Of results that replace what is there, until another command records there what its own are made by. */
  static unrecorded = (path: string): ResultsFolder => new ResultsFolder(path, undefined);

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
    const making = {
      model: model.hash,
      options,
      inputs: inputs.map((input) => resolve(input)).sort(),
    };
    const record = `${toJson(making, 2)}\n`;
    using held = await FolderLock.wait(path, patienceMs, { signal });
    void held; // until the end
    const results = new ResultsFolder(path, record);
    const before = await results.#found();
    if (before !== undefined && saysSame(before, record)) return new ResultsFolder(path, before);
    const there = targets.filter((target) => existsSync(target));
    const remedy = 'have all made anew (--overwrite), or give another --out';
    if (!overwrite && (before !== undefined || there.length > 0))
      throw new InvalidOption(
        before !== undefined
          ? `the results in ${path} are of another model, other options or other images, see ${recordName} there: ${remedy}`
          : `${there[0]} is there already, and no ${recordName} beside it says by which model: ${remedy}`,
      );
    // First of all the record: whoever still writes by it gives up.
    for (const path of [results.#file, ...there]) await rm(path, { force: true });
    await writeFileAtomically(results.#file, record);
    return results;
  }

  get #file(): string {
    return join(this.path, recordName);
  }

  async #found(): Promise<string | undefined> {
    const bytes = await readIfThere(this.#file, longest);
    return bytes && new TextDecoder().decode(bytes);
  }

  /**
   * Writes one file after another: what the last one is taken as the sign of is there by then.
   * @param confirm is asked before each appears
   * @throws UNet3DError where another command has taken over the folder, and then nothing is written
   */
  async write(files: readonly WrittenFile[], confirm: () => Promise<void>): Promise<void> {
    for (const { path, bytes } of files)
      await replaceFile(path, bytes, async () => {
        await confirm();
        if ((await this.#found()) === this.record) return;
        throw new UNet3DError(
          `${this.path} was taken over by another command meanwhile, with another model, options or images: give another --out`,
        );
      });
  }
}

/** Whether two records are of one making, in whatever order its options were given. */
function saysSame(record: string, other: string): boolean {
  try {
    return isDeepStrictEqual(JSON.parse(record), JSON.parse(other));
  } catch {
    return false; // a record that is damaged
  }
}

/** Files that are to stay as they are while work is done with them. */
export class SteadyFiles {
  private constructor(
    private readonly files: readonly string[],
    private readonly stamps: readonly string[],
  ) {}

  static async of(files: readonly string[]): Promise<SteadyFiles> {
    return new SteadyFiles(files, await Promise.all(files.map(stampAt)));
  }

  /** The first that was replaced, written to or taken away since; undefined if none was. */
  async changed(): Promise<string | undefined> {
    const now = await Promise.all(this.files.map(stampAt));
    return this.files.find((_, at) => now[at] !== this.stamps[at]);
  }
}

/** Files of a model by what they hold, which must be what is loaded. */
export class ModelFiles {
  private constructor(
    private readonly files: SteadyFiles,
    readonly hash: string,
  ) {}

  static async read(given: readonly string[]): Promise<ModelFiles> {
    const sorted = [...given].sort();
    const files = await SteadyFiles.of(sorted);
    const hashes: [string, string][] = [];
    for (const file of sorted) hashes.push([`${hashes.length} ${basename(file)}`, await sha256OfFile(file)]);
    return new ModelFiles(files, hashOfHashes(Object.fromEntries(hashes)));
  }

  /** @throws UNet3DError where one of them was replaced since they were read */
  async assertSame(): Promise<void> {
    const file = await this.files.changed();
    if (file !== undefined)
      throw new UNet3DError(
        `the model was replaced since it was opened (${file}): start again, with the new one`,
      );
  }
}

/**
 * Whether a result is there, which is whole then, and no older than what it is made from.
 * @param sources files of it, and the record of its making
 */
export async function isMade(target: string, sources: readonly string[]): Promise<boolean> {
  const made = await stat(target).catch(() => undefined);
  if (!made) return false;
  const images = await Promise.all(sources.map((file) => stat(file).catch(() => undefined)));
  return images.every((image) => image && image.mtimeMs <= made.mtimeMs);
}
