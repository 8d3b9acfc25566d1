/** Which process something on the disk belongs to, and whether that process still runs. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

export interface ProcessId {
  readonly host: string;
  readonly pid: number;
  /** Tells a process from a later one of the same number: the kernel's clock at its start; empty where unknown. */
  readonly started: string;
}

const host = hostname().replace(/[^\w.]/g, '_');

/** This process. */
export const thisProcess = (): ProcessId => ({
  host,
  pid: process.pid,
  started: kernelFacts(process.pid)?.started ?? '',
});

/** `undefined` for a process of another host, of which nothing is known here. */
export function isRunning({ host: where, pid, started }: ProcessId): boolean | undefined {
  if (where !== host) return undefined;
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
export const formatProcess = ({ host, pid, started }: ProcessId): string => `${host}-${pid}-${started}`;

/** Undefined for what `formatProcess` has not made. */
export function parseProcess(text: string): ProcessId | undefined {
  const match = /^([\w.]+)-([1-9]\d{0,8})-(\d*)$/.exec(text);
  return match ? { host: match[1]!, pid: Number(match[2]), started: match[3]! } : undefined;
}
