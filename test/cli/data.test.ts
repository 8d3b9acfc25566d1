/** Bad data is refused before any training begins, each with one clear message; `split` and `check` show what is there. */
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import type { Split } from '../../src/data/split.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { cli, phantomDataset, temporaryFolder, type Ran } from './support.ts';

let good: string;
beforeAll(async () => {
  good = await phantomDataset(8);
});

/** A copy of the good data set with something done to it. */
async function spoilt(spoil: (file: (path: string) => string) => Promise<unknown>): Promise<string> {
  const folder = await temporaryFolder();
  await cp(good, folder, { recursive: true });
  await spoil((path) => join(folder, path));
  return folder;
}

const train = async (...args: string[]): Promise<Ran> =>
  cli(['train', ...args, '--out', join(await temporaryFolder(), 'run')]);

/** One message, no stack trace, and no word of a GPU: nothing has begun. */
function expectRefusal({ exitCode, err }: Ran, ...words: (string | RegExp)[]): void {
  const errors = err.split('\n').filter((line) => line.startsWith('error: '));
  expect(errors).toHaveLength(1);
  for (const word of words) expect(errors[0]).toMatch(word);
  expect(err).not.toMatch(/^\s+at /m);
  expect(err).not.toContain('GPU:');
  expect(exitCode).toBe(1);
}

