/** Ends the process where an input never ends, which the process itself cannot see. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

const watcher = `
  const { workerData: { seen, most } } = require('node:worker_threads');
  const spent = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  };
  let [number, begun] = [-1, 0];
  setInterval(() => {
    if (seen[0] !== number) [number, begun] = [seen[0], spent()];
    if (number < 0 || spent() - begun < most) return;
    require('node:fs').writeSync(2, 'input ' + number + ' does not end within ' + most + ' s of processor\\n');
    process.kill(process.pid, 'SIGKILL');
  }, 200);
`;

/** @param most seconds of processor, not by the clock, that an input may take before the process is killed */
export async function watched(
  most: number,
): Promise<{ begin: (number: number) => void; end: () => Promise<number> }> {
  const seen = new Int32Array(new SharedArrayBuffer(4)).fill(-1);
  const worker = new Worker(watcher, { eval: true, workerData: { seen, most }, execArgv: [] });
  await once(worker, 'online');
  return { begin: (number) => Atomics.store(seen, 0, number), end: () => worker.terminate() };
}
