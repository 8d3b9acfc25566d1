/** The command `unet3d-gpu`: runs it on this process's terminal and leaves with its exit code. */
import { releaseNodeGpu } from '../gpu/node.ts';
import { exitCodes } from './failure.ts';
import { processIo } from './io.ts';
import { runCli } from './program.ts';

const stop = new AbortController();
const io = processIo(stop.signal);
process.on('SIGINT', () => {
  if (stop.signal.aborted) {
    io.err('Stopped at once.');
    process.exit(exitCodes.interrupted);
  }
  io.err('Stopping after the step at hand; Ctrl-C again stops at once.');
  stop.abort();
});
process.on('SIGTERM', () => stop.abort());
// A reader that has seen enough (head, less) closes the pipe: no reason for a stack trace.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCodes.fine);
  throw error;
});

const exitCode = await runCli(process.argv.slice(2), io, { restart: true });
await releaseNodeGpu();
// Software drivers can hang at the end of a process that is left to end by itself.
process.exit(exitCode);
