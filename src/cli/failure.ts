/** What the command says and how it leaves when something goes wrong: one clear message, no stack trace. */
import { CommanderError, InvalidArgumentError } from 'commander';
import { Aborted, InvalidOption, UNet3DError } from '../errors.ts';

export const exitCodes = { fine: 0, failure: 1, usage: 2, interrupted: 130 } as const;

export const exitCodesHelp = `
Exit codes: 0 fine, 1 failure or bad input, 2 wrong usage, 130 interrupted (Ctrl-C).`;

export interface Failure {
  /** Empty where everything has been said. */
  readonly message: string;
  readonly exitCode: number;
}

/** A command that ran to its end, with a result that counts as a failure; its message has been printed. */
export class Unsatisfactory extends Error {}

export function failureOf(error: unknown): Failure {
  if (error instanceof Unsatisfactory) return { message: error.message, exitCode: exitCodes.failure };
  // A kind of CommanderError; one that comes from within a command has not been printed.
  if (error instanceof InvalidArgumentError || error instanceof InvalidOption)
    return { message: error.message, exitCode: exitCodes.usage };
  // Commander has printed its own message already; asking for help is no failure.
  if (error instanceof CommanderError)
    return { message: '', exitCode: error.exitCode === 0 ? exitCodes.fine : exitCodes.usage };
  if (error instanceof Aborted) return { message: error.message, exitCode: exitCodes.interrupted };
  if (error instanceof DOMException && error.name === 'AbortError')
    return { message: 'stopped', exitCode: exitCodes.interrupted };
  if (error instanceof UNet3DError) return { message: error.message, exitCode: exitCodes.failure };
  const { code, message } = error as NodeJS.ErrnoException;
  if (typeof code === 'string' && /^E[A-Z]+$/.test(code))
    return { message: fileMessage(error as NodeJS.ErrnoException), exitCode: exitCodes.failure };
  const details = process.env['UNET3D_DEBUG'] ? `\n${(error as Error).stack ?? ''}` : '';
  return {
    message: `unexpected: ${message}${details || ' (UNET3D_DEBUG=1 shows where)'}`,
    exitCode: exitCodes.failure,
  };
}

/** What the operating system says about a file, in words. */
export function fileMessage({ code, path, message }: NodeJS.ErrnoException): string {
  const reasons: Record<string, string> = {
    ENOENT: 'it does not exist',
    EACCES: 'permission is denied',
    EPERM: 'permission is denied',
    EROFS: 'the file system is read-only',
    ENOTDIR: 'a part of its path is a file, not a folder',
    EISDIR: 'it is a folder, not a file',
    ENOSPC: 'the disk is full',
    EEXIST: 'a file of that name is in the way',
  };
  const reason = reasons[code ?? ''];
  return reason && path ? `${path}: ${reason}` : message;
}
