/** What a run was made of and how long its stages took: versions, SHA-256 of data and model, a stopwatch. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createRequire } from 'node:module';
import { sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Case } from '../data/case.ts';
import { bothOfPair, platform, setPlatform, type Stored } from '../data/source.ts';
import { aboutFile } from '../files/write.node.ts';
import { version } from '../version.ts';

/** Of everything that results may depend on besides the adapter. */
export const versions = (): Record<string, string> => ({
  'unet3d-gpu': version,
  webgpu: packageVersion('webgpu'),
  node: process.versions.node,
  platform: `${process.platform} ${process.arch}`,
});

/** When a report is made. */
export const createdNow = (): string => `${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC`;

function packageVersion(name: string): string {
  try {
    const manifest: unknown = createRequire(import.meta.url)(`${name}/package.json`);
    return String((manifest as { version?: unknown }).version);
  } catch {
    return 'unknown';
  }
}

/** SHA-256 in hexadecimal digits. */
export const sha256 = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex');

/** Piece by piece, however long the file is. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash).catch((error: NodeJS.ErrnoException) => {
    throw aboutFile(error, path, 'read');
  });
  return hash.digest('hex');
}

/** One hash for many: that of their lines "hash  name", which is what `sha256sum FILES | sha256sum` gives. */
export const hashOfHashes = (hashes: Readonly<Record<string, string>>): string =>
  sha256(
    Object.entries(hashes)
      .map(([name, hash]) => `${hash}  ${name}\n`)
      .join(''),
  );

/** Hashes files while others read them, so that none is opened for that alone. */
export class FileHashes implements Disposable {
  readonly #found = new Map<string, string>();
  readonly #before = platform();

  /** From here on, until it is disposed of, files that are read to their end are hashed. */
  constructor() {
    const openFile = async (path: string | URL): Promise<Stored | undefined> => {
      const stored = await this.#before.openFile(path);
      if (!stored || this.#found.has(String(path))) return stored;
      const { pieces } = stored;
      const whole: typeof pieces = (...range) =>
        range.every((end) => end === undefined) ? this.#hashed(String(path), pieces()) : pieces(...range);
      return { ...stored, pieces: whole };
    };
    setPlatform({ ...this.#before, openFile });
  }

  async *#hashed(path: string, pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const hash = createHash('sha256');
    for await (const piece of pieces) {
      hash.update(piece);
      yield piece;
    }
    this.#found.set(path, hash.digest('hex'));
  }

  /**
   * Of the files of some cases as they lie on the disk, by their paths below the folder that all images, or all labels,
   * lie in; images first, then labels. What was not read is read here.
   */
  async of(cases: readonly Case[]): Promise<Record<string, string>> {
    const hashes: Record<string, string> = {};
    const kinds = {
      images: cases.flatMap(({ images }) => images),
      labels: cases.flatMap(({ label }) => (label === undefined ? [] : [label])),
    };
    for (const [kind, sources] of Object.entries(kinds)) {
      const paths = sources.flatMap((source) => (typeof source === 'string' ? bothOfPair(source) : []));
      for (const [path, name] of namesBelow(paths))
        hashes[`${kind}/${name}`] = this.#found.get(path) ?? (await sha256OfFile(path));
    }
    return hashes;
  }

  [Symbol.dispose](): void {
    setPlatform(this.#before);
  }
}

/** Paths, each with what follows the folder that all of them lie in. */
function namesBelow(paths: readonly string[]): [path: string, name: string][] {
  const split = paths.map((path) => path.split(sep));
  const depth = split[0]?.findIndex((name, at) =>
    split.some((names) => at === names.length - 1 || names[at] !== name),
  );
  return paths.map((path, at) => [path, split[at]!.slice(depth).join('/')]);
}

/** Seconds of the stages of a run, in their order. */
export class Stopwatch {
  readonly stages: { name: string; seconds: number }[] = [];
  #last = performance.now();

  /** Ends a stage, which began where the one before ended. */
  end(name: string): void {
    const now = performance.now();
    this.stages.push({ name, seconds: (now - this.#last) / 1000 });
    this.#last = now;
  }
}
