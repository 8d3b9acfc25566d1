/** Programs that start themselves again: exit codes and signals must come through as if they had not. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { Aborted } from '../../src/errors.ts';
import { restartThroughLavapipe } from '../../src/gpu/lavapipe.node.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

function start(script: string, ...more: string[]) {
  const args = ['--import', 'tsx', 'scripts/run.ts', ...more, '--eval', script];
  return spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
}

test('the exit code comes through', async () => {
  expect(await once(start('process.exit(7)'), 'exit')).toEqual([7, null]);
});

test('a signal arrives once, and leaves the last word to the program', async ({ skip }) => {
  skip(process.platform === 'win32', 'Windows has no signals');
  const program = `
    let count = 0;
    process.on('SIGINT', () => count++ || setTimeout(() => process.exit(40 + count), 300));
    setTimeout(() => {}, 20_000);
    console.log('ready');`;
  const child = start(program);
  await once(child.stdout, 'data');
  child.kill('SIGINT');
  expect(await once(child, 'exit')).toEqual([41, null]);
});

test('a program that a signal ends has the exit code that shells give', async ({ skip }) => {
  skip(process.platform === 'win32', 'Windows has no signals');
  expect(
    await once(start("process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 20_000)"), 'exit'),
  ).toEqual([143, null]);
});

test('a signal that comes before the program is started again is not lost', async () => {
  await expect(restartThroughLavapipe(AbortSignal.abort())).rejects.toThrow(Aborted);
});

test('a program is told where the process that started it again is killed outright', async ({ skip }) => {
  skip(process.platform === 'win32', 'Windows has no signals');
  const program = `
    import('./src/gpu/lavapipe.node.ts').then(({ onOrphaned }) => {
      onOrphaned(() => console.log('stopped'));
      setTimeout(() => console.log('still there'), 10_000);
      console.log('ready');
    });`;
  const child = start(program, '--import', 'tsx');
  const told = createInterface(child.stdout)[Symbol.asyncIterator]();
  expect(await told.next()).toMatchObject({ value: 'ready' });
  child.kill('SIGKILL');
  expect(await told.next()).toMatchObject({ value: 'stopped' });
});
