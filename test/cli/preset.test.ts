/** `train --preset pelvis-mr` on phantoms in the layout of the study's files. */
import { mkdir, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { readNifti } from '../../src/data/nifti.ts';
import { phantomLabels } from '../../src/data/phantom.ts';
import type { Split } from '../../src/data/split.ts';
import { cli, temporaryFolder, writePhantom, type Ran } from './support.ts';

let data: string;
let run: string;
let trained: Ran;
const images = (): string => join(data, 'semantic_MRs_anon');
const labels = (): string => join(data, 'semantic_labels_anon');
const json = async <T>(name: string): Promise<T> => JSON.parse(await readFile(join(run, name), 'utf8')) as T;

// Seven subjects, every other one with a second visit of 14 slices in place of 12.
beforeAll(async () => {
  data = await temporaryFolder();
  run = join(data, '.run');
  for (const folder of [images(), labels()]) await mkdir(folder);
  for (let subject = 0; subject < 7; subject++)
    for (let week = 0; week <= subject % 2; week++) {
      const name = `Case_${String(subject).padStart(3, '0')}_Week${week}`;
      const [image, label] = [`${name}_LFOV.nii.gz`, `${name}_SEMANTIC_LFOV.nii.gz`];
      const shape = [16, 16, 12 + 2 * week] as const;
      await writePhantom(subject, { shape }, join(images(), image), join(labels(), label));
    }
  const overrides = ['--patch', '16,16,12', '--features', '4,8', '--epochs', '1'];
  trained = await cli(['train', data, '--out', run, '--preset', 'pelvis-mr', ...overrides]);
});

describe('train --preset pelvis-mr', () => {
  test('takes the recipe where no option says otherwise, and config.json records it', async () => {
    expect(trained.err).not.toMatch(/^(error|warning):/m);
    expect(trained.exitCode).toBe(0);
    expect(trained.err).toContain('Patches 16 x 16 x 12 voxels; 1 epochs');
    interface Config {
      command: string;
      network: object;
      training: { loss: { diceWeights: number[] } };
      preprocessing: object;
      labels: string[];
      arguments: { options: object };
    }
    const config = await json<Config>('config.json');
    expect(config.network).toMatchObject({ classes: 6, features: [4, 8], norm: 'batch' });
    expect(config.training).toMatchObject({
      epochs: 1,
      batchSize: 2,
      patch: [16, 16, 12],
      placement: 'centre',
      loss: { name: 'weightedDice' },
      optimizer: { kind: 'adam' },
      schedule: { name: 'oneCycle', maxLearningRate: 0.01, finalDivFactor: 1e5 },
    });
    expect(config.training.loss.diceWeights.map((weight) => weight * 21)).toEqual(
      [1, 2, 3, 4, 5, 6].map((weight) => expect.closeTo(weight, 10) as number),
    );
    expect(config.preprocessing).toMatchObject({ spacing: null });
    expect(config.labels).toEqual([...phantomLabels]);
    expect(config.arguments.options).toMatchObject({ preset: 'pelvis-mr', split: '70,15,15' });
    expect(config.command).toContain('--preset pelvis-mr');
    // What the steps were given, as the checkpoint tells two trainings apart.
    expect(await readFile(join(run, 'checkpoint.safetensors'), 'latin1')).toMatch(/placement\W+centre/);
  });

  test('keeps the visits of a subject in one part, from the folder and from both folders', async () => {
    const split = await json<Split>('split.json');
    const parts = [split.train, split.validation, split.test].map(({ cases }) => cases);
    const subjects = parts.map((ids) => [...new Set(ids.map((id) => id.slice(0, 'Case_000'.length)))]);
    expect(parts.flat()).toHaveLength(10);
    expect(new Set(subjects.flat()).size).toBe(7);
    expect(subjects.flat()).toHaveLength(7);
    expect(subjects[0]).toHaveLength(5);
    const pattern = ['--subject-pattern', 'Case_(\\d+)_Week\\d+_LFOV'];
    const pair = await cli(['split', '--images', images(), '--labels', labels(), ...pattern, '--json']);
    expect(JSON.parse(pair.out)).toEqual(split);
  });

  test('names the classes in metrics.json', async () => {
    interface Metrics {
      test: { summary: { classes: object } };
    }
    const metrics = await json<Metrics>('metrics.json');
    expect(Object.keys(metrics.test.summary.classes)).toEqual([...phantomLabels]);
  });

  test('predicts all slices, also those that training trims away', async () => {
    for (const name of await readdir(join(run, 'predictions'))) {
      const [image, labels] = [join(images(), name), join(run, 'predictions', name)];
      expect((await readNifti(labels)).shape).toEqual((await readNifti(image)).shape);
    }
    const out = join(run, 'labels.nii.gz');
    await cli(['predict', run, join(images(), 'Case_001_Week1_LFOV.nii.gz'), '--out', out]);
    expect((await readNifti(out)).shape).toEqual([16, 16, 14]);
  });

  test('keeps the visits of a subject in one part of each fold, too', async () => {
    const out = join(data, '.folds');
    const few = ['--patch', '16,16,12', '--features', '4,8', '--dry-run'];
    const ran = await cli(['train', data, '--out', out, '--preset', 'pelvis-mr', '--folds', 'all', ...few]);
    expect(ran.exitCode, ran.err).toBe(0);
    expect(ran.err).toMatch(/10 cases are divided into 5 folds by subjects/);
    const split = JSON.parse(await readFile(join(out, 'fold_0/split.json'), 'utf8')) as Split;
    expect(ran.err).toContain(
      `${split.train.cases.length} cases to train on, ${split.validation.cases.length} to validate, 0 to test`,
    );
  });

  test('refuses names that do not fit the number of classes', async () => {
    const args = ['train', data, '--out', join(data, '.other'), '--preset', 'pelvis-mr'];
    const ran = await cli([...args, '--classes', '3']);
    expect(ran.err).toMatch(/6 classes have names \(background, body, .*--classes is 3/);
    expect(ran.exitCode).toBe(1);
  });
});
