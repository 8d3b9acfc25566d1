/** Where the command line writes and how it is told to stop, so that tests can run commands in process. */

export interface Io {
  /** Results, one line each. */
  out(line: string): void;
  /** What happens meanwhile: the adapter, progress, warnings. */
  err(line: string): void;
  /** Replaces the lines at the terminal's foot, or wipes them with none; only called where `isTerminal`. */
  status(...lines: string[]): void;
  readonly isTerminal: boolean;
  /** Of the terminal, 80 where there is none. */
  readonly columns: number;
  /** Fires at Ctrl-C. */
  readonly signal: AbortSignal;
}

/** The process's own streams. Status lines are wiped before anything else is written. */
export function processIo(signal: AbortSignal): Io {
  const { stdout, stderr } = process;
  const isTerminal = stderr.isTTY === true && process.env['TERM'] !== 'dumb';
  // Asked anew each time: a process that was started again by this one gets no word of a resized terminal.
  const size = (): [columns: number, rows: number] => {
    const [columns, rows] = isTerminal ? stderr.getWindowSize() : [0, 0];
    return [columns || 80, rows || 24];
  };
  let shown: readonly string[] = [];
  /** Goes up to the first status line; in a terminal made narrower since, lines have been folded. */
  const back = (): string => {
    const [columns] = size();
    const rows = shown.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / columns)), 0);
    shown = [];
    return rows > 0 ? `\r\u001b[${rows}A` : '\r';
  };
  const wipe = (): void => {
    if (isTerminal) stderr.write(`${back()}\u001b[J`);
  };
  return {
    isTerminal,
    get columns() {
      return size()[0];
    },
    signal,
    out(line) {
      wipe();
      stdout.write(`${line}\n`);
    },
    err(line) {
      wipe();
      stderr.write(`${line}\n`);
    },
    status(...lines) {
      const [columns, rows] = size();
      const fitting = lines.slice(0, Math.max(1, rows - 1)).map((line) => line.slice(0, columns - 1));
      // The cursor waits in the line below, where a ^C and the words of others do no harm.
      stderr.write(`${back()}${fitting.map((line) => `${line}\u001b[K\n`).join('')}\u001b[J`);
      shown = fitting;
    },
  };
}