describe('train refuses', () => {
  test('a file that is not NIfTI', async () => {
    const folder = await spoilt((file) => writeFile(file('images/Case_03_Week0.nii.gz'), 'hello'));
    expectRefusal(await train(folder), 'Case_03_Week0', /not a NIfTI file/);
  });

  test('truncated gzip', async () => {
    const folder = await spoilt(async (file) => {
      const path = file('images/Case_02_Week0.nii.gz');
      await writeFile(path, (await readFile(path)).subarray(0, 300));
    });
    expectRefusal(await train(folder), 'Case_02_Week0', /gzip/);
  });

  test('truncated voxels', async () => {
    const folder = await spoilt(async (file) => {
      const path = file('labels/Case_01_Week0.nii.gz');
      const volume = await readNifti(path);
      const bytes = await writeNifti(volume, { datatype: 'uint8', gzip: false });
      await writeFile(path, bytes.subarray(0, 400));
    });
    expectRefusal(await train(folder), 'Case_01_Week0', /truncated/);
  });

  test('image and label of different shapes', async () => {
    const folder = await spoilt(async (file) =>
      writeFile(
        file('labels/Case_04_Week0.nii.gz'),
        await writeNifti({
          data: new Uint8Array(64),
          shape: [4, 4, 4],
          affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
        }),
      ),
    );
    expectRefusal(await train(folder), 'Case_04_Week0', /8 x 8 x 8.*4 x 4 x 4/);
  });

  test('voxels that are NaN or infinite', async () => {
    const folder = await spoilt(async (file) => {
      const path = file('images/Case_03_Week0.nii.gz');
      const volume = await readNifti(path);
      volume.data.set([NaN, Infinity, -Infinity], 100);
      await writeFile(path, await writeNifti(volume));
    });
    expectRefusal(
      await train(folder),
      /Case_03_Week0\.nii\.gz: 3 of 512 voxels are NaN or infinite.*replace/,
    );
    const checked = await cli(['check', folder]);
    expect(checked.exitCode).toBe(1);
    expect(checked.out).toMatch(
      /error: .*images.Case_03_Week0\.nii\.gz: 3 of 512 voxels are NaN or infinite/,
    );
  });

  test('label values outside the classes', async () => {
    expectRefusal(await train(good, '--classes', '3'), /outside the classes/, /Expected 0 to 2/);
  });

  test('a spacing that makes volumes too large', async () => {
    expectRefusal(
      await train(good, '--spacing', '0.001'),
      /Case_0.*0\.001 x 0\.001 x 0\.001 mm.*larger --spacing/,
    );
  });

  test('an empty data set', async () => {
    const folder = await temporaryFolder();
    expectRefusal(await train(folder), `${folder}: Found no dataset.json and no NIfTI file`);
  });

  test('names that do not match', async () => {
    const folder = await spoilt((file) => rm(file('labels/Case_05_Week0.nii.gz')));
    expectRefusal(
      await train(folder),
      /without a label/,
      'Case_05_Week0',
      /Or take the \d+ that have one: --only-labelled\.$/m,
    );
    const { err, exitCode } = await train(folder, '--only-labelled', '--dry-run');
    expect(err).toContain('warning: 1 image(s) without a label are left out: "Case_05_Week0".');
    expect(exitCode, err).toBe(0);
  });

  test('fewer subjects than parts', async () => {
    expectRefusal(await train(good, '--subject-pattern', '(Week\\d)'), /1 subject\(s\) for 3 parts/);
  });

  test('the same volume in two parts, unless that is allowed', async () => {
    const folder = await spoilt(async (file) => {
      for (const kind of ['images', 'labels'])
        for (let to = 1; to < 8; to++)
          await cp(file(`${kind}/Case_00_Week0.nii.gz`), file(`${kind}/Case_0${to}_Week0.nii.gz`));
    });
    expectRefusal(await train(folder), /same volume is in two parts/);
  });

  test('an output folder that cannot be written, before anything is read', async () => {
    const file = join(await temporaryFolder(), 'file');
    await writeFile(file, '');
    const ran = await cli(['train', '/no/such/data', '--out', join(file, 'run')]);
    expectRefusal(ran, /cannot write into the output folder/, /a file, not a folder/);
  });

  test.each([
    ['a split that is too fine', ['--limit-cases', '1'], /1 subject\(s\) for 3 parts/],
    ['no training to resume', ['--resume'], /no training to resume/],
    [
      'a weight too few',
      ['--class-weights', '1,2'],
      /--class-weights has 2 number\(s\), but there are 6 classes/,
    ],
    ['nothing to validate on', ['--early-stopping', '3', '--split', '80,0,20'], /--early-stopping is 3, but/],
  ])('%s, in a dry run too, and leaves no folder', async (_, options, message) => {
    const parent = await temporaryFolder();
    for (const more of [[], ['--dry-run']]) {
      const ran = await cli(['train', good, '--out', join(parent, 'runs', 'a'), ...options, ...more]);
      expect(ran.err).toMatch(message);
      expect(ran.err).not.toContain('GPU:');
      expect(ran.exitCode).toBeGreaterThan(0);
      expect(await readdir(parent)).toEqual([]);
    }
  });

  test('a data set that is not there', async () => {
    expectRefusal(await train('/no/such/data'), /\/no\/such\/data does not exist; give the folder/);
    expectRefusal(await train(join(good, 'images', 'Case_00_Week0.nii.gz')), /is not a directory/);
  });
});

test('an image of zeros is a warning of check and of train, and refused where cropping leaves nothing of it', async () => {
  const folder = await spoilt(async (file) => {
    const path = file('images/Case_00_Week0.nii.gz');
    const volume = await readNifti(path);
    await writeFile(path, await writeNifti({ ...volume, data: volume.data.map(() => 0) }));
  });
  const checked = await cli(['check', folder]);
  expect(checked.out).toMatch(/warning: Case "Case_00_Week0": the image \(all 0\) is constant/);
  expect(checked.exitCode).toBe(0);
  const plain = await train(folder, '--features', '4,8', '--dry-run');
  expect(plain.err).toMatch(/warning: Case "Case_00_Week0": the image is constant, which teaches nothing/);
  expect(plain.exitCode).toBe(0);
  expectRefusal(await train(folder, '--preprocessing', 'nnunet'), /Case_00_Week0.*all voxels are 0/);
});

