/** What the command says and how it leaves when something goes wrong: one clear message, no stack trace. */
import { constants } from 'node:os';
import { CommanderError, InvalidArgumentError } from 'commander';
import { Aborted, InvalidOption, InvalidVolume, UNet3DError } from '../errors.ts';
import type { Io } from './io.ts';

export const exitCodes = { fine: 0, failure: 1, usage: 2, interrupted: 130, closedPipe: 141 } as const;

/** As shells have it, 128 and the number of the signal where one has stopped the command: the cause of its reason. */
export function leavingCode(exitCode: number, { reason }: AbortSignal): number {
  const signal = exitCode === exitCodes.interrupted && reason instanceof Aborted ? reason.cause : undefined;
  return typeof signal === 'string' ? 128 + constants.signals[signal as NodeJS.Signals] : exitCode;
}

export const exitCodesHelp = `
Exit codes: 0 fine, 1 failure or bad input, 2 wrong usage, 130 interrupted
(Ctrl-C; 143 by SIGTERM, 129 by SIGHUP, 138 by SIGUSR1), 141 nobody read the
output to its end. train, predict and demo do not need it read: their results
are files.`;

export interface Failure {
  /** Empty where everything has been said. */
  readonly message: string;
  /** Lines below the message. */
  readonly more?: readonly string[];
  readonly exitCode: number;
}

/** A command that was stopped and can be taken up again. */
export class Resumable extends Aborted {
  constructor(
    message: string,
    /** The command line that goes on. */
    readonly command: string,
    options: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A command that ran to its end, with a result that counts as a failure; its message has been printed. */
export class Unsatisfactory extends Error {}

/** What volumes of some files come to; the files are named where that is refused. @throws what `compute` does */
export async function ofFiles<T>(files: readonly string[], compute: () => T | Promise<T>): Promise<T> {
  try {
    return await compute();
  } catch (error) {
    if (!(error instanceof InvalidVolume)) throw error;
    throw new InvalidVolume(`${error.message} Files: ${files.join(', ')}.`, { cause: error });
  }
}

export function failureOf(error: unknown): Failure {
  if (error instanceof Unsatisfactory) return { message: error.message, exitCode: exitCodes.failure };
  // A kind of CommanderError; one that comes from within a command has not been printed.
  if (error instanceof InvalidArgumentError || error instanceof InvalidOption)
    return { message: error.message, exitCode: exitCodes.usage };
  // Commander has printed its own message already; asking for help is no failure.
  if (error instanceof CommanderError)
    return { message: '', exitCode: error.exitCode === 0 ? exitCodes.fine : exitCodes.usage };
  if (error instanceof Resumable)
    return {
      message: error.message,
      more: [`Go on with: ${error.command}`],
      exitCode: exitCodes.interrupted,
    };
  if (error instanceof Aborted) return { message: error.message, exitCode: exitCodes.interrupted };
  if (error instanceof DOMException && error.name === 'AbortError')
    return { message: 'stopped', exitCode: exitCodes.interrupted };
  if (error instanceof UNet3DError) return { message: error.message, exitCode: exitCodes.failure };
  const { code, message } = error as NodeJS.ErrnoException;
  if (typeof code === 'string' && /^E[A-Z]+$/.test(code))
    return { message: fileMessage(error as NodeJS.ErrnoException), exitCode: exitCodes.failure };
  const { stack } = error as Error;
  return process.env['UNET3D_DEBUG'] && stack !== undefined
    ? { message: `unexpected: ${message}`, more: stack.split('\n'), exitCode: exitCodes.failure }
    : { message: `unexpected: ${message} (UNET3D_DEBUG=1 shows where)`, exitCode: exitCodes.failure };
}

/** Prints what has failed. @returns the exit code to leave with */
export function tellFailure(io: Pick<Io, 'err'>, error: unknown): number {
  const { message, more = [], exitCode } = failureOf(error);
  if (message !== '') io.err(`error: ${message}`, ...more);
  return exitCode;
}

/** What the operating system says about a file, in words. */
export function fileMessage(error: NodeJS.ErrnoException): string {
  const reason = fileReason(error);
  return reason !== undefined && error.path ? `${error.path}: ${reason}` : error.message;
}

/** Why something cannot be read or written; undefined for what is rare. */
export function fileReason({ code }: NodeJS.ErrnoException): string | undefined {
  const reasons: Record<string, string> = {
    ENOENT: 'it does not exist',
    EACCES: 'permission is denied',
    EPERM: 'permission is denied',
    EROFS: 'the file system is read-only',
    ENOTDIR: 'a part of its path is a file, not a folder',
    EISDIR: 'it is a folder, not a file',
    ENOSPC: 'the disk is full',
    EDQUOT: 'the quota of the disk is used up',
    EEXIST: 'a file of that name is in the way',
    ELOOP: 'its links go in a circle',
    EMFILE: 'this process may open no more files (ulimit -n)',
    ENAMETOOLONG: 'its name is too long',
  };
  return reasons[code ?? ''];
}
