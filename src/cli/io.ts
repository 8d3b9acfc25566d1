/** Where the command line writes and how it is told to stop, so that tests can run commands in process. */
import { printable } from './text.ts';

export interface Io {
  /** Results. Each argument is one line; a line break in it, of a file's name say, does not make it two. */
  out(...lines: string[]): void;
  /** What happens meanwhile: the adapter, progress, warnings; lines as with `out`. */
  err(...lines: string[]): void;
  /** Replaces the lines at the terminal's foot, or wipes them with none; only called where `isTerminal`. */
  status(...lines: string[]): void;
  readonly isTerminal: boolean;
  /** Of the terminal, 80 where there is none. */
  readonly columns: number;
  /** Fires at Ctrl-C. */
  readonly signal: AbortSignal;
  /** Resolves when all results are written, to what kept some of them from being written. */
  written(): Promise<NodeJS.ErrnoException | undefined>;
}

/** Lines that a call is given at a time: it takes no more arguments than some hundred thousand. */
const mostLines = 10_000;

/** Writes a text of however many lines. */
export function outText(io: Pick<Io, 'out'>, text: string): void {
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; at += mostLines) io.out(...lines.slice(at, at + mostLines));
}

/**
 * The process's own streams. Status lines are wiped before anything else is written. This is where all text passes
 * that goes to a terminal, so it is made printable here.
 */
export function processIo(signal: AbortSignal): Io {
  const { stderr } = process;
  const [results, messages] = [new Output(process.stdout), new Output(stderr)];
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
    if (isTerminal) messages.write(`${back()}\u001b[J`);
  };
  const print = (output: Output, lines: readonly string[]): void => {
    wipe();
    output.write(lines.map((line) => `${printable(line)}\n`).join(''));
  };
  return {
    isTerminal,
    get columns() {
      return size()[0];
    },
    signal,
    out: (...lines) => print(results, lines),
    err: (...lines) => print(messages, lines),
    status(...lines) {
      const [columns, rows] = size();
      const fitting = lines
        .slice(0, Math.max(1, rows - 1))
        .map((line) => printable(line).slice(0, columns - 1));
      // The cursor waits in the line below, where a ^C and the words of others do no harm.
      messages.write(`${back()}${fitting.map((line) => `${line}\u001b[K\n`).join('')}\u001b[J`);
      shown = fitting;
    },
    written: () => results.written(),
  };
}

/** A stream that nobody may read, on a disk that may be full: once it has failed, it is written to no more. */
class Output {
  #failure: NodeJS.ErrnoException | undefined;

  constructor(readonly stream: NodeJS.WriteStream) {
    stream.on('error', () => undefined); // each write reports its own
  }

  write(text: string): void {
    if (!this.#failure) this.stream.write(text, this.#note);
  }

  /** Resolves when everything is written, to the first failure. */
  async written(): Promise<NodeJS.ErrnoException | undefined> {
    if (!this.#failure) await new Promise<void>((resolve) => this.stream.write('', () => resolve()));
    return this.#failure;
  }

  readonly #note = (error?: NodeJS.ErrnoException | null): void => {
    if (error) this.#failure ??= error;
  };
}
