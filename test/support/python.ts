/** Python with PyTorch, which not every machine has. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const python = process.env['PYTHON'] ?? '/usr/bin/python3';
const run = promisify(execFile);

/** What the program prints. */
export const runPython = async (program: string, args: readonly string[]): Promise<string> =>
  (await run(python, ['-c', program, ...args], { maxBuffer: 2 ** 26 })).stdout;

/** Why there is none; undefined where there is. */
export const withoutPytorch: string | undefined = await runPython('import torch', []).then(
  () => undefined,
  () => `${python} has no PyTorch (apt-get install python3-torch python3-numpy, or name another in PYTHON)`,
);
