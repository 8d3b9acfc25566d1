/** A data set whose dataset.json defines regions, from `check` over `train` and `evaluate` to a folder of nnU-Net. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { filesIn } from '../../src/data/dataset.node.ts';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { phantom } from '../../src/data/phantom.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { readSafetensors, writeSafetensors } from '../../src/weights/safetensors.ts';
import { cli, temporaryFolder } from './support.ts';

const shape = [12, 10, 8] as const;
const sets = { body: [1, 2], organs: [2] };

/** Phantoms of three labels, of which a slice is unknown. */
async function written(): Promise<string> {
  const folder = await temporaryFolder();
  for (const name of ['imagesTr', 'labelsTr']) await mkdir(join(folder, name));
  for (let subject = 0; subject < 6; subject++) {
    const { image, labels, affine } = phantom(subject, { shape, spacing: [6, 7, 8] });
    const data = labels.map((value) => Math.min(value, 2)).fill(3, 0, 12 * 10);
    const grid = { shape: [...shape], affine };
    await writeFile(
      join(folder, `imagesTr/p${subject}_0000.nii.gz`),
      await writeNifti({ data: image, ...grid }),
    );
    const label = await writeNifti({ data, ...grid }, { datatype: 'uint8' });
    await writeFile(join(folder, `labelsTr/p${subject}.nii.gz`), label);
  }
  const json = {
    channel_names: { 0: 'MR' },
    labels: { background: 0, body: [1, 2], organs: 2, ignore: 3 },
    regions_class_order: [1, 2],
    file_ending: '.nii.gz',
  };
  await writeFile(join(folder, 'dataset.json'), JSON.stringify(json));
  return folder;
}

async function run(...args: string[]) {
  const { exitCode, out, err } = await cli(args);
  expect(exitCode === 0 ? '' : err).toBe('');
  return out;
}

interface Metrics {
  readonly test: { readonly cases: readonly { name: string; classes: Record<string, { dice: number }> }[] };
  readonly validation: { readonly dice: Record<string, number> };
}

test('regions are trained, scored each as the set of its labels, kept and handed on', async () => {
  const data = await written();
  expect(await run('check', data)).toMatch(/region +labels +written as\n[- ]*\n?body +1, 2 +1\norgans +2 +2/);
  const folder = join(await temporaryFolder(), 'run');
  const options = [
    '--features',
    '4,8',
    '--epochs',
    '2',
    '--no-tune',
    '--spacing',
    '6,7,8',
    '--patch',
    '12,10,8',
  ];
  const out = await run(
    'train',
    data,
    '--out',
    folder,
    ...options,
    '--down',
    'conv',
    '--activation',
    'leakyRelu',
  );
  expect(out).toMatch(/\nbody .*\norgans .*\nmean foreground/);

  // Dice by plain loops over the files.
  const metrics = JSON.parse(await readFile(join(folder, 'metrics.json'), 'utf8')) as Metrics;
  expect(Object.keys(metrics.validation.dice)).toEqual(['background', 'body', 'organs']);
  const wanted: Record<string, number> = {};
  for (const { name, classes } of metrics.test.cases) {
    const [truth, found] = [
      await readNifti(join(data, `labelsTr/${name}.nii.gz`)),
      await readNifti(join(folder, `predictions/${name}.nii.gz`)),
    ];
    for (const [region, labels] of Object.entries(sets)) {
      let [both, either] = [0, 0];
      truth.data.forEach((label, voxel) => {
        if (label === 3) return;
        const [t, p] = [labels.includes(label), labels.includes(found.data[voxel]!)];
        both += Number(t && p);
        either += Number(t) + Number(p);
      });
      wanted[`${name} ${region}`] = (2 * both) / either;
      expect(classes[region]!.dice).toBeCloseTo((2 * both) / either, 9);
    }
  }
  expect(Object.values(wanted).some((dice) => dice > 0)).toBe(true);
  const history = await readFile(join(folder, 'history.csv'), 'utf8');
  expect(history.split('\n')[0]).toContain('dice_background,dice_body,dice_organs');
  const report = await readFile(join(folder, 'report.html'), 'utf8');
  expect(report).toContain('organs');
  expect(report).not.toContain('Confusion matrix');

  const table = join(folder, 'again.csv');
  const [predictions, labels] = [join(folder, 'predictions'), join(data, 'labelsTr')];
  await run('evaluate', predictions, labels, '--only-predicted', '--dataset', data, '--csv', table);
  const rows = (await readFile(table, 'utf8')).trim().split('\n').slice(1);
  for (const row of rows.map((line) => line.split(','))) {
    const [name, , region, dice] = row;
    const told = wanted[`${name!.replace('.nii.gz', '')} ${region}`];
    if (region !== 'background') expect(Number(dice)).toBeCloseTo(told!, 9);
  }
  expect(rows).toHaveLength(3 * metrics.test.cases.length);

  const { description } = await readModel(await readFile(join(folder, 'model.safetensors')));
  expect(description.regions).toEqual([
    { name: 'body', labels: [1, 2], written: 1 },
    { name: 'organs', labels: [2], written: 2 },
  ]);
  const resumed = await run('train', '--out', folder, '--resume');
  expect(resumed.slice(0, resumed.indexOf('Trained'))).toBe(out.slice(0, out.indexOf('Trained')));

  const theirs = join(folder, 'nnunet');
  await run('export', join(folder, 'model.safetensors'), '--to', 'nnunet', '--out', theirs);
  const { labels: read } = await openNnunet((await filesIn(theirs)).files);
  expect([read.regions, read.heads]).toEqual([true, description.regions]);
  const scan = join(data, 'imagesTr/p0_0000.nii.gz');
  const [ours, again] = [join(folder, 'ours.nii.gz'), join(folder, 'theirs.nii.gz')];
  await run('predict', join(folder, 'model.safetensors'), scan, '--out', ours);
  await run('predict', theirs, scan, '--out', again);
  expect([...(await readNifti(again)).data]).toEqual([...(await readNifti(ours)).data]);
  const probabilities = join(folder, 'p.nii.gz');
  await run(
    'predict',
    join(folder, 'model.safetensors'),
    scan,
    '--out',
    probabilities,
    '--output',
    'probabilities',
  );
  expect((await readNifti(probabilities)).shape).toEqual([...shape, 2]);
});