describe('predict and evaluate refuse', () => {
  test('a model file that is damaged, missing, or a checkpoint of nothing', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'model.safetensors'), 'no model');
    const image = join(good, 'images', 'Case_00_Week0.nii.gz');
    const out = join(folder, 'out.nii.gz');
    const file = join(folder, 'model.safetensors');
    expectRefusal(await cli(['predict', folder, image, '--out', out]), file, /it is text/);
    await writeFile(file, Uint8Array.of(0x50, 0x4b, 3, 4, 0, 0, 0, 0, 0, 0));
    expectRefusal(
      await cli(['predict', file, image, '--out', out]),
      file,
      /not a readable file of PyTorch.*save it again/,
    );
    const swapped = await cli(['predict', image, file, '--out', out]);
    expect(swapped.err).toMatch(
      /error: the model .*Case_00_Week0\.nii\.gz has the name of an image: give MODEL first/,
    );
    expectRefusal(await cli(['predict', '/no/model', image, '--out', out]), /\/no\/model: it does not exist/);
  });

  test('probabilities in place of labels', async () => {
    const file = join(await temporaryFolder(), 'probabilities.nii.gz');
    const truth = join(good, 'labels', 'Case_00_Week0.nii.gz');
    const { affine } = await readNifti(truth);
    await writeFile(file, await writeNifti({ data: new Float32Array(1536), shape: [8, 8, 8, 3], affine }));
    expectRefusal(await cli(['evaluate', file, truth]), /prediction has 4 axes, 8 x 8 x 8 x 3.*as labels/);
  });

  test('predictions on another grid, and cases without a partner', async () => {
    const small = await phantomDataset(8, [6, 6, 6]);
    expectRefusal(
      await cli(['evaluate', join(small, 'labels'), join(good, 'labels')]),
      /6 x 6 x 6 voxels, the truth 8 x 8 x 8/,
    );
    await rm(join(small, 'labels', 'Case_00_Week0.nii.gz'));
    expectRefusal(
      await cli(['evaluate', join(small, 'labels'), join(good, 'labels')]),
      /have no prediction: Case_00_Week0.*--only-predicted/,
    );
  });

  test('the one file of a folder is that of another where it has its name; two files may have any', async () => {
    const truth = join(good, 'labels', 'Case_00_Week0.nii.gz');
    const [folder, other] = [await temporaryFolder(), await temporaryFolder()];
    const [file, otherFile] = [join(folder, 'a.nii.gz'), join(other, 'b.nii.gz')];
    for (const to of [file, otherFile]) await cp(truth, to);
    expectRefusal(await cli(['evaluate', folder, other]), /1 of 1 cases have no prediction: b\./);
    expect((await cli(['evaluate', file, otherFile])).out).toMatch(/mean foreground +1\.000/);
  });

  test('values beyond the classes, with the option to change', async () => {
    const labels = join(good, 'labels');
    const classes = await cli(['evaluate', labels, labels, '--classes', '3']);
    expect(classes.err).toMatch(/value 5, but --classes is 3, for 0 to 2: raise it to 6/);
    const names = await cli(['evaluate', labels, labels, '--names', 'a,b']);
    expect(names.err).toMatch(/value 5, but --names has 2 names/);
    expect([classes.exitCode, names.exitCode]).toEqual([2, 2]);
    const both = await cli(['evaluate', labels, labels, '--names', 'a,b', '--classes', '6']);
    expect([both.exitCode, both.err]).toEqual([
      2,
      expect.stringMatching(/--names has 2 names, but --classes is 6/),
    ]);
  });

  test('JSON of more lines than a call takes arguments', async () => {
    const folder = await temporaryFolder();
    const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
    const bytes = await writeNifti({ data: new Uint8Array(8), shape: [2, 2, 2], affine });
    for (let at = 0; at < 50; at++) await writeFile(join(folder, `c${at}.nii.gz`), bytes);
    const { exitCode, err, out } = await cli(['evaluate', folder, folder, '--classes', '255', '--json']);
    expect([exitCode, err]).toEqual([0, '']);
    expect(out.split('\n').length).toBeGreaterThan(130_000);
    expect(JSON.parse(out)).toMatchObject({ summary: { cases: 50 } });
  });

  test('the name of a first channel means its case', async () => {
    const [numbered, twice] = [await phantomDataset(3), await phantomDataset(3)];
    for (const name of await readdir(join(numbered, 'labels'))) {
      const other = name.replace('.nii.gz', '_0000.nii.gz');
      await rename(join(numbered, 'labels', name), join(numbered, 'labels', other));
      await cp(join(twice, 'labels', name), join(twice, 'labels', other));
    }
    const plain = await phantomDataset(3);
    for (const [a, b] of [
      [numbered, plain],
      [plain, numbered],
    ] as const) {
      const ran = await cli(['evaluate', join(a, 'labels'), join(b, 'labels')]);
      expect(ran.out).toMatch(/3 case\(s\)[^]*mean foreground +1\.000/);
    }
    expectRefusal(
      await cli(['evaluate', join(twice, 'labels'), join(plain, 'labels')]),
      /3 of 6 predictions have no truth/,
    );
    const some = await cli(['evaluate', join(numbered, 'labels'), join(good, 'labels'), '--only-predicted']);
    expect(some.err).toContain('3 of 8 labels compared');
  });

  test('predictions without a label, unless --only-labelled leaves them out', async () => {
    const few = join(await phantomDataset(3), 'labels');
    expectRefusal(
      await cli(['evaluate', join(good, 'labels'), few]),
      /5 of 8 predictions have no truth.*--only-labelled leaves out predictions without a label/,
    );
    const ran = await cli(['evaluate', join(good, 'labels'), few, '--only-labelled']);
    expect(ran.err).toContain('3 of 8 predictions compared');
    expect(ran.out).toMatch(/3 case\(s\)[^]*mean foreground +1\.000/);
  });

  test('labels without a prediction, unless --only-predicted leaves them out', async () => {
    const few = await phantomDataset(3);
    const ran = await cli(['evaluate', join(few, 'labels'), join(good, 'labels'), '--only-predicted']);
    expect(ran.err).toContain('3 of 8 labels compared');
    expect(ran.out).toContain('3 case(s)');
    expect(ran.exitCode).toBe(0);
  });
});

