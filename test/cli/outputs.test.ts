/** Outputs that would destroy an input or another output, or that are no plain files, are refused before any work. */
import { execFileSync } from 'node:child_process';
import { watch } from 'node:fs';
import { link, mkdir, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { checkOutputs } from '../../src/cli/outputs.ts';
import { writeNifti } from '../../src/data/nifti.ts';
import { cli, phantomDataset, temporaryFolder, type Ran } from './support.ts';

const small = [
  '--features',
  '4,8',
  '--epochs',
  '1',
  '--limit-cases',
  '4',
  '--subject-pattern',
  'Case_(\\d+)',
];
const name = 'Case_00_Week0.nii.gz';
let run: string;
let data: string;
let folder: string;

beforeAll(async () => {
  run = join(await temporaryFolder(), 'run');
  expect((await cli(['train', await phantomDataset(4), '--out', run, ...small])).exitCode).toBe(0);
});
beforeEach(async () => {
  data = await phantomDataset(4);
  folder = await temporaryFolder();
});
const images = (...more: string[]) => join(data, 'images', ...more);
const labels = (...more: string[]) => join(data, 'labels', ...more);
const at = (...more: string[]) => join(folder, ...more);

/** Wrong usage, told before a GPU is looked for. */
function expectRefusal({ exitCode, err }: Ran, message: string | RegExp): void {
  expect(err).toMatch(message);
  expect(err).not.toContain('GPU:');
  expect(exitCode).toBe(2);
}

/** Every file of the data set with its bytes. */
async function contents(): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const path of await readdir(data, { recursive: true, withFileTypes: true }))
    if (path.isFile()) {
      const file = join(path.parentPath, path.name);
      found[file] = (await readFile(file)).toString('base64');
    }
  return found;
}

describe('an input under another name', () => {
  const overwrite = /would overwrite its input/;

  test('predict', async () => {
    const before = await contents();
    await symlink(images(), at('folder'));
    await symlink(images(name), at('soft.nii.gz'));
    await link(images(name), at('hard.nii.gz'));
    await mkdir(at('in'));
    await symlink(images(name), at('in', 'a.nii.gz'));
    const to = (input: string, out: string, model = run) => cli(['predict', model, input, '--out', out]);
    expectRefusal(await to(images(), at('folder')), overwrite);
    expectRefusal(await to(images(name), at('soft.nii.gz')), overwrite);
    expectRefusal(await to(images(name), at('hard.nii.gz')), overwrite);
    expectRefusal(await to(at('in'), at('in')), overwrite);
    expectRefusal(await to(at('soft.nii.gz'), images(name)), overwrite);
    await link(join(run, 'model.safetensors'), at('model.nii.gz'));
    expectRefusal(await to(images(name), at('model.nii.gz')), /overwrite its input .*model\.safetensors/);
    await rm(at('model.nii.gz'));
    expect(await contents()).toEqual(before);
  });

  test('evaluate, render, split and plan', async () => {
    await symlink(labels(name), at('soft.csv'));
    await link(images(name), at('hard.png'));
    await symlink(labels(name), at('hard.svg'));
    await writeFile(at('subjects.csv'), 'case,subject\n');
    const before = await contents();
    expectRefusal(await cli(['evaluate', labels(), labels(), '--csv', at('soft.csv')]), overwrite);
    expectRefusal(await cli(['evaluate', labels(), labels(), '--out', labels(name)]), overwrite);
    expectRefusal(await cli(['render', images(name), '--out', at('hard.png')]), overwrite);
    expectRefusal(await cli(['split', data, '--out', images(name)]), overwrite);
    expectRefusal(await cli(['plan', data, '--picture', at('hard.svg')]), overwrite);
    await symlink(join(run, 'model.safetensors'), at('model.svg'));
    const ofModel = ['--model', join(run, 'model.safetensors'), '--shape', '16,16,8'];
    expectRefusal(await cli(['plan', ...ofModel, '--picture', at('model.svg')]), overwrite);
    const folder = ['plan', '--model', run, '--shape', '16,16,8'];
    expectRefusal(await cli([...folder, '--picture', join(run, 'model.safetensors')]), overwrite);
    const table = at('subjects.csv');
    const withTable = ['evaluate', labels(), labels(), '--subjects', table];
    for (const option of ['--csv', '--out'])
      expectRefusal(await cli([...withTable, option, table]), overwrite);
    expect(await readFile(table, 'utf8')).toBe('case,subject\n');
    const described = at('dataset.json');
    await writeFile(
      described,
      '{"labels": {"background": 0, "part": 1}, "numTraining": 0, "file_ending": ".nii.gz"}',
    );
    const compared = ['evaluate', labels(), labels(), '--dataset', described];
    expectRefusal(await cli([...compared, '--out', described]), overwrite);
    const split = at('split.json');
    expect((await cli(['split', data, '--out', split])).exitCode).toBe(0);
    expectRefusal(await cli(['split', data, '--split', split, '--out', split]), overwrite);
    expect(await contents()).toEqual(before);
  });

  test('the .img of a .hdr', async () => {
    await writeFile(at('a.hdr'), '');
    await writeFile(at('a.img'), '');
    expectRefusal(await cli(['evaluate', at('a.hdr'), labels(name), '--csv', at('a.img')]), overwrite);
  });

  test('labels where a training keeps its predictions', async () => {
    const out = at('run');
    await mkdir(out);
    await symlink(labels(), join(out, 'predictions'));
    const before = await contents();
    expectRefusal(await cli(['train', data, '--out', out, ...small]), overwrite);
    expect(await contents()).toEqual(before);
    expect(await readdir(out)).toEqual(['predictions']);
  });
});

