/** A command that several processes run together, as mpirun or srun has started them: who prints, and how it ends. */
import { hostname } from 'node:os';
import { launchOf } from '../distributed/launch.node.ts';
import { joinRanks, type MpiRanks } from '../distributed/mpi.node.ts';
import { assertSame, valuesOfAll, type Ranks } from '../distributed/ranks.ts';
import { Aborted, InvalidOption } from '../errors.ts';
import { adapterClassOf } from '../gpu/device.ts';
import type { NodeAdapter } from '../gpu/node.ts';
import { Unsatisfactory, leavingCode, tellFailure } from './failure.ts';
import type { Io } from './io.ts';

/** Ranks on a command line. */
export interface CommandRanks extends Ranks {
  /** Prints a line of this rank, though all but rank 0 are silent. */
  say(line: string): void;
}

/**
 * Milliseconds that rank 0 has to tell of a failure before another rank does, and to write what is left to write where
 * all of them were stopped.
 */
const patience = { failure: 3000, stop: 60_000 };

/**
 * Runs a command's work on every rank. Rank 0 prints. What fails on any of them ends them all, so that none waits for
 * one that is gone; it is told once, by rank 0 where it fails there, too.
 */
export async function together(
  io: Io,
  work: (io: Io, ranks: CommandRanks | undefined) => Promise<void>,
): Promise<void> {
  const ranks = await joined();
  if (!ranks) return work(io, undefined);
  const { rank, size } = ranks;
  const say = (line: string): void => io.err(`rank ${rank}: ${line}`);
  try {
    if (rank === 0) io.err(`${size} processes train together, through ${ranks.library}.`);
    await work(rank === 0 ? io : silent(io), { ...ranks, say });
    await ranks.finish();
  } catch (error) {
    if (rank > 0) await wait(error instanceof Aborted ? patience.stop : patience.failure);
    const exitCode = tellFailure(rank === 0 ? io : { err: (...lines) => lines.forEach(say) }, error);
    await io.written();
    ranks.abort(leavingCode(exitCode, io.signal));
  }
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Processes that cannot join each other mostly fail alike: the first one tells it. */
async function joined(): Promise<MpiRanks | undefined> {
  const launch = launchOf();
  if (!launch) return undefined;
  try {
    return await joinRanks();
  } catch (error) {
    if (launch.rank > 0) await wait(patience.failure);
    throw error;
  }
}

const silent = (io: Io): Io => {
  const nothing = (): void => undefined;
  return { ...io, isTerminal: false, out: nothing, err: nothing, status: nothing };
};

/** Says on which adapters the ranks compute, and where some may have the same. */
export async function announceRanks(
  io: Io,
  ranks: Ranks | undefined,
  { adapter, describe }: Pick<NodeAdapter, 'adapter' | 'describe'>,
): Promise<void> {
  if (!ranks) return;
  const isGpu = adapterClassOf(adapter.info) === 'hardware';
  const all = await valuesOfAll(ranks, { host: hostname(), describe, isGpu });
  for (const [rank, found] of all.entries())
    if (rank > 0) io.err(`GPU of rank ${rank}, on ${found.host}: ${found.describe}`);
  const alike = new Map<string, typeof all>();
  for (const found of all.filter(({ isGpu: computes }) => computes)) {
    const key = `${found.host} ${found.describe}`;
    alike.set(key, [...(alike.get(key) ?? []), found]);
  }
  for (const group of alike.values())
    if (group.length > 1)
      io.err(
        `note: ${group.length} ranks on ${group[0]!.host} have GPUs of one name, which WebGPU cannot tell apart: if only one ` +
          'of them is busy, let each rank see one GPU alone, such as by srun --gpus-per-task=1',
      );
}

/**
 * @param contents by case: hashes of what this rank has read
 * @throws UNet3DError on every rank where files of one name differ, such as copies on the disks of several machines
 */
export async function assertSameContents(
  ranks: Ranks | undefined,
  contents: ReadonlyMap<string, string>,
): Promise<void> {
  await assertSame(ranks, JSON.stringify([...contents]), (rank, other, first) => {
    const [theirs, ours] = [other, first].map((text) => new Map(JSON.parse(text) as [string, string][]));
    const id = [...ours!.keys(), ...theirs!.keys()].find((id) => ours!.get(id) !== theirs!.get(id));
    return `ranks 0 and ${rank} have not read the same voxels of the case "${id}": give all processes the same files`;
  });
}

/**
 * @param shares whether the command was told to do a part of the work
 * @throws InvalidOption where a command that works by itself was started several times, to write the same files
 */
export function assertStartedOnce(command: string, shares: boolean): void {
  const launch = launchOf();
  if (!launch || shares || ['train', 'info'].includes(command)) return;
  if (launch.rank > 0) throw new Unsatisfactory('');
  throw new InvalidOption(
    `${launch.by} has started ${launch.size} processes, but ${command} is work for one: start it once (train shares the ` +
      'batches of its steps among processes)',
  );
}