describe('evaluate --also', () => {
  const labels = () => join(good, 'labels');
  /** The labels without one class, in so many of the eight cases; and by how much the mean Dice of all is less. */
  async function without(label: number, cases: number): Promise<{ folder: string; less: number }> {
    const folder = await temporaryFolder();
    let less = 0;
    for (const [at, name] of (await readdir(labels())).sort().entries()) {
      const volume = await readNifti(join(labels(), name));
      const data = volume.data.map((value) => (at < cases && value === label ? 0 : value));
      await writeFile(join(folder, name), await writeNifti({ ...volume, data }, { datatype: 'uint8' }));
      // Its Dice is 0 instead of 1, where the case has it; those of the other foreground stay 1.
      const present = new Set(volume.data.filter((value) => value > 0));
      if (at < cases && present.has(label)) less += 1 / present.size / 8;
    }
    return { folder, less };
  }

  test('says which of several predictions are better, and by how much', async () => {
    const worse = await without(1, 8);
    const json = join(await temporaryFolder(), 'metrics.json');
    const { exitCode, out } = await cli([
      'evaluate',
      worse.folder,
      labels(),
      '--also',
      labels(),
      '--out',
      json,
    ]);
    expect(exitCode).toBe(0);
    const shown = (value: number) => value.toFixed(3);
    expect(worse.less).toBeGreaterThan(0);
    expect(out).toContain(`${shown(1 - worse.less)}, less by ${shown(worse.less)} (`);
    expect(out).toMatch(/labels is the best: the 95 % intervals of the differences do not reach 0/);
    const { comparison } = JSON.parse(await readFile(json, 'utf8')) as {
      comparison: { path: string; dice: number; less?: { mean: number; low: number } }[];
    };
    expect(comparison.map(({ path }) => path)).toEqual([labels(), worse.folder]);
    expect(comparison[1]!.less!.mean).toBeCloseTo(worse.less, 9);
    expect(comparison[1]!.less!.low).toBeGreaterThan(0);
  });

  test('of two others, a difference in one of eight cases tells nothing', async () => {
    const [near, far] = [await without(1, 1), await without(1, 8)];
    const others = ['--also', far.folder, '--also', near.folder];
    const { out } = await cli(['evaluate', labels(), labels(), ...others]);
    for (const { folder, less } of [near, far])
      expect(out).toMatch(new RegExp(`${folder} +${(1 - less).toFixed(3)}, less by ${less.toFixed(3)} `));
    expect(out).toMatch(/has the largest mean, but 8 case\(s\) do not tell it from/);
    expect(out.split('do not tell it from')[1]).toContain(near.folder);
    expect(out.split('do not tell it from')[1]).not.toContain(far.folder);
  });

  test('a model that finds what is not there is told from one that rightly finds nothing', async () => {
    const of = async (...cases: number[][]): Promise<string> => {
      const folder = await temporaryFolder();
      const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
      for (const [at, data] of cases.entries()) {
        const volume = { data: Uint8Array.from(data), shape: [4, 1, 1], affine };
        await writeFile(join(folder, `${at}.nii.gz`), await writeNifti(volume));
      }
      return folder;
    };
    const [truth, part, none] = [
      [1, 1, 0, 0],
      [1, 0, 0, 0],
      [0, 0, 0, 0],
    ]; // part has 2 * 1 / (2 + 1)
    const truths = await of(truth, truth, none);
    const [right, wrong] = [await of(part, part, none), await of(part, part, part)];
    const { out } = await cli(['evaluate', wrong, truths, '--also', right]);
    const [best, less] = [(2 / 3 + 2 / 3 + 1) / 3, (2 / 3 + 2 / 3 + 0) / 3].map((dice) => dice.toFixed(3));
    expect(out).toContain(`${right}  ${best}\n  ${wrong}  ${less}, less by 0.333 (0.000 to `);
    const table = join(truths, 'subjects.csv');
    await writeFile(table, 'case,subject\n0,a\n1,a\n2,b\n');
    const told = await cli(['evaluate', wrong, truths, '--subjects', table, '--json']);
    expect(JSON.parse(told.out)).toMatchObject({ summary: { cases: 3, subjects: 2 } });
    expect(out).toContain('In 1 case(s) some find a class that is not there: it counts as 1 for those that');
  });

  test('predictions of other cases are refused', async () => {
    const few = join(await phantomDataset(3), 'labels');
    expectRefusal(
      await cli(['evaluate', labels(), labels(), '--also', few, '--only-predicted']),
      /has predictions of other cases than .*labels: give folders with those of the same cases/,
    );
  });
});