test('a model that a new training begins with is not cleared', async () => {
  const before = await readFile(join(run, 'model.safetensors'));
  const again = ['train', data, '--out', run, '--overwrite', '--init', run, ...small];
  expectRefusal(await cli(again), /--init .* lies in .*, which --overwrite clears: give another --out/);
  expect(await readFile(join(run, 'model.safetensors'))).toEqual(before);
});

test('a file of several volumes is no label map to draw', async () => {
  const several = at('several.nii.gz');
  await writeFile(
    several,
    await writeNifti({
      data: new Uint8Array(2 * 8),
      shape: [2, 2, 2, 2],
      affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
    }),
  );
  const drawn = ['render', images(name), '--labels', several, '--out', at('a.png')];
  const refused = await cli(drawn);
  expect(refused.exitCode).toBe(2);
  expect(refused.err).toMatch(/several\.nii\.gz holds 2 volumes: give a label map, which is one/);
});

test('two results that would be one file', async () => {
  const both = /two results would both be written to/;
  await writeFile(at('a.csv'), 'kept');
  await symlink(at('a.csv'), at('b.json'));
  const evaluate = (csv: string, out: string) =>
    cli(['evaluate', labels(), labels(), '--csv', csv, '--out', out]);
  expectRefusal(await evaluate(at('b.json'), at('a.csv')), both);
  expectRefusal(await evaluate(at('new'), `${folder}/./new`), both);
  await mkdir(at('other'));
  await link(images(name), at('other', name));
  expectRefusal(await cli(['predict', run, images(), at('other'), '--out', at('out')]), both);
  expect(await readFile(at('a.csv'), 'utf8')).toBe('kept');
  expect((await readdir(folder)).sort()).toEqual(['a.csv', 'b.json', 'other']);
});

describe.skipIf(process.platform === 'win32')('what is no plain file', () => {
  test('folders, pipes and devices', async () => {
    await mkdir(at('out.nii.gz'));
    await mkdir(at('out.png'));
    execFileSync('mkfifo', [at('pipe.nii'), at('pipe.png')]);
    await symlink('/dev/null', at('null.png'));
    const predict = (out: string) => cli(['predict', run, images(name), '--out', out]);
    const render = (out: string) => cli(['render', images(name), '--out', out]);
    expectRefusal(await predict(at('out.nii.gz')), /out\.nii\.gz is a folder: give the name of a file/);
    expectRefusal(await predict(at('pipe.nii')), /pipe\.nii is a named pipe/);
    expectRefusal(await render(at('out.png')), /is a folder/);
    expectRefusal(await render(at('pipe.png')), /is a named pipe/);
    expectRefusal(await render(at('null.png')), /is a device/);
    for (const place of ['/dev/null', '/dev/stdout', '/dev/fd/1'])
      expectRefusal(await cli(['split', data, '--out', place]), /: give the name of a file/);
    expect((await readdir(folder)).sort()).toEqual(
      ['null.png', 'out.nii.gz', 'out.png', 'pipe.nii', 'pipe.png'].sort(),
    );
  });

  test('a name that is too long', async () => {
    const long = at(`${'a'.repeat(300)}.nii.gz`);
    expectRefusal(
      await cli(['predict', run, images(name), '--out', long]),
      /a name of 307 bytes.*give the name/,
    );
  });

  test('a place below a file', async () => {
    await writeFile(at('file'), '');
    const ran = await cli(['evaluate', labels(), labels(), '--csv', at('file/of/y.csv')]);
    expect(ran.err).toMatch(
      /cannot write into the folder .*file\/of \(a part of its path is a file.*give another --csv/,
    );
    expect(ran.exitCode).toBe(1);
  });

  test.runIf(process.platform === 'linux')('a place where no folder can be made', async () => {
    const ran = await cli(['evaluate', labels(), labels(), '--csv', '/proc/no/such/y.csv']);
    expect(ran.err).toMatch(/cannot write into the folder \/proc\/no\/such .*give another --csv/);
    expect(ran.exitCode).toBe(1);
  });

  test.runIf(process.platform === 'linux')(
    'a folder that is to come is tried without making it, which another process that is about to would notice',
    async () => {
      const seen: (string | null)[] = [];
      const watcher = watch(folder, (_, name) => seen.push(name));
      await checkOutputs([{ option: '--out', paths: [at('results/of/a.nii.gz')] }], []);
      await mkdir(at('end'));
      await vi.waitUntil(() => seen.includes('end'), { timeout: 60_000 });
      watcher.close();
      expect(seen.length).toBeGreaterThan(1);
      expect(seen).not.toContain('results');
      expect(await readdir(folder)).toEqual(['end']);
    },
  );
});
