#!/usr/bin/env node
/** The command `unet3d-gpu`: runs it on this process's terminal and leaves with its exit code. */
import { launchOf } from '../distributed/launch.node.ts';
import { onOrphaned } from '../gpu/lavapipe.node.ts';
import { releaseNodeGpu } from '../gpu/node.ts';
import { Aborted } from '../errors.ts';
import { exitCodes, leavingCode } from './failure.ts';
import { processIo } from './io.ts';
import { runCli } from './program.ts';

const stop = new AbortController();
const io = processIo(stop.signal);
// Of several processes that train together, all are asked to stop, and the first one says so.
const tells = (launchOf()?.rank ?? 0) === 0;
const stopBy = (signal: NodeJS.Signals): void => stop.abort(new Aborted('stopped', { cause: signal }));
process.on('SIGINT', () => {
  if (stop.signal.aborted) {
    io.err('Stopped at once.');
    process.exit(exitCodes.interrupted);
  }
  if (tells) io.err('Stopping after the step at hand; Ctrl-C again stops at once.');
  stopBy('SIGINT');
});
// A second one changes nothing: what ends whole groups of processes reaches us through our parent once more.
for (const signal of ['SIGTERM', 'SIGHUP', 'SIGUSR1'] as const)
  process.on(signal, () => {
    if (stop.signal.aborted) return;
    if (tells) io.err(`Stopping after the step at hand, as ${signal} asks.`);
    stopBy(signal);
  });

onOrphaned(() => {
  if (tells) io.err('Stopping after the step at hand: the process that started it was killed.');
  stopBy('SIGHUP');
});

const exitCode = await runCli(process.argv.slice(2), io, { restart: true });
await releaseNodeGpu();
// Software drivers can hang at the end of a process that is left to end by itself.
process.exit(leavingCode(exitCode, stop.signal));
