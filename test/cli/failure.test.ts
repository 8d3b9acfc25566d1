/** Failures as messages and exit codes. */
import { constants } from 'node:os';
import { CommanderError, InvalidArgumentError } from 'commander';
import { expect, test } from 'vitest';
import { failureOf, leavingCode } from '../../src/cli/failure.ts';
import { Aborted } from '../../src/errors.ts';

test('values that a command refuses itself are named, what Commander has printed is not repeated', () => {
  expect(failureOf(new InvalidArgumentError('Give 1.'))).toEqual({ message: 'Give 1.', exitCode: 2 });
  expect(failureOf(new CommanderError(1, 'x', 'printed'))).toEqual({ message: '', exitCode: 2 });
  expect(failureOf(new CommanderError(0, 'help', 'printed'))).toEqual({ message: '', exitCode: 0 });
});

test('a command that a signal has stopped leaves with its number; failures keep their code', () => {
  const { signal } = new AbortController();
  const stopped = AbortSignal.abort(new Aborted('stopped', { cause: 'SIGUSR1' }));
  expect(leavingCode(130, stopped)).toBe(128 + constants.signals.SIGUSR1);
  expect(leavingCode(1, stopped)).toBe(1);
  expect(leavingCode(130, signal)).toBe(130);
});
