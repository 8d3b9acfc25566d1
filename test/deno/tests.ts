/**
 * The op and model tests on Deno: Vitest itself, and in a process of their own the tests, one file after another. It is
 * told for how many seconds tests of one file may begin, how a program is started on Deno, as JSON, and parts of paths,
 * of which files have one; all files where there is none. `npm run test:deno` runs it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { startVitest, type PoolOptions, type PoolWorker } from 'vitest/node';
import { SummaryReporter } from '../support/reporter.ts';

const [seconds, deno, ...filters] = process.argv.slice(2);
const [program, ...args] = JSON.parse(deno!) as string[];

/** Of many seconds for one test on SwiftShader: they run where time has no limit. */
const long = ['ladder', 'limits', 'policy', 'turns'].map((name) => `test/model/${name}.test.ts`);
const leftOut = seconds === 'Infinity' ? [] : long;

/** As Vitest's pool of forks has it, which starts what it finds to be running: the fetched lavapipe's loader, where that is. */
function createPoolWorker({ distPath, env }: PoolOptions): PoolWorker {
  let deno: ChildProcess;
  return {
    name: 'deno',
    cacheFs: true,
    on: (event, callback) => void deno.on(event, callback),
    off: (event, callback) => void deno.off(event, callback),
    send: (message) => void deno.send(message),
    deserialize: (data) => data,
    start() {
      deno = spawn(program!, [...args, join(distPath, 'workers', 'forks.js')], {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        serialization: 'advanced',
      });
      return Promise.resolve();
    },
    async stop() {
      if (deno.exitCode !== null || deno.signalCode !== null) return;
      const exit = once(deno, 'exit');
      deno.kill('SIGKILL');
      await exit;
    },
  };
}

const vitest = await startVitest('test', filters, {
  name: 'Deno',
  config: false,
  root: fileURLToPath(new URL('../..', import.meta.url)),
  watch: false,
  include: ['test/{ops,model}/**/*.test.ts'],
  exclude: leftOut,
  setupFiles: ['test/support/setup.browser.ts', 'test/deno/setup.ts'],
  provide: { seconds: Number(seconds) },
  pool: { name: 'deno', createPoolWorker },
  // Files share a process, and with it a device and its compiled kernels.
  isolate: false,
  maxWorkers: 1,
  testTimeout: 300_000,
  hookTimeout: 300_000,
  reporters: [
    'default',
    new SummaryReporter(leftOut.map((file) => `${file}: the whole file, which takes long`)),
  ],
});
await vitest.close();
