/**
 * Tries readers with damaged input: each either gives a value or refuses with an error of this package, in little
 * memory and time, and leaves no file open. Everything is drawn from a seed, so that a fault is found again by its number.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { random, type Random } from '../../src/data/random.ts';
import { UNet3DError } from '../../src/errors.ts';
import { watched } from './watch.ts';

/** One kind of input. */
export interface Kind {
  readonly name: string;
  /** Draws an input and reads it; returns the bytes of what was read. */
  readonly read: (source: Random) => Promise<number>;
}

/** What became of some inputs. */
export interface Outcome {
  readonly kind: string;
  readonly count: number;
  readonly values: number;
  /** Refusals by the class of the error. */
  readonly refusals: Readonly<Record<string, number>>;
  readonly faults: readonly string[];
  /** The most seconds of processor that one input took. */
  readonly seconds: number;
  /** The most bytes of memory that one input took beyond its answer; undefined where the system does not tell. */
  readonly memory: number | undefined;
}

/** What `read` makes of a folder of its own, which is removed. */
export async function inFolder<T>(read: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'unet3d-fuzz-'));
  try {
    return await read(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Of processor, not by the clock: a busy machine has no more of them. */
const mostSeconds = 10;
const mostMemory = 64 * 2 ** 20;

/** Bytes of this process that are in memory now, and at most since the last `forget`; Linux tells. */
async function resident(): Promise<{ now: number; most: number } | undefined> {
  const text = await readFile('/proc/self/status', 'utf8').catch(() => undefined);
  const field = (name: string): number =>
    1024 * Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text ?? '')?.[1]);
  return text === undefined ? undefined : { now: field('VmRSS'), most: field('VmHWM') };
}

/** How many files this process has open; the same number always where the system does not tell. */
const openFiles = async (): Promise<number> => (await readdir('/proc/self/fd').catch(() => [])).length;

const forget = (): Promise<void> => writeFile('/proc/self/clear_refs', '5').catch(() => undefined);

/**
 * @param first the number of the first input; one seed and number are always the same input
 * @param signal ends the run after the current input
 */
export async function fuzz(
  kind: Kind,
  { seed, count, first = 0, signal }: { seed: number; count: number; first?: number; signal?: AbortSignal },
): Promise<Outcome> {
  const refusals: Record<string, number> = {};
  const faults: string[] = [];
  let [tried, values, longest] = [0, 0, 0];
  let memory: number | undefined;
  const watch = await watched(12 * mostSeconds);
  for (let number = first; number < first + count && !signal?.aborted; number++) {
    tried++;
    const name = `${kind.name}, seed ${seed}, number ${number}`;
    await forget();
    const before = await resident();
    const open = await openFiles();
    watch.begin(number);
    const begun = process.cpuUsage();
    let answer = 0;
    try {
      answer = await kind.read(random(seed, kind.name, number));
      values++;
    } catch (error) {
      if (error instanceof UNet3DError) refusals[error.name] = (refusals[error.name] ?? 0) + 1;
      else
        faults.push(`${name}: ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`);
    }
    const { user, system } = process.cpuUsage(begun);
    const seconds = (user + system) / 1e6;
    longest = Math.max(longest, seconds);
    if (seconds > mostSeconds) faults.push(`${name}: ${seconds.toFixed(1)} s of processor`);
    const left = (await openFiles()) - open;
    if (left > 0) faults.push(`${name}: ${left} files left open`);
    const after = before && (await resident());
    if (!before || !after) continue;
    const taken = after.most - before.now - answer;
    memory = Math.max(memory ?? 0, taken);
    if (taken > mostMemory) faults.push(`${name}: ${(taken / 2 ** 20).toFixed(0)} MiB beyond its answer`);
  }
  await watch.end();
  return { kind: kind.name, count: tried, values, refusals, faults, seconds: longest, memory };
}

/** One line on an outcome. */
export function summary({ kind, count, values, refusals, faults, seconds, memory }: Outcome): string {
  const refused = Object.entries(refusals).map(([name, times]) => `${times} ${name}`);
  const most = memory === undefined ? '' : `, at most ${(memory / 2 ** 20).toFixed(1)} MiB beyond the answer`;
  return `${kind}: ${count} inputs, ${values} values, ${refused.join(', ') || 'no refusal'}, ${faults.length} faults, at most ${seconds.toFixed(1)} s of processor${most}`;
}