test('evaluate --postprocess says for which classes the largest component alone is better, in the best predictions', async () => {
  const folder = await temporaryFolder();
  const shape = [6, 4, 4];
  const affine = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const save = async (path: string, values: Readonly<Record<number, number>>): Promise<void> => {
    const data = new Uint8Array(96);
    for (const [at, value] of Object.entries(values)) data[Number(at)] = value;
    await mkdir(dirname(join(folder, path)), { recursive: true });
    // Of floats, as scaled integers are read: a little below a whole number.
    const stored = path.startsWith('island') ? Float32Array.from(data, (value) => value * 0.9999) : data;
    await writeFile(join(folder, path), await writeNifti({ data: stored, shape, affine }));
  };
  // Class 1 has three voxels in a row; class 2 is two of one voxel each.
  const truth = { 0: 1, 1: 1, 2: 1, 40: 2, 90: 2 };
  for (const name of ['a.nii.gz', 'b.nii.gz']) {
    await save(`truth/${name}`, truth);
    await save(`island/${name}`, { ...truth, 70: 1 });
    await save(`worse/${name}`, { 0: 1, 90: 2 });
  }
  const [labels, island, worse] = ['truth', 'island', 'worse'].map((path) => join(folder, path));
  const json = join(folder, 'metrics.json');
  const options = ['--also', island!, '--postprocess', '--out', json];
  const { exitCode, out } = await cli(['evaluate', worse!, labels!, ...options]);
  expect(exitCode).toBe(0);
  // 2·3 / (4 + 3) with the island of one voxel.
  expect(out).toMatch(/island, the mean Dice of some rises .*:\s+class 1 {2}0\.857 to 1\.000/);
  expect(out).not.toContain('class 2  1.000 to');
  expect(out).toContain('{"postprocessing":{"largestComponent":[1]}}');
  const { postprocessing } = JSON.parse(await readFile(json, 'utf8')) as {
    postprocessing: { of: string; largestComponent: number[]; before: number[]; after: number[] };
  };
  expect(postprocessing).toMatchObject({ of: island, largestComponent: [1] });
  expect(postprocessing.before[1]).toBeCloseTo(6 / 7, 12);
  expect(postprocessing.after.slice(1)).toEqual([1, 2 / 3]);
  const clean = await cli(['evaluate', labels!, labels!, '--postprocess']);
  expect(clean.out).toContain('Post-processing: none;');
});

