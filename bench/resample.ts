/**
 * Cubic resampling of a 256 x 256 x 128 image as nnU-Net does it: this package's WASM beside scipy, in one run,
 * alternating; milliseconds are of processor time, which other work on the machine changes less than the time of the
 * clock. Prints medians, ratios and the largest difference, and writes bench/results/resample.json.
 *   npx tsx bench/resample.ts [rounds] [python]
 * python (default /usr/bin/python3) must have scipy: apt-get install python3-scipy.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { random } from '../src/data/random.ts';
import { resampleSpline } from '../src/data/spline.ts';
import type { Size3 } from '../src/size.ts';
import { spread, surroundings, writeResult } from './lib.ts';

const rounds = Number(process.argv[2] ?? 3);
const from: Size3 = [256, 256, 128];
const cases: { name: string; to: Size3; apart?: 2 }[] = [
  { name: 'all axes', to: [307, 307, 154] },
  { name: 'slices apart', to: [307, 307, 160], apart: 2 },
];

const noise = random(1);
const data = Float32Array.from({ length: from[0] * from[1] * from[2] }, () => noise.normal());
const folder = await mkdtemp(join(tmpdir(), 'bench-resample-'));
const [file, save] = [join(folder, 'image'), join(folder, 'result')];
const python = spawn(
  process.argv[3] ?? '/usr/bin/python3',
  [join(import.meta.dirname, 'resample_reference.py')],
  { stdio: ['pipe', 'pipe', 'inherit'] },
);
const answers = createInterface(python.stdout)[Symbol.asyncIterator]();
async function ask(line: string): Promise<string> {
  python.stdin.write(`${line}\n`);
  const answer: IteratorResult<string, undefined> = await answers.next();
  if (answer.done) throw new Error('The reference has ended; is scipy installed for this Python?');
  return answer.value;
}

try {
  await writeFile(file, data);
  const reference = await ask('versions');
  console.log(`Node ${process.versions.node}; ${reference}; ${cpus().length} x ${cpus()[0]?.model}`);
  const results: Record<string, unknown>[] = [];
  for (const { name, to, apart } of cases) {
    const ours: number[] = [];
    const theirs: number[] = [];
    let result = new Float32Array();
    for (let round = 0; round <= rounds; round++) {
      const start = process.cpuUsage();
      result = new Float32Array(resampleSpline(data, from, to, apart && { apart: { axis: apart } }));
      const { user, system } = process.cpuUsage(start);
      // Shapes and axes the other way round.
      const request = { from: [...from].reverse(), to: [...to].reverse(), apart: apart ? 2 - apart : null };
      const answered = Number(await ask(JSON.stringify({ ...request, file, save })));
      if (round === 0) continue; // the first of each warms up
      ours.push((user + system) / 1000);
      theirs.push(answered);
    }
    const saved = await readFile(save);
    const expected = new Float32Array(saved.buffer, saved.byteOffset, saved.byteLength / 4);
    const largestDifference = expected.reduce(
      (most, value, at) => Math.max(most, Math.abs(value - result[at]!)),
      0,
    );
    const [mine, scipy] = [spread(ours), spread(theirs)];
    const ratio = scipy.median / mine.median;
    results.push({ name, from, to, ours: mine, scipy, ratio, largestDifference });
    console.log(
      `${name}, ${from.join(' x ')} to ${to.join(' x ')}: ours ${mine.median.toFixed(0)} ms, scipy ` +
        `${scipy.median.toFixed(0)} ms, ${ratio.toFixed(1)} times as fast (medians of ${rounds}); largest difference ` +
        largestDifference.toExponential(1),
    );
  }
  writeResult('resample', { ...surroundings(), reference, rounds, cases: results });
} finally {
  python.stdin.end();
  await rm(folder, { recursive: true });
}
