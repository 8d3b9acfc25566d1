/** What the command line decides for several processes, and refuses them, without starting any. */
import { afterEach, expect, test, vi } from 'vitest';
import { assertStartedOnce } from '../../src/cli/ranks.ts';
import { sharedOut } from '../../src/cli/train-settings.ts';
import { InvalidOption } from '../../src/errors.ts';
import { cli, temporaryFolder } from './support.ts';

afterEach(() => vi.unstubAllEnvs());

test.each([
  [{ batch: 4, accumulate: 1 }, 4, { batch: 1, accumulate: 4 }],
  [{ batch: 4, accumulate: 1 }, 2, { batch: 2, accumulate: 2 }],
  [{ batch: 3, accumulate: 4 }, 2, { batch: 3, accumulate: 4 }],
  [{ batch: 3, accumulate: 1 }, 1, { batch: 3, accumulate: 1 }],
])('%o among %i ranks', (step, ranks, expected) => {
  expect(sharedOut(step, ranks, false)).toEqual(expected);
});

test('what cannot be divided is refused; what goes on stays as it was', () => {
  expect(() => sharedOut({ batch: 3, accumulate: 1 }, 2, false)).toThrow(
    /a batch of 3 cannot be divided among 2 ranks: give a --batch-size that is a multiple of 2/,
  );
  expect(() => sharedOut({ batch: 4, accumulate: 3 }, 2, false)).toThrow(
    /3 batches to a step \(--accumulate\) cannot be shared out among 2 ranks/,
  );
  expect(sharedOut({ batch: 1, accumulate: 3 }, 2, true)).toEqual({ batch: 1, accumulate: 3 });
});

test('commands that work by themselves are refused where they were started several times', () => {
  vi.stubEnv('PMI_SIZE', '2');
  vi.stubEnv('PMI_RANK', '0');
  expect(() => assertStartedOnce('predict', false)).toThrow(InvalidOption);
  for (const [command, shares] of [
    ['predict', true],
    ['train', false],
    ['info', false],
  ] as const)
    expect(() => assertStartedOnce(command, shares)).not.toThrow();
});

test('who asks for several devices is told of MPI', async () => {
  const ran = await cli(['train', '--out', await temporaryFolder(), '--devices', '2']);
  expect(ran.exitCode).toBe(2);
  expect(ran.err).toContain('mpirun -np N unet3d-gpu train');
});
