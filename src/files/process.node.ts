/** Which process something on the disk belongs to, and whether that process still runs. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

export interface ProcessId {
  readonly host: string;
  readonly pid: number;
  /** Tells a process from a later one of the same number: the kernel's clock at its start; empty where unknown. */
  readonly started: string;
  /** Of a process that Slurm has started. */
  readonly job?: Job | undefined;
}

/** A job of Slurm, which starts on one host and, requeued, goes on on another, but never runs twice at a time. */
interface Job {
  readonly name: string;
  /** How often it was requeued before. */
  readonly restarts: number;
}

const plain = (name: string): string => name.replace(/[^\w.]/g, '_');
const host = plain(hostname());

function thisJob(): Job | undefined {
  const {
    SLURM_CLUSTER_NAME: cluster = '',
    SLURM_JOB_ID: id,
    SLURM_RESTART_COUNT: count = '0',
  } = process.env;
  return id ? { name: plain(`${cluster}.${id}`), restarts: Number(count) || 0 } : undefined;
}

/** This process. */
export const thisProcess = (): ProcessId => ({
  host,
  pid: process.pid,
  started: kernelFacts(process.pid)?.started ?? '',
  job: thisJob(),
});

/** `undefined` for a process of another host, of which nothing is known here but that it ended if its job was requeued. */
export function isRunning({ host: where, pid, started, job }: ProcessId): boolean | undefined {
  if (where !== host) {
    const now = thisJob();
    return job && job.name === now?.name && job.restarts < now.restarts ? false : undefined;
  }
  try {
    process.kill(pid, 0); // no signal, only the question
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const facts = kernelFacts(pid);
  if (!facts) return true;
  return facts.isRunning && (started === '' || facts.started === started);
}

/** What Linux tells of a process; undefined elsewhere, and of what is hidden from us. */
function kernelFacts(pid: number): { isRunning: boolean; started: string } | undefined {
  try {
    // PID (NAME) STATE …, of which the name may hold anything; the start is field 22.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)!.split(' ');
    return { isRunning: !/[ZX]/.test(fields[0]!), started: fields[19]! };
  } catch {
    return undefined;
  }
}

/** As a part of a file's name. */
export const formatProcess = ({ host, pid, started, job }: ProcessId): string =>
  `${host}-${pid}-${started}${job ? `-${job.name}-${job.restarts}` : ''}`;

/** Undefined for what `formatProcess` has not made. */
export function parseProcess(text: string): ProcessId | undefined {
  const match = /^([\w.]+)-([1-9]\d{0,8})-(\d*)(?:-([\w.]+)-(\d{1,9}))?$/.exec(text);
  if (!match) return undefined;
  const [, host, pid, started, name, restarts] = match;
  const job = name === undefined ? undefined : { name, restarts: Number(restarts) };
  return { host: host!, pid: Number(pid), started: started!, job };
}
