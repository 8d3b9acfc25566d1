/**
 * Processes that train one network together, called ranks as in MPI, and what they say to each other. Every rank makes
 * the same calls in the same order. Without ranks, a process is by itself, and each call answers at once.
 */
import { UNet3DError } from '../errors.ts';

/** A process among those that train together, each on a GPU of its own. */
export interface Ranks {
  /** This process among them, from 0 on. */
  readonly rank: number;
  /** How many there are. */
  readonly size: number;
  /** Adds up the values of all ranks, in place: every rank then has the same bits. */
  sum(values: Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>): Promise<void>;
  /** Replaces the bytes by those of one of the ranks. */
  broadcast(bytes: Uint8Array<ArrayBuffer>, root: number): Promise<void>;
}

/** Whether this process is the one that writes and prints. */
export const leads = (ranks: Ranks | undefined): boolean => (ranks?.rank ?? 0) === 0;

/** As many numbers of every rank, as they are: adding zeros changes none. */
export async function gather(
  ranks: Ranks | undefined,
  own: readonly number[],
): Promise<readonly (readonly number[])[]> {
  if (!ranks) return [own];
  const all = new Float64Array(ranks.size * own.length);
  all.set(own, ranks.rank * own.length);
  await ranks.sum(all);
  return Array.from({ length: ranks.size }, (_, rank) => [
    ...all.subarray(rank * own.length, (rank + 1) * own.length),
  ]);
}

/** Whether any of the ranks says so; all of them have come here when it is known. */
export async function anyOf(ranks: Ranks | undefined, own: boolean): Promise<boolean> {
  return (await gather(ranks, [own ? 1 : 0])).some(([said]) => said !== 0);
}

/** Waits until every rank has come here. */
export async function meet(ranks: Ranks | undefined): Promise<void> {
  await anyOf(ranks, false);
}

/** What one of the ranks has found, undefined included; the others do not look. */
export async function foundBy(
  ranks: Ranks,
  root: number,
  find: () => Promise<Uint8Array<ArrayBuffer> | undefined>,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const found = ranks.rank === root ? await find() : undefined;
  const [length] = (await gather(ranks, [found?.length ?? -1]))[root]!;
  if (length! < 0) return undefined;
  const bytes = found ?? new Uint8Array(length!);
  await ranks.broadcast(bytes, root);
  return bytes;
}

/** A value of rank 0 that JSON can carry. */
export async function valueOfFirst<T>(ranks: Ranks | undefined, find: () => Promise<T>): Promise<T> {
  return ranks ? valueOf(ranks, 0, find) : find();
}

/** What each rank has to say, in their order. */
export async function valuesOfAll<T>(ranks: Ranks, own: T): Promise<T[]> {
  const all: T[] = [];
  for (let rank = 0; rank < ranks.size; rank++)
    all.push(await valueOf(ranks, rank, () => Promise.resolve(own)));
  return all;
}

async function valueOf<T>(ranks: Ranks, root: number, find: () => Promise<T>): Promise<T> {
  const encoded = async () => new TextEncoder().encode(JSON.stringify(await find()));
  return JSON.parse(new TextDecoder().decode(await foundBy(ranks, root, encoded))) as T;
}

/**
 * Compares a text with that of rank 0.
 * @param problem says what is wrong, of the first rank that has another
 * @throws UNet3DError on every rank, if one of them has another
 */
export async function assertSame(
  ranks: Ranks | undefined,
  own: string,
  problem: (rank: number, other: string, first: string) => string,
): Promise<void> {
  if (!ranks) return;
  const first = await valueOf(ranks, 0, () => Promise.resolve(own));
  const differ = await gather(ranks, [own === first ? 0 : 1]);
  const rank = differ.findIndex(([differs]) => differs !== 0);
  if (rank < 0) return;
  throw new UNet3DError(problem(rank, await valueOf(ranks, rank, () => Promise.resolve(own)), first));
}

/** Of so many things, those that fall to this rank: every `size`-th. */
export function ownShare({ rank, size }: Pick<Ranks, 'rank' | 'size'>, count: number): number[] {
  return Array.from({ length: count }, (_, index) => index).filter((index) => index % size === rank);
}
