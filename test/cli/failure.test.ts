/** Failures as messages and exit codes. */
import { CommanderError, InvalidArgumentError } from 'commander';
import { expect, test } from 'vitest';
import { failureOf } from '../../src/cli/failure.ts';

test('values that a command refuses itself are named, what Commander has printed is not repeated', () => {
  expect(failureOf(new InvalidArgumentError('Give 1.'))).toEqual({ message: 'Give 1.', exitCode: 2 });
  expect(failureOf(new CommanderError(1, 'x', 'printed'))).toEqual({ message: '', exitCode: 2 });
  expect(failureOf(new CommanderError(0, 'help', 'printed'))).toEqual({ message: '', exitCode: 0 });
});
