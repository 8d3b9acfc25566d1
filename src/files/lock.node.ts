/**
 * A folder that one process at a time writes into. The lock is a file `.lock-N` in it that names its process. It comes
 * whole or not at all, and one that a killed process has left is followed by N + 1, never replaced: of any number of
 * processes that find it, one gets the next.
 */
import { randomUUID } from 'node:crypto';
import {
  constants,
  copyFileSync,
  linkSync,
  lstatSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as rest } from 'node:timers/promises';
import { Aborted, UNet3DError } from '../errors.ts';
import { isRunning, parseProcess, formatProcess, thisProcess, type ProcessId } from './process.node.ts';
import { aboutFile, makeFolder, removeEmpty, temporaryName } from './write.node.ts';

interface Lock {
  readonly path: string;
  /** Of as many digits as a name has room for. */
  readonly number: bigint;
  /** Undefined where it cannot be read. */
  readonly owner: ProcessId | undefined;
}

const lockPattern = /^\.lock-(\d+)$/;

function locksOf(folder: string): Lock[] {
  const locks: Lock[] = [];
  for (const name of readdirSync(folder)) {
    const number = lockPattern.exec(name)?.[1];
    if (number === undefined) continue;
    const path = join(folder, name);
    try {
      locks.push({ path, number: BigInt(number), owner: ownerOf(path) });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; // let go of meanwhile
    }
  }
  return locks;
}

/** Bytes of a lock at most. */
const longest = 1000;

/** Undefined for what is no lock of ours: a folder or a link of such a name is not gone into, nor is a pipe waited for. */
function ownerOf(path: string): ProcessId | undefined {
  const info = lstatSync(path);
  const isOurs = info.isFile() && info.size <= longest;
  return isOurs ? parseProcess(readFileSync(path, 'utf8').split('\n')[0]!) : undefined;
}

const isLeft = ({ owner }: Lock): boolean => owner !== undefined && isRunning(owner) === false;

/** @throws UNet3DError if a process that may still run has locked the folder, if there is one */
export function assertUnlocked(folder: string): void {
  let locks: Lock[];
  try {
    locks = locksOf(folder);
  } catch {
    return; // nothing is there that could be locked
  }
  const held = locks.find((lock) => !isLeft(lock));
  if (held) throw inUse(folder, held);
}

function inUse(folder: string, { owner, path }: Lock): UNet3DError {
  if (owner && isRunning(owner))
    return new UNet3DError(
      `${folder} is in use by process ${owner.pid}, which writes into it: wait until it ends, stop it, ` +
        'or give another folder',
    );
  const who = owner ? `process ${owner.pid} on the machine ${owner.host}` : 'another process';
  return new UNet3DError(
    `${folder} is in use by ${who}, of which this machine cannot tell whether it still runs: if it does not, ` +
      `delete ${path}; else wait until it ends, or give another folder`,
  );
}

/** How another is waited for. */
interface Waiting {
  readonly signal?: AbortSignal;
  /** Is told once, after a minute, who has the folder. */
  readonly tell?: (message: string) => void;
  /** Whether patience counts from the last sign that the other has given, as each does every minute. Default false. */
  readonly sinceSign?: boolean;
}

export class FolderLock implements Disposable {
  readonly #release = (): void => {
    clearInterval(this.#signs);
    if (this.isHeld) rmSync(this.path, { force: true });
    removeEmpty(this.made);
  };
  /** For those on other machines, which cannot see whether this process runs. */
  readonly #signs = setInterval(() => this.#giveSign(), signMs).unref();

