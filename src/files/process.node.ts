/** Which process something on the disk belongs to, and whether that process still runs. */
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

export interface ProcessId {
  readonly host: string;
  readonly pid: number;
  /** Tells a process from a later one of the same number: the kernel's clock at its start; empty where unknown. */
  readonly started: string;
  /** Where the number means that process; undefined where unknown. */
  readonly place?: Place | undefined;
  /** Of a process that Slurm has started. */
  readonly job?: Job | undefined;
}

/** What Linux tells of where a process runs: containers and machines may share a host's name. Empty where unknown. */
interface Place {
  /** Stays through restarts. */
  readonly machine: string;
  /** Since the machine was started. */
  readonly boot: string;
  /** Within which processes are numbered. */
  readonly namespace: string;
}

/** A job of Slurm, which starts on one host and, requeued, goes on on another, but never runs twice at a time. */
interface Job {
  readonly name: string;
  /** How often it was requeued before. */
  readonly restarts: number;
}

const plain = (name: string): string => name.replace(/[^\w.]/g, '_');
const host = plain(hostname());

/** What `read` gives, or nothing. */
function orEmpty(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}

const digest = (path: string): string =>
  orEmpty(() => createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 8));

function thisPlace(): Place | undefined {
  const boot = digest('/proc/sys/kernel/random/boot_id');
  if (boot === '') return undefined;
  const namespace = orEmpty(() => /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '');
  return { machine: digest('/etc/machine-id'), boot, namespace };
}
const place = thisPlace();

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
  place,
  job: thisJob(),
});

/**
 * `undefined` for a process of another host or container, of which nothing is known here but that it ended if its job
 * was requeued.
 */
export function isRunning({ host: where, pid, started, place: its, job }: ProcessId): boolean | undefined {
  const isNear = where === host && (!its || !place || isSame(its, place));
  if (!isNear) {
    if (where === host && its && place && isEarlier(its, place)) return false;
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

const isSame = (one: Place, other: Place): boolean =>
  one.boot === other.boot && one.namespace === other.namespace;

/** The namespace that Linux itself begins with: a container, which may share the machine's id with others, has another. */
const outermost = '4026531836';

/** Whether that is this very machine before it was started anew. */
const isEarlier = (before: Place, now: Place): boolean =>
  before.machine !== '' &&
  before.machine === now.machine &&
  before.boot !== now.boot &&
  before.namespace === outermost &&
  now.namespace === outermost;

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
export function formatProcess({ host, pid, started, place, job }: ProcessId): string {
  const where = place ? `~${place.machine}.${place.boot}.${place.namespace}` : '';
  return `${host}-${pid}-${started}${where}${job ? `-${job.name}-${job.restarts}` : ''}`;
}

/** Undefined for what `formatProcess` has not made. */
export function parseProcess(text: string): ProcessId | undefined {
  const match =
    /^([\w.]+)-([1-9]\d{0,8})-(\d*)(?:~([\da-f]*)\.([\da-f]+)\.(\d*))?(?:-([\w.]+)-(\d{1,9}))?$/.exec(text);
  if (!match) return undefined;
  const [, host, pid, started, machine, boot, namespace, name, restarts] = match;
  return {
    host: host!,
    pid: Number(pid),
    started: started!,
    place: boot === undefined ? undefined : { machine: machine!, boot, namespace: namespace! },
    job: name === undefined ? undefined : { name, restarts: Number(restarts) },
  };
}
