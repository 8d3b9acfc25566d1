/**
 * From .nii.gz to canonical z-scored float32: this package in Node beside nibabel and numpy, in one run,
 * alternating. The volume is generated (256 x 256 x 128 int16, smooth with noise) in several orientations.
 * Prints the medians and writes bench/results/nifti.json.
 *   npx tsx bench/nifti.ts [rounds] [python]
 * python (default /usr/bin/python3) must have nibabel: apt-get install python3-nibabel.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { writeNifti } from '../src/data/nifti.ts';
import { prepareCase } from '../src/data/prepare.ts';
import { defaultPreprocessing } from '../src/data/preprocessing.ts';
import { random } from '../src/data/random.ts';
import '../src/data/source.node.ts';
import { spread, surroundings, writeResult } from './lib.ts';

const rounds = Number(process.argv[2] ?? 7);
const shape = [256, 256, 128];
const grids = {
  RAS: [0.9, 0, 0, -110, 0, 0.9, 0, -110, 0, 0, 1.5, -90],
  LPS: [-0.9, 0, 0, 110, 0, -0.9, 0, 110, 0, 0, 1.5, -90],
  PSR: [0, 0, 1.5, -90, -0.9, 0, 0, 110, 0, 0.9, 0, -110],
};

/** Something like an MR volume: a smooth body in an empty, noisy field of view. */
function voxels(): Int16Array {
  const [nx, ny, nz] = shape as [number, number, number];
  const noise = random(1);
  const table = Float32Array.from({ length: 4093 }, () => noise.normal() * 15);
  const data = new Int16Array(nx * ny * nz);
  for (let z = 0, i = 0; z < nz; z++)
    for (let y = 0; y < ny; y++)
      for (let x = 0; x < nx; x++, i++) {
        const radius = Math.hypot((2 * x) / nx - 1, (2 * y) / ny - 1, (2 * z) / nz - 1);
        const body = radius < 0.8 ? 600 + 300 * Math.sin(x / 9) * Math.cos(y / 13 + z / 17) : 20;
        data[i] = Math.abs(body + table[(i * 31 + ((x * y) ^ z)) % table.length]!);
      }
  return data;
}

const folder = await mkdtemp(join(tmpdir(), 'bench-nifti-'));
const python = spawn(
  process.argv[3] ?? '/usr/bin/python3',
  [join(import.meta.dirname, 'nifti_reference.py')],
  {
    stdio: ['pipe', 'pipe', 'inherit'],
  },
);
const answers = createInterface(python.stdout)[Symbol.asyncIterator]();
async function ask(line: string): Promise<string> {
  python.stdin.write(`${line}\n`);
  const answer: IteratorResult<string, undefined> = await answers.next();
  if (answer.done) throw new Error('The reference has ended; is nibabel installed for this Python?');
  return answer.value;
}

try {
  const reference = await ask('versions');
  console.log(`Node ${process.versions.node}; ${reference}; ${cpus().length} x ${cpus()[0]?.model}`);
  const orientations: Record<string, unknown>[] = [];
  const data = voxels();
  for (const [name, rows] of Object.entries(grids)) {
    const path = join(folder, `${name}.nii.gz`);
    const bytes = await writeNifti({ data, shape, affine: [...rows, 0, 0, 0, 1] });
    await writeFile(path, bytes);
    const ours: number[] = [];
    const theirs: number[] = [];
    let result: Float32Array = new Float32Array();
    for (let round = 0; round <= rounds; round++) {
      const start = performance.now();
      result = (await prepareCase({ id: name, subject: name, images: [path] }, defaultPreprocessing())).image;
      const elapsed = performance.now() - start;
      const answered = Number(await ask(path));
      if (round === 0) continue; // the first of each warms up
      ours.push(elapsed);
      theirs.push(answered);
    }
    await ask(`save ${join(folder, 'reference')}`);
    const saved = await readFile(join(folder, 'reference'));
    const expected = new Float32Array(saved.buffer, saved.byteOffset, saved.byteLength / 4);
    const difference = result.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
    const [mine, nibabel] = [spread(ours), spread(theirs)];
    const ratio = mine.median / nibabel.median;
    orientations.push({
      name,
      bytes: bytes.length,
      ours: mine,
      nibabel,
      ratio,
      largestDifference: difference,
    });
    console.log(
      `${name} (${(bytes.length / 2 ** 20).toFixed(1)} MiB): ours ${mine.median.toFixed(0)} ms, ` +
        `nibabel + numpy ${nibabel.median.toFixed(0)} ms, ratio ${ratio.toFixed(2)} ` +
        `(medians of ${rounds}); largest difference ${difference.toExponential(1)}`,
    );
  }
  writeResult('nifti', { ...surroundings(), reference, rounds, shape, datatype: 'int16', orientations });
} finally {
  python.stdin.end();
  await rm(folder, { recursive: true });
}