test('predictions are named as their cases, and compressed as their names say', async () => {
  const folder = await temporaryFolder();
  const [model, four] = [join(folder, 'model.safetensors'), join(folder, 'four.safetensors')];
  const save = async (path: string, inChannels: number): Promise<void> => {
    const net = await UNet3D.create({ inChannels, classes: 2, features: [4, 8] });
    await writeFile(path, await net.save());
    net.dispose();
  };
  await save(model, 1);
  await save(four, 2);
  const source = await readNifti(join(good, 'images', 'Case_00_Week0.nii.gz'));
  const one = await writeNifti(source);
  const two = await writeNifti({
    ...source,
    shape: [8, 8, 8, 2],
    data: Float32Array.of(...source.data, ...source.data),
  });
  const inputs = async (files: Record<string, Uint8Array>): Promise<string> => {
    const place = await temporaryFolder();
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(place, name), bytes);
    return place;
  };
  for (const [net, files, names] of [
    [model, { 'a_0000.nii.gz': one, 'b_0000.NII.GZ': one }, ['a.nii.gz', 'b.nii.gz']],
    [model, { 'scan_0000.nii.gz': one, 'scan_0001.nii': one }, ['scan_0000.nii.gz', 'scan_0001.nii']],
    [four, { 'a_0000.nii.gz': one, 'a_0001.nii.gz': one }, ['a.nii.gz']],
    [four, { 'scan_0000.nii.gz': two, 'scan_0001.nii.gz': two }, ['scan_0000.nii.gz', 'scan_0001.nii.gz']],
    [four, { 'pancreas_0001.nii.gz': two }, ['pancreas_0001.nii.gz']],
  ] as const) {
    const out = await temporaryFolder();
    const ran = await cli(['predict', net, await inputs(files), '--out', out]);
    expect(ran.exitCode, ran.err).toBe(0);
    expect(await readdir(out)).toEqual(names);
  }
  const pair = await inputs({ 'pair.img.nii.gz': one });
  const file = join(folder, 'SEG.NII.GZ');
  const ran = await cli(['predict', model, join(pair, 'pair.img.nii.gz'), '--out', file]);
  expect(ran.exitCode, ran.err).toBe(0);
  expect([...(await readFile(file)).subarray(0, 2)]).toEqual([0x1f, 0x8b]);
});

