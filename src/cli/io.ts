/** Where the command line writes and how it is told to stop, so that tests can run commands in process. */

export interface Io {
  /** Results, one line each. */
  out(line: string): void;
  /** What happens meanwhile: the adapter, progress, warnings. */
  err(line: string): void;
  /** Replaces the terminal's last line; only called where `isTerminal`. */
  status(line: string): void;
  readonly isTerminal: boolean;
  /** Fires at Ctrl-C. */
  readonly signal: AbortSignal;
}

/** The process's own streams. The status line is wiped before anything else is written. */
export function processIo(signal: AbortSignal): Io {
  const { stdout, stderr } = process;
  const isTerminal = stderr.isTTY === true;
  let shown = false;
  const wipe = (): void => {
    if (shown) stderr.write('\r\u001b[K');
    shown = false;
  };
  return {
    isTerminal,
    signal,
    out(line) {
      wipe();
      stdout.write(`${line}\n`);
    },
    err(line) {
      wipe();
      stderr.write(`${line}\n`);
    },
    status(line) {
      wipe();
      stderr.write(line.slice(0, Math.max(20, (stderr.columns || 80) - 1)));
      shown = true;
    },
  };
}
