/**
 * Two trainings on the GPU at once, as two processes, and one by itself: all must end with the same bits.
 *   two.ts FOLDER train DATASET [options]
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tell } from './tell.ts';

const [folder = 'two', ...given] = process.argv.slice(2);

async function training(name: string): Promise<{ seconds: number; code: number | null; model: string }> {
  const out = join(folder, name);
  const started = performance.now();
  const child = spawn(process.execPath, ['dist/cli.js', ...given, '--overwrite', '--out', out], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
  const seconds = (performance.now() - started) / 1000;
  const bytes = readFileSync(join(out, 'model.safetensors'));
  return { seconds, code, model: createHash('sha256').update(bytes).digest('hex') };
}

const alone = await training('alone');
tell({ alone });
const both = await Promise.all([training('first'), training('second')]);
const same = both.every(({ model }) => model === alone.model);
tell({
  both,
  same,
  line:
    `${same ? 'the same bits' : 'OTHER BITS'}; alone ${alone.seconds.toFixed(1)} s, two at once ` +
    both.map(({ seconds }) => `${seconds.toFixed(1)} s`).join(' and '),
});
process.exit(same ? 0 : 1);