describe('split and check', () => {
  test('split writes what train --split reads, and no subject is in two parts', async () => {
    const out = join(await temporaryFolder(), 'split.json');
    const ran = await cli(['split', good, '--split', '50,25,25', '--seed', '3', '--out', out, '--json']);
    expect(ran.exitCode).toBe(0);
    const split = JSON.parse(ran.out) as Split;
    expect(JSON.parse(await readFile(out, 'utf8'))).toEqual(split);
    expect([split.train, split.validation, split.test].map(({ cases }) => cases.length)).toEqual([4, 2, 2]);
    const again = await cli(['split', good, '--split', out, '--json']);
    expect(JSON.parse(again.out)).toEqual(split);
    for (const args of [
      ['split', good],
      ['train', good, '--out', join(dirname(out), 'run'), '--dry-run'],
    ]) {
      const both = await cli([...args, '--split', out, '--fold', '1/4']);
      expect([both.exitCode, both.err]).toEqual([2, expect.stringMatching(/--fold.*--split/)]);
    }
  });

  test('cases that a given split has in no part are told', async () => {
    const file = join(await temporaryFolder(), 'split.json');
    const ids = Array.from({ length: 6 }, (_, at) => `Case_0${at}_Week0`);
    const [train, validation, test] = [ids.slice(0, 4), ids.slice(4, 5), ids.slice(5)].map((cases) => ({
      cases,
    }));
    await writeFile(file, JSON.stringify({ train, validation, test }));
    const told = 'warning: 2 of 8 cases are in no part of the split: "Case_06_Week0", "Case_07_Week0".';
    for (const command of ['split', 'check', 'train']) {
      const out = join(await temporaryFolder(), 'run');
      const more = command === 'train' ? ['--out', out, '--features', '2', '--dry-run'] : [];
      const ran = await cli([command, good, '--split', file, ...more]);
      expect(ran.exitCode, ran.err).toBe(0);
      expect(command === 'check' ? ran.out : ran.err).toContain(told);
    }
  });

  test('split --folds puts every case once into a validation part', async () => {
    const file = join(await temporaryFolder(), 'splits_final.json');
    const { out } = await cli(['split', good, '--folds', '4', '--json', '--out', file]);
    const folds = JSON.parse(out) as Split[];
    const validated = folds.flatMap(({ validation }) => validation.cases);
    expect(new Set(validated).size).toBe(8);
    expect(validated).toHaveLength(8);
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(
      folds.map(({ train, validation }) => ({ train: train.cases, val: validation.cases })),
    );
  });

  test('split gives every part its share of a class that few cases show, and counts them', async () => {
    const folder = await spoilt(async (file) => {
      // Prostate, the value 5, stays in cases 0, 1, 2 and 3.
      for (const subject of [4, 5, 6, 7]) {
        const path = file(`labels/Case_0${subject}_Week0.nii.gz`);
        const label = await readNifti(path);
        const data = label.data.map((value) => (value === 5 ? 1 : value));
        await writeFile(path, await writeNifti({ ...label, data }));
      }
    });
    for (const seed of ['0', '1', '2', '3']) {
      const options = ['--split', '50,25,25', '--seed', seed, '--subject-pattern', 'Case_(\\d+)'];
      const { out } = await cli(['split', folder, ...options]);
      const rows = out.split('\n').map((line) => line.split(/  +/).slice(0, 4));
      expect(rows[0]).toEqual(['part', 'subjects', 'cases', 'with 5']);
      expect(rows.slice(2)).toEqual([
        ['train', '4', '4', '2'],
        ['validation', '2', '2', '1'],
        ['test', '2', '2', '1'],
      ]);
    }
  });

  test('split warns where every case counts as a subject', async () => {
    expect((await cli(['split', good])).err).toContain('warning: No subjects.csv');
    expect((await cli(['split', good, '--subject-pattern', 'Case_(\\d+)'])).err).toBe('');
  });

  test('check lists every problem at once and leaves with 1', async () => {
    expect((await cli(['check', good])).exitCode).toBe(0);
    const folder = await spoilt(async (file) => {
      await writeFile(file('images/Case_03_Week0.nii.gz'), 'hello');
      await cp(file('labels/Case_00_Week0.nii.gz'), file('images/Case_06_Week0.nii.gz'));
      await cp(file('images/Case_01_Week0.nii.gz'), file('images/Case_02_Week0.nii.gz'));
    });
    const { exitCode, out } = await cli(['check', folder]);
    expect(exitCode).toBe(1);
    expect(out).toMatch(/error: .*Case_03_Week0.*not a NIfTI file/);
    expect(out).toMatch(/Case_01_Week0.*Case_02_Week0/); // the same image twice
    expect(out).toMatch(/\n\d errors?, \d warnings?$/);
  });
});
