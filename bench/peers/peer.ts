/** Another program beside ours in a benchmark: bench/peers/*.py and *.mjs. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** How long a peer may take for its first step, compilation included. */
const patience = 300_000;

/** A process that answers one line of JSON with another. */
export class Peer {
  readonly #process;
  readonly #answers;

  constructor(
    readonly name: string,
    command: string,
    args: readonly string[],
  ) {
    this.#process = spawn(command, args, {
      stdio: ['pipe', 'pipe', process.env['PEERS_VERBOSE'] ? 'inherit' : 'ignore'],
    });
    this.#process.on('error', () => undefined);
    this.#process.stdin.on('error', () => undefined);
    this.#answers = createInterface(this.#process.stdout)[Symbol.asyncIterator]();
  }

  async ask<T>(request: Record<string, unknown>): Promise<T> {
    this.#process.stdin.write(`${JSON.stringify(request)}\n`);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer in ${patience / 1000} s`)), patience);
    });
    try {
      return await Promise.race([this.#answer<T>(), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #answer<T>(): Promise<T> {
    for (;;) {
      const line: IteratorResult<string, undefined> = await this.#answers.next();
      if (line.done) throw new Error('it has ended (PEERS_VERBOSE=1 shows what it prints)');
      if (!line.value.startsWith('@')) continue;
      const answer = JSON.parse(line.value.slice(1)) as T & { error?: string };
      if (answer.error !== undefined) throw new Error(answer.error);
      return answer;
    }
  }

  end(): void {
    this.#process.kill('SIGKILL');
  }
}
