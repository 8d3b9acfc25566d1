/** Which task of a job array of Slurm this process is, as its environment says. */
import { InvalidOption } from '../errors.ts';

/** A number of the environment; undefined where it is not set. */
function variable(name: string): number | undefined {
  const text = process.env[name];
  if (text === undefined || text === '') return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidOption(`${name} is "${text}"; expected a whole number, as Slurm sets it`);
}

function taskNumber(option: string, instead: string): number {
  const task = variable('SLURM_ARRAY_TASK_ID');
  if (task !== undefined) return task;
  throw new InvalidOption(
    `${option} auto takes the number from SLURM_ARRAY_TASK_ID, which is not set: submit an array (sbatch --array), or ${instead}`,
  );
}

/**
 * The fold of this task: its number in the array.
 * @throws InvalidOption outside an array, and for one that has numbers beyond the folds
 */
export function foldOfTask(folds: number): string {
  const task = taskNumber('--fold', 'give --folds');
  const last = Math.max(task, variable('SLURM_ARRAY_TASK_MAX') ?? task);
  if (last >= folds)
    throw new InvalidOption(
      `the array goes up to ${last}, but there are ${folds} folds, numbered from 0: submit it with --array=0-${folds - 1}`,
    );
  return `${task}`;
}

/** One of several shares of the same work, counted from 1. */
export interface Shard {
  readonly shard: number;
  readonly shards: number;
}

/**
 * The share of this task: its place in the array, whichever number that begins with.
 * @throws InvalidOption outside an array, and for one with gaps, whose places cannot be told
 */
export function shardOfTask(): Shard {
  const instead = 'give --shard 1/N to N/N';
  const task = taskNumber('--shard', instead);
  const shards = variable('SLURM_ARRAY_TASK_COUNT');
  if (shards === undefined)
    throw new InvalidOption(
      `--shard auto takes the number of shares from SLURM_ARRAY_TASK_COUNT, which is not set: ${instead}`,
    );
  const first = variable('SLURM_ARRAY_TASK_MIN') ?? 0;
  const place = (task - first) / (variable('SLURM_ARRAY_TASK_STEP') || 1);
  const last = variable('SLURM_ARRAY_TASK_MAX');
  const isWhole =
    last === undefined || (last - first) / (variable('SLURM_ARRAY_TASK_STEP') || 1) === shards - 1;
  if (!isWhole || !Number.isInteger(place) || place < 0 || place >= shards)
    throw new InvalidOption(
      `the array has ${shards} tasks, but its numbers have gaps, so the place of task ${task} is not known: ` +
        `submit a whole range, such as --array=1-${shards}, or ${instead}`,
    );
  return { shard: place + 1, shards };
}