test('the options that speak of classes fit regions, or say why not', async () => {
  const data = await written();
  const out = join(await temporaryFolder(), 'run');
  const refused = async (...more: string[]) => {
    const { exitCode, err } = await cli([
      'train',
      data,
      '--out',
      out,
      '--features',
      '2,4',
      '--dry-run',
      ...more,
    ]);
    expect(exitCode).toBe(2);
    return err;
  };
  expect(await refused('--class-weights', '1,1,1')).toMatch(/2 regions \(body, organs\): give one for each/);
  expect(await refused('--class-weights', '1,1', '--loss', 'ce')).toMatch(/these are regions/);
  expect(await refused('--class-weights', '1,1', '--loss', 'nnunet')).toMatch(/no place in --loss nnunet/);
  await run('train', data, '--out', out, '--features', '2,4', '--dry-run', '--loss', 'nnunet');
  expect(await run('plan', data, '--preset', 'nnunet', '--features', '2,4')).toMatch(
    /2 heads|classes 2|2 classes/,
  );
});

test('one region alone is trained with one head, and so are two classes by a network that has one', async () => {
  const data = await written();
  const file = join(data, 'dataset.json');
  const json = JSON.parse(await readFile(file, 'utf8')) as object;
  const one = { ...json, labels: { background: 0, all: [1, 2], ignore: 3 }, regions_class_order: [1] };
  await writeFile(file, JSON.stringify(one));
  const folder = await temporaryFolder();
  const [first, theirs, second] = ['first', 'theirs', 'second'].map((name) => join(folder, name));
  const options = ['--epochs', '1', '--no-tune', '--split', '50,25,25', '--patch', '12,10,8'];
  const conv = ['--features', '2,4', '--down', 'conv', '--activation', 'leakyRelu', '--spacing', '6,7,8'];
  await run('train', data, '--out', first!, ...options, ...conv);
  const metrics = JSON.parse(await readFile(join(first!, 'metrics.json'), 'utf8')) as Metrics;
  expect(Object.keys(metrics.validation.dice)).toEqual(['background', 'all']);
  const trained = await readFile(join(first!, 'model.safetensors'));
  const { description } = await readModel(trained);
  expect([description.config.classes, description.regions]).toEqual([
    1,
    [{ name: 'all', labels: [1, 2], written: 1 }],
  ]);
  await run('export', first!, '--to', 'nnunet', '--out', theirs!);
  const scan = join(data, 'imagesTr/p0_0000.nii.gz');
  const [ours, again] = [join(folder, 'ours.nii.gz'), join(folder, 'again.nii.gz')];
  await run('predict', first!, scan, '--out', ours);
  await run('predict', theirs!, scan, '--out', again);
  expect([...(await readNifti(again)).data]).toEqual([...(await readNifti(ours)).data]);

  // A network of MONAI's says no more of its one channel.
  const { tensors } = readSafetensors(trained, 'first');
  const bare = join(folder, 'bare.safetensors');
  await writeFile(bare, writeSafetensors({ tensors, metadata: {} }));
  for (let subject = 0; subject < 6; subject++) {
    const path = join(data, `labelsTr/p${subject}.nii.gz`);
    const { shape: size, affine, data: labels } = await readNifti(path);
    const joined = { data: labels.map((value) => (value === 2 ? 1 : value)), shape: size, affine };
    await writeFile(path, await writeNifti(joined, { datatype: 'uint8' }));
  }
  await writeFile(file, JSON.stringify({ ...json, labels: { background: 0, organs: 1, ignore: 3 } }));
  const begun = await cli([
    'train',
    data,
    '--out',
    second!,
    '--init',
    bare,
    ...options,
    '--freeze',
    'encoder',
  ]);
  expect(begun.exitCode === 0 ? '' : begun.err).toBe('');
  expect(begun.err).not.toMatch(/begin anew/);
  const tuned = await readModel(await readFile(join(second!, 'model.safetensors')));
  expect([tuned.description.config.classes, tuned.description.regions]).toEqual([
    1,
    [{ name: 'organs', labels: [1], written: 1 }],
  ]);
});