  private constructor(
    private readonly folder: string,
    private readonly path: string,
    /** What the lock says, like no other one. */
    private readonly text: string,
    /** Folders that were not there before, innermost first. */
    private readonly made: readonly string[],
    /** Numbers of the processes that no longer run and had left the folder locked. */
    readonly left: readonly number[],
  ) {
    process.once('exit', this.#release); // also where a second Ctrl-C ends the process at once
  }

  /**
   * Makes the folder where it is not there; disposing of the lock takes it away again if nothing was put there.
   * @throws UNet3DError if a process that may still run has locked the folder; what the operating system says
   */
  static take(folder: string): FolderLock {
    const made: string[] = [];
    try {
      return FolderLock.#take(folder, made);
    } catch (error) {
      removeEmpty(made);
      throw error;
    }
  }

  /** @param made gets the folders that had to be made */
  static #take(folder: string, made: string[]): FolderLock {
    for (;;) {
      made.unshift(...makeFolder(folder));
      try {
        const before = locksOf(folder);
        const held = before.find((lock) => !isLeft(lock));
        if (held) throw inUse(folder, held);
        const last = before.reduce((most, { number }) => (number > most ? number : most), 0n);
        const path = join(folder, `.lock-${last + 1n}`);
        const text = `${formatProcess(thisProcess())}\n${randomUUID()}\n`;
        if (!create(folder, path, text)) continue;
        // One who looked before a lock was let go of may have taken an earlier number: who sees another gives way.
        const other = locksOf(folder).find((lock) => lock.path !== path && !isLeft(lock));
        if (other) {
          rmSync(path, { force: true });
          throw inUse(folder, other);
        }
        for (const lock of before) rmSync(lock.path, { force: true });
        return new FolderLock(
          resolve(folder),
          resolve(path),
          text,
          made,
          before.map(({ owner }) => owner!.pid),
        );
      } catch (error) {
        // One who made it and left has taken it away, empty.
        const isGone = lstatSync(folder, { throwIfNoEntry: false }) === undefined;
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || !isGone) throw error;
      }
    }
  }

  /**
   * As `take`, but waits so long for another to let go.
   * @throws Aborted if the signal fires meanwhile
   */
  static async wait(
    folder: string,
    patienceMs: number,
    { signal, tell, sinceSign = false }: Waiting = {},
  ): Promise<FolderLock> {
    const begun = performance.now();
    let [sign, heard] = [0, begun];
    let isTold = false;
    for (;;)
      try {
        return FolderLock.take(folder);
      } catch (error) {
        const now = performance.now();
        const waitedMs = now - begun;
        const latest = sinceSign ? lastSign(folder) : sign;
        if (latest !== sign) [sign, heard] = [latest, now];
        if (!(error instanceof UNet3DError) || now - heard >= patienceMs) throw error;
        if (!isTold && waitedMs >= 60_000) {
          tell?.(error.message);
          isTold = true;
        }
        if (signal?.aborted) throw new Aborted(`stopped while ${folder} was in use`);
        // Files of a cluster are far away: who waits long asks seldom.
        const ms = 5 + Math.random() * Math.min(20 + waitedMs / 10, 5000);
        await rest(ms, undefined, { ...(signal && { signal }) }).catch(() => undefined); // told above
      }
  }

  #giveSign(): void {
    const now = new Date();
    try {
      if (this.isHeld) utimesSync(this.path, now, now);
    } catch {
      // The next one may be seen.
    }
  }

  /** Whether the lock is there as it was made: somebody may have moved the folder away, or deleted it. */
  get isHeld(): boolean {
    try {
      return readFileSync(this.path, 'utf8') === this.text;
    } catch {
      return false;
    }
  }

  /** @throws UNet3DError where it is not */
  assertHeld(): void {
    if (this.isHeld) return;
    throw new UNet3DError(
      `${this.folder} was deleted, moved away or taken over while this process wrote into it: nothing more is written there`,
    );
  }

  [Symbol.dispose](): void {
    process.off('exit', this.#release);
    this.#release();
  }
}

/** How often one who has a folder shows that it is alive. */
const signMs = 60_000;

/** When a lock of the folder was touched last, by the clock of its file system. */
function lastSign(folder: string): number {
  try {
    const times = locksOf(folder).map(({ path }) => lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
    return Math.max(0, ...times);
  } catch {
    return 0; // the folder is gone
  }
}

/** Makes a lock that is whole from the start; false if it is there already. */
function create(folder: string, path: string, text: string): boolean {
  const draft = join(folder, temporaryName());
  try {
    writeFileSync(draft, text);
    try {
      linkSync(draft, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw error;
      copyFileSync(draft, path, constants.COPYFILE_EXCL); // where there are no hard links
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw aboutFile(error as NodeJS.ErrnoException, folder);
  } finally {
    rmSync(draft, { force: true });
  }
}
