/** The README's program, as it stands: it trains, segments, names its classes and writes what it says. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import '../../src/data/source.node.ts';
import { readNifti } from '../../src/data/nifti.ts';
import { phantom, phantomLabels } from '../../src/data/phantom.ts';
import { readModel } from '../../src/weights/model-file.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const entry = pathToFileURL(join(root, 'src', 'node.ts')).href;

test('runs on phantoms as it is pasted', async () => {
  const [, program = ''] =
    /```js\n(import \{ writeFile \}.*?)```/s.exec(await readFile(join(root, 'README.md'), 'utf8')) ?? [];
  const folder = await mkdtemp(join(tmpdir(), 'readme-'));
  try {
    const file = join(folder, 'train.mjs');
    await writeFile(file, program.replace("from 'unet3d-gpu'", `from '${entry}'`));
    const loader = import.meta.resolve('tsx');
    const ran = spawnSync(process.execPath, ['--import', loader, file], { cwd: folder, encoding: 'utf8' });
    expect(ran.stderr).not.toMatch(/Error/);
    expect(ran.status).toBe(0);
    expect(ran.stdout.match(/epoch: \d+/g)).toHaveLength(10);
    const { description } = await readModel(
      new Uint8Array(await readFile(join(folder, 'model.safetensors'))),
    );
    expect(description.labels).toEqual(phantomLabels);
    const { shape, affine } = phantom(10, { shape: [16, 16, 8] });
    const segmentation = await readNifti(join(folder, 'segmentation.nii.gz'));
    expect(segmentation.shape).toEqual(shape);
    segmentation.affine.forEach((value, i) => expect(value).toBeCloseTo(affine[i]!, 4));
    expect(new Set(segmentation.data).size).toBeGreaterThan(1);
  } finally {
    await rm(folder, { recursive: true });
  }
}, 600_000);
