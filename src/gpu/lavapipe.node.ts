/**
 * Starting Node through a fetched lavapipe: its Mesa needs a newer C library than the system may have, so the
 * process must be started by the loader that came with it. Where that serves, programs start themselves again.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { Aborted } from '../errors.ts';
import { driverNamedByEnvironment, fetchedLavapipe, hasSystemDriver } from './drivers.node.ts';
import { releaseNodeGpu, requestNodeAdapter } from './node.ts';

/**
 * The `node` to start programs with, or undefined to go on as we are: there is no fetched lavapipe, the
 * environment names another adapter, or the system has one of its own.
 */
export async function lavapipeNode(): Promise<string | undefined> {
  const { node } = fetchedLavapipe();
  const wish = process.env['UNET3D_ADAPTER'] ?? '';
  if (process.platform !== 'linux' || !existsSync(node) || driverNamedByEnvironment() !== undefined)
    return undefined;
  if (wish === 'lavapipe') return node;
  return wish !== '' || (await systemHasAdapter()) ? undefined : node;
}

async function systemHasAdapter(): Promise<boolean> {
  if (!hasSystemDriver()) return false;
  process.env['UNET3D_ADAPTER'] = 'system';
  try {
    await requestNodeAdapter();
    return true;
  } catch {
    return false;
  } finally {
    delete process.env['UNET3D_ADAPTER'];
    await releaseNodeGpu();
  }
}

/** Names the process that has started this one again. */
const parentVariable = 'UNET3D_PARENT';

/** Calls `stop` where the process that has started this one again ends first: killed outright, it passes nothing on. */
export function onOrphaned(stop: () => void): void {
  const isParent = (): boolean => process.env[parentVariable] === `${process.ppid}`;
  if (!isParent()) return; // another's
  const watch = setInterval(() => {
    if (isParent()) return;
    clearInterval(watch);
    stop();
  }, 1000).unref();
}

/** Runs `node args…` on this terminal, passing signals on once, and resolves to its exit code. */
export function runNode(node: string, args: readonly string[]): Promise<number> {
  // A session of its own: a Ctrl-C of the terminal reaches the child through us only, not twice.
  const env = {
    ...process.env,
    UNET3D_NODE: process.env['UNET3D_NODE'] ?? process.execPath,
    [parentVariable]: `${process.pid}`,
  };
  const child = spawn(node, args, { stdio: 'inherit', detached: process.platform !== 'win32', env });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1'] as const;
  const passOn = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of signals) process.removeAllListeners(signal).on(signal, passOn); // from here on, a mere proxy
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      for (const name of signals) process.off(name, passOn);
      resolve(code ?? 128 + (signal ? constants.signals[signal] : 0));
    });
  });
}

/**
 * Starts the running program again through the fetched lavapipe, where that serves, and resolves to the exit code
 * to leave with; resolves to undefined where the program should simply go on.
 * @param signal of the program: one that fires before the other process is there would be heard by nobody
 * @throws Aborted if it has fired
 */
export async function restartThroughLavapipe(signal: AbortSignal): Promise<number | undefined> {
  const node = await lavapipeNode();
  if (signal.aborted) throw new Aborted('stopped before it began');
  return node === undefined ? undefined : runNode(node, [...process.execArgv, ...process.argv.slice(1)]);
}
