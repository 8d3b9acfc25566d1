/** The whole way on tiny phantoms: train, stop, resume, predict, evaluate, draw. */
import { createHash } from 'node:crypto';
import { cp, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseHTML } from 'linkedom';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openDatasetFolder } from '../../src/data/dataset.node.ts';
import { readNifti, writeNifti } from '../../src/data/nifti.ts';
import { prepareCase } from '../../src/data/prepare.ts';
import type { Split } from '../../src/data/split.ts';
import { largestComponents } from '../../src/metrics/components.ts';
import type { EpochRow } from '../../src/train/events.ts';
import { diceCrossEntropy } from '../../src/model/losses.ts';
import { constant } from '../../src/train/schedules.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { readModel, writeModel } from '../../src/weights/model-file.ts';
import { readSafetensors, writeSafetensors } from '../../src/weights/safetensors.ts';
import { cli, phantomDataset, temporaryFolder, type Ran } from './support.ts';

const common = ['--features', '4,8', '--seed', '5', '--subject-pattern', 'Case_(\\d+)'];
const options = [...common, '--epochs', '2'];
let data: string;
let run: string;
let trained: Ran;

beforeAll(async () => {
  data = await phantomDataset(10);
  run = join(await temporaryFolder(), 'run');
  trained = await cli(['train', data, '--out', run, ...options]);
});

/** What `train` prints with --json, line by line. */
const events = ({ out }: Ran): { type: string; [name: string]: unknown }[] =>
  out.split('\n').map((line) => JSON.parse(line) as { type: string });
const read = async (...path: string[]): Promise<string> => readFile(join(...path), 'utf8');
const text = { model: 'model.safetensors', image: ['images', 'Case_03_Week0.nii.gz'] } as const;

describe('train', () => {
  test('names the adapter first, shows every epoch, and ends with the table', () => {
    expect(trained.err).not.toContain('error');
    expect(trained.exitCode).toBe(0);
    expect(trained.err).toMatch(/^GPU: /m);
    expect(trained.err).toMatch(/^epoch 1\/2 {2}loss [\d.]+ {2}validation [\d.]+ .*ETA /m);
    expect(trained.err).toMatch(/^epoch 2\/2 /m);
    expect(trained.out).toMatch(
      /^Best epoch [12] \(smoothed validation Dice\): its mean validation Dice is [\d.]+$/m,
    );
    expect(trained.out).toMatch(/^class +Dice/m);
  });

  test('leaves everything in its folder', async () => {
    const files = await readdir(run);
    const wanted = [
      'checkpoint.safetensors',
      'config.json',
      'progress.png',
      'history.csv',
      'metrics.json',
      'model.safetensors',
      'predictions',
      'report.html',
      'slices.png',
      'split.json',
    ];
    expect(files).toEqual(expect.arrayContaining(wanted));
    expect((await read(run, 'history.csv')).trim().split('\n')).toHaveLength(3);
    const metrics = JSON.parse(await read(run, 'metrics.json')) as { test: { cases: unknown[] } };
    const split = JSON.parse(await read(run, 'split.json')) as { test: { cases: string[] } };
    expect(metrics.test.cases).toHaveLength(split.test.cases.length);
    expect((await readdir(join(run, 'predictions'))).sort()).toEqual(
      split.test.cases.map((id) => `${id}.nii.gz`).sort(),
    );
  });

  test('the figures of the report are those of metrics.json', async () => {
    interface Found {
      postprocessing: Record<
        string,
        { largestComponent: boolean; validationDice: Record<'before' | 'after', number | null> }
      >;
      test: { summary: { classes: Record<string, Record<string, { mean: number | null }>> } };
    }
    const { postprocessing, test: tested } = JSON.parse(await read(run, 'metrics.json')) as Found;
    const { document } = parseHTML(await read(run, 'report.html'));
    const rows = (heading: string): string[][] => {
      const table = [...document.querySelectorAll('table')].find(({ textContent }) =>
        textContent.includes(heading),
      );
      return [...table!.querySelectorAll('tbody tr')].map((row) =>
        [...row.querySelectorAll('td')].map((cell) => (cell.firstChild?.textContent ?? '').trim()),
      );
    };
    const figure = (value: number | null, count = 3) =>
      value === null ? '–' : value.toFixed(count).replace('-', '−');
    const cells = (name: string) => {
      const { dice, iou, hd95, assd, nsd, precision, recall, volumeDifference } =
        tested.summary.classes[name]!;
      const shares = [dice, iou].map((entry) => figure(entry!.mean));
      const distances = [hd95, assd].map((entry) => figure(entry!.mean, 2));
      const others = [nsd, precision, recall].map((entry) => figure(entry!.mean));
      return [...shares, ...distances, ...others, figure(volumeDifference!.mean, 2)];
    };
    const names = Object.keys(tested.summary.classes);
    const table = rows('Excess (ml)');
    expect(table).toHaveLength(names.length + 1);
    names.forEach((name, label) => expect(table[label]!.slice(1)).toEqual(cells(name)));
    const cleaned = names.slice(1).map((name) => {
      const { largestComponent, validationDice } = postprocessing[name]!;
      return [
        figure(validationDice.before, 4),
        figure(validationDice.after, 4),
        largestComponent ? 'yes' : 'no',
      ];
    });
    expect(rows('Largest component only').map((row) => row.slice(1))).toEqual(cleaned);

    // What the model file says is what was adopted, and the hash in the report is that of the file.
    const bytes = await readFile(join(run, text.model));
    const { postprocessing: kept } = (await readModel(bytes)).description;
    const adopted = names.flatMap((name, label) => (postprocessing[name]!.largestComponent ? [label] : []));
    expect(kept).toEqual({ largestComponent: adopted });
    expect(document.querySelector('#repeat code')!.textContent).toBe(
      createHash('sha256').update(bytes).digest('hex'),
    );
    expect(document.querySelector('#repeat')!.textContent).toContain('images/Case_00_Week0.nii.gz');
  });

  test('does not touch a folder that holds a training', async () => {
    const { exitCode, err } = await cli(['train', data, '--out', run, ...options]);
    expect(err).toMatch(/holds a training already.*--resume/);
    expect(exitCode).toBe(2);
  });

  test('--overwrite removes nothing before the new training begins', async () => {
    const out = await temporaryFolder();
    await cp(run, out, { recursive: true });
    const refused = await cli([
      'train',
      data,
      '--out',
      out,
      ...options,
      '--overwrite',
      '--class-weights',
      '1',
    ]);
    expect(refused.exitCode).toBe(2);
    expect((await readdir(out)).sort()).toEqual((await readdir(run)).sort());
  });

  test('stopped in the middle it leaves with 130, and resumed it ends with the same weights', async () => {
    const out = join(await temporaryFolder(), 'run');
    const stop = new AbortController();
    const stopped = await cli(['train', data, '--out', out, ...options, '--json'], {
      signal: stop.signal,
      onLine: (line) => {
        if (line.includes('"type":"step"') && line.includes('"step":1,')) stop.abort();
      },
    });
    expect(stopped.exitCode).toBe(130);
    expect(stopped.err).toMatch(
      /stopped after step \d+ of 8; resume to go on\nGo on with: unet3d-gpu train --out .*run --resume$/,
    );
    expect(await readdir(out)).not.toContain(text.model);

    const resumed = await cli(['train', '--out', out, '--resume', '--json']);
    expect(resumed.exitCode).toBe(0);
    const start = events(resumed).find(({ type }) => type === 'start');
    expect(start?.['step']).toBeGreaterThan(0);
    expect(await readFile(join(out, text.model))).toEqual(await readFile(join(run, text.model)));
    expect((await read(out, 'history.csv')).trim().split('\n')).toHaveLength(3);
  });

  test('patches, folds, losses, optimisers and schedules can be chosen; without a test part validation is shown', async () => {
    const out = join(await temporaryFolder(), 'run');
    const ran = await cli([
      ...['train', data, '--out', out, '--features', '4,8', '--epochs', '1', '--batch-size', '3', '--json'],
      ...['--subject-pattern', 'Case_(\\d+)', '--fold', '2/5', '--patch', '4,6,4', '--oversample', '1'],
      ...['--loss', 'dice', '--class-weights', '0.05,0.1,0.14,0.19,0.24,0.28', '--norm', 'batch'],
      ...['--optimizer', 'sgd', '--schedule', 'poly', '--learning-rate', '0.02', '--clip', '12'],
      ...['--ema', '0.9', '--early-stopping', '4', '--on-not-finite', 'skip'],
    ]);
    expect(ran.err).toMatch(/Patches 4 x 6 x 4 voxels; 1 epochs of 3 steps/);
    expect(ran.exitCode).toBe(0);
    const result = events(ran).at(-1)!;
    expect(result).toMatchObject({ type: 'result', part: 'validation', out });
    expect(result['dice']).toHaveLength(6);
    // Of validation, there is what training said of it, and what the test of its cases says.
    expect(JSON.parse(await read(out, 'metrics.json'))).toMatchObject({
      validation: {
        meanForegroundDice: expect.any(Number) as number,
        dice: {},
        summary: { cases: 2 },
        cases: [{}, {}],
      },
    });
    const config = JSON.parse(await read(out, 'config.json')) as { training: Record<string, unknown> };
    expect(config.training).toMatchObject({
      size: [4, 6, 4],
      schedule: { name: 'poly', learningRate: 0.02 },
      optimizer: { kind: 'sgd' },
      ema: { decay: 0.9 },
      earlyStopping: { patience: 4 },
      onNotFinite: 'skip',
    });
  });

  test('validates on the windows that the library takes', async () => {
    const out = join(await temporaryFolder(), 'run');
    const short = [...common, '--epochs', '1', '--patch', '4,6,4'];
    const ran = await cli(['train', data, '--out', out, ...short, '--json']);
    const { row } = events(ran).find(({ type }) => type === 'epoch') as unknown as { row: EpochRow };
    using model = await UNet3D.load(await readFile(join(out, text.model)));
    const split = JSON.parse(await read(out, 'split.json')) as Split;
    const { cases } = await openDatasetFolder(data);
    const validation = await Promise.all(
      cases
        .filter(({ id }) => split.validation.cases.includes(id))
        .map((item) => prepareCase(item, model.description.preprocessing!)),
    );
    const { history } = await model.fit(validation, {
      epochs: 1,
      patch: [4, 6, 4],
      validation,
      loss: diceCrossEntropy(),
      schedule: constant({ learningRate: 0 }), // the weights stay
    });
    const { validationLoss, validationDice } = row;
    expect(history[0]).toMatchObject({ validationLoss, validationDice });
  });

  test('trains on all cases where the split says so, and on none never', async () => {
    const out = join(await temporaryFolder(), 'run');
    const few = ['train', data, '--out', out, ...common, '--epochs', '1', '--limit-cases', '2'];
    const none = await cli([...few, '--split', '0,100,0']);
    expect(none.err).toContain('no case to train on');
    expect(none.exitCode).toBe(2);
    const all = await cli([...few, '--split', '100,0,0']);
    expect(all.out).toContain('nothing was left to test on');
    expect(all.exitCode).toBe(0);
    expect(await readdir(out)).toEqual(
      expect.arrayContaining([text.model, 'history.csv', 'metrics.json', 'report.html']),
    );
    expect(await readdir(out)).not.toContain('slices.png');
    expect(await read(out, 'report.html')).not.toMatch(/id="(results|cases)"/);
    // It has come to its end: nothing is read or trained again.
    const again = await cli([...few, '--split', '100,0,0', '--continue']);
    expect(again.err).toBe(`The training in ${out} is done.`);
    expect(again.exitCode).toBe(0);
  });

  test('refuses to resume from a damaged config.json, naming path, value and remedy', async () => {
    const out = await temporaryFolder();
    const whole = JSON.parse(await readFile(join(run, 'config.json'), 'utf8')) as {
      arguments: { options: object };
      training: object;
    };
    const { arguments: kept, training } = whole;
    for (const [damaged, message] of [
      ['{', /is not valid JSON/],
      [{ training }, /arguments is missing; expected/],
      [
        { ...whole, training: { ...training, batchSize: 0 } },
        /training\.batchSize is 0; expected a whole number/,
      ],
      [
        { ...whole, training: { ...training, patch: [8, 8] } },
        /training\.patch\[2\] is missing; expected a whole number/,
      ],
      [
        { ...whole, arguments: { ...kept, options: { ...kept.options, rate: 1 } } },
        /"rate", which is no option/,
      ],
      ...(
        [
          ['epochs', -1, /epochs is -1; Give a whole number from 1 on/],
          ['features', ['4'], /features is \["4"\]; expected it as train writes it, such as \[4\]/],
          ['schedule', 'x', /schedule is "x"; Allowed choices are onecycle, /],
          ['learningRate', null, /learningRate is null; expected a value of an option/],
          ['deepSupervision', 1, /deepSupervision is 1; expected true or false/],
          ['images', 1, /images is 1; expected a text/],
          ['out', '/', /"out", which is no option/],
        ] as const
      ).map(
        ([option, value, message]) =>
          [
            { ...whole, arguments: { ...kept, options: { ...kept.options, [option]: value } } },
            message,
          ] as const,
      ),
    ] as const) {
      const text = typeof damaged === 'string' ? damaged : JSON.stringify(damaged);
      await writeFile(join(out, 'config.json'), text);
      const { err, exitCode } = await cli(['train', '--out', out, '--resume']);
      expect(err).toMatch(/config\.json is damaged: .*train again with --overwrite/);
      expect(err).toMatch(message);
      expect(exitCode).toBe(1);
    }
  });

  test('refuses to resume with other options, which changes nothing, or without a checkpoint', async () => {
    const files = () => Promise.all(['config.json', 'split.json'].map((name) => readFile(join(run, name))));
    const before = await files();
    const other = await cli(['train', '--out', run, '--resume', '--learning-rate', '0.001']);
    expect(other.err).toMatch(
      /checkpoint is of another training: schedule\.maxLearningRate was [\d.]+ and is 0\.001;/,
    );
    expect(other.exitCode).toBe(1);
    for (const option of [
      ['--split', '60,20,20'],
      ['--fold', '1/5'],
    ]) {
      const { err, exitCode } = await cli(['train', '--out', run, '--resume', ...option]);
      expect(err).toMatch(
        new RegExp(`goes on with the split\\.json that lies there: leave ${option[0]} out`),
      );
      expect(exitCode).toBe(2);
    }
    for (const option of [
      ['--init', join(run, text.model)],
      ['--init-heads', 'new'],
      ['--initial-weights', 'he'],
    ]) {
      const { err, exitCode } = await cli(['train', '--out', run, '--resume', ...option]);
      expect(err).toMatch(
        new RegExp(`${option[0]} .* goes on with its own: leave ${option[0]} out, or train anew`),
      );
      expect(exitCode).toBe(2);
    }
    for (const option of [
      ['--spacing', '2,3,4'],
      ['--preprocessing', 'nnunet'],
      ['--decide-from', 'all'],
    ]) {
      const { err, exitCode } = await cli(['train', '--out', run, '--resume', ...option]);
      const [flag, value] = option;
      expect(err).toMatch(
        new RegExp(`${flag} is ${value}, but .* as when it began, with .*: leave ${flag} out`),
      );
      expect(exitCode).toBe(2);
    }
    expect(await files()).toEqual(before);
    const none = await cli(['train', data, '--out', await temporaryFolder(), '--resume']);
    expect(none.err).toContain('no training to resume');
    expect(none.exitCode).toBe(2);
  });

  test('goes on with the voxels, classes and unknown voxels that it began with, and refuses others', async () => {
    const split = JSON.parse(await read(run, 'split.json')) as Split;
    const changed = async (id: string, change: (values: Float32Array) => void): Promise<string> => {
      const other = await temporaryFolder();
      await cp(data, other, { recursive: true });
      const file = join(other, 'labels', `${id}.nii.gz`);
      const volume = await readNifti(await readFile(file));
      const values = Float32Array.from(volume.data);
      change(values);
      await writeFile(file, await writeNifti({ ...volume, data: values }));
      return other;
    };
    const before = await read(run, 'config.json');
    const resume = (...words: string[]) => cli(['train', '--out', run, '--resume', ...words]);
    const learnt = split.validation.cases[0]!;
    const corrected = await changed(learnt, (values) => void (values[0] = 1 - values[0]!));
    const others = await resume(corrected);
    expect(others.err).toMatch(
      new RegExp(
        `1 case\\(s\\) have other voxels or spacing than when the training in .* began: "${learnt}"; give`,
      ),
    );
    expect(others.exitCode).toBe(1);
    expect(others.err).toContain(`train anew in another folder (--init ${run} goes on from its weights)`);
    // Stopped before it had a model, there is none to go on from.
    const stopped = await temporaryFolder();
    await cp(run, stopped, { recursive: true, filter: (path) => !path.endsWith(text.model) });
    expect((await cli(['train', corrected, '--out', stopped, '--resume'])).err).toMatch(
      /; give it those again, or train anew in another folder\.$/m,
    );
    for (const [option, value, told] of [
      [
        '--class-names',
        'background,b,c,d,e,f',
        /The data have the classes background, b, c, .* began with the classes/,
      ],
      ['--ignore', '255', /value 255 of unknown voxels, but the training/],
    ] as const) {
      const { err, exitCode } = await resume(data, option, value, '--dry-run');
      expect(err).toMatch(told);
      expect(exitCode).toBe(1);
    }
    // The same elsewhere, or with the label of a test case corrected.
    const tested = await changed(split.test.cases[0]!, (values) => void (values[0] = 1 - values[0]!));
    const { err, exitCode } = await resume(tested, '--dry-run');
    expect(exitCode, err).toBe(0);
    expect(await read(run, 'config.json')).toBe(before);
  });

  test('goes on with cases prepared as they were, whatever the data say by now', async () => {
    const out = await temporaryFolder();
    await cp(run, out, { recursive: true });
    const file = join(out, 'config.json');
    type Config = { preprocessing: { spacing: number[] } };
    const kept = async () => JSON.parse(await readFile(file, 'utf8')) as Config;
    const config = await kept();
    const spacing = config.preprocessing.spacing.map((mm) => 1.03 * mm); // as many voxels
    await writeFile(file, JSON.stringify({ ...config, preprocessing: { ...config.preprocessing, spacing } }));
    // Said as it was, in millimetres or by its kind, it is no other.
    for (const said of [[spacing.join(), '--dry-run'], ['median']]) {
      const { err, exitCode } = await cli(['train', '--out', out, '--resume', '--spacing', ...said]);
      expect(err).toMatch(/volumes are resampled to the spacing that the training began with, /);
      expect(exitCode, err).toBe(0);
    }
    expect((await kept()).preprocessing.spacing).toEqual(spacing);
    const { description } = await readModel(await readFile(join(out, text.model)));
    expect(description.preprocessing!.spacing).toEqual(spacing);
  });

  test('--dry-run prints the plan and draws the first batch and its augmentation', async () => {
    const out = await temporaryFolder();
    const augment = ['--augment', 'nnunet', '--mirror', 'x,y'];
    const ran = await cli(['train', data, '--out', out, ...options, ...augment, '--dry-run']);
    expect(ran.exitCode).toBe(0);
    expect(ran.out).toContain('augment/resample');
    expect(ran.out).toContain('largest tensors');
    expect((await readdir(out)).sort()).toEqual(['augmentation.png', 'batch.png']);
    expect(ran.err).toMatch(/2 epochs of 4 steps; .* per step$/m);
    const sides = ['--class-names', 'background,a,b,c,d,left e', '--augment', 'nnunet', '--dry-run'];
    sides.push('--accumulate', '3');
    const sided = await cli(['train', data, '--out', await temporaryFolder(), ...options, ...sides]);
    expect(sided.err).toMatch(
      /^The class "left e" tells left from right: nothing is mirrored along x; with --mirror/m,
    );
    expect(sided.err).toMatch(/2 epochs of 2 steps; .* per batch$/m); // of three batches, then of one
    const flat = ['--augment', 'nnunet', '--mirror', 'none', '--tta'];
    const refused = await cli(['train', data, '--out', out, ...options, ...flat, '--dry-run']);
    expect(refused.err).toMatch(/--tta flips along the axes that training mirrors, and here it mirrors none/);
    expect(refused.exitCode).toBe(2);
    const json = await cli(['train', data, '--out', out, ...options, '--dry-run', '--json']);
    expect(events(json)).toEqual([expect.objectContaining({ type: 'plan', size: [8, 8, 8], batch: 2, out })]);
    expect(json.err).toContain('The first batch is drawn in');
  });

  test.each([
    [['--mirror', 'x'], /--mirror x is what --augment mirrors, and that is none: give --augment nnunet, too/],
    [['--resume', '--overwrite'], /--resume' cannot be used with option '--overwrite'/],
    [['--init-fold', '1'], /--init-fold 1 is one of several folds of a model: give that model with --init/],
  ])('refuses %j', async (args, message) => {
    const out = join(await temporaryFolder(), 'run');
    const { err, exitCode } = await cli(['train', data, '--out', out, ...args]);
    expect(err).toMatch(message);
    expect(exitCode).toBe(2);
  });

  test('what lies below --out is no part of the data', async () => {
    const own = await phantomDataset(3);
    const out = join(own, 'run');
    await cp(join(own, 'labels'), join(out, 'predictions'), { recursive: true });
    const few = ['--split', '67,33,0', '--features', '2', '--dry-run'];
    const ran = await cli(['train', own, '--out', out, ...few]);
    expect(ran.err).toContain('2 cases to train on, 1 to validate, 0 to test');
    expect(ran.exitCode, ran.err).toBe(0);
  });
});

describe('predict', () => {
  test('a file: labels on its own grid', async () => {
    const out = join(await temporaryFolder(), 'labels.nii.gz');
    const image = join(data, ...text.image);
    expect((await cli(['predict', run, image, '--out', out])).exitCode).toBe(0);
    const [source, labels] = [await readNifti(image), await readNifti(out)];
    expect(labels.shape).toEqual(source.shape);
    expect(labels.affine).toEqual(source.affine);
    expect(Math.max(...labels.data)).toBeLessThan(6);
  });

  test('a folder: file names are kept, and one bad file does not stop the others', async () => {
    const [inputs, out] = [await temporaryFolder(), await temporaryFolder()];
    await cp(join(data, ...text.image), join(inputs, 'a.nii.gz'));
    await writeFile(join(inputs, 'b.nii'), 'hello');
    await cp(join(data, ...text.image), join(inputs, 'c.nii.gz'));
    const volume = await readNifti(join(inputs, 'a.nii.gz'));
    volume.data.set([NaN, Infinity], 7);
    await writeFile(join(inputs, 'd.nii'), await writeNifti(volume, { gzip: false }));
    const two = { data: new Uint8Array(2 * 512), shape: [8, 8, 8, 2], affine: volume.affine };
    await writeFile(join(inputs, 'e.nii'), await writeNifti(two, { gzip: false }));
    const ran = await cli(['predict', join(run, text.model), inputs, '--out', out]);
    expect(ran.err).toMatch(/error: .*b\.nii.*not a NIfTI file/);
    expect(ran.err).toMatch(/error: .*d\.nii: 2 of 512 voxels are NaN or infinite/);
    expect(ran.err).toMatch(/error: .*e\.nii.*has 2 channel\(s\)/);
    expect(ran.err).toMatch(/3 of 5 volumes could not be segmented: b, d, e/);
    expect(ran.exitCode).toBe(1);
    expect(await readdir(out)).toEqual(['a.nii.gz', 'c.nii.gz']);
    expect(await readFile(join(out, 'a.nii.gz'))).toEqual(await readFile(join(out, 'c.nii.gz')));
  });

  test('probabilities add up to 1, and their largest is the label', async () => {
    const folder = await temporaryFolder();
    const image = join(data, ...text.image);
    for (const output of ['labels', 'probabilities', 'logits'])
      await cli(['predict', run, image, '--output', output, '--out', join(folder, `${output}.nii`)]);
    const labels = await readNifti(join(folder, 'labels.nii'));
    const probabilities = await readNifti(join(folder, 'probabilities.nii'));
    const logits = await readNifti(join(folder, 'logits.nii'));
    expect(probabilities.shape).toEqual([8, 8, 8, 6]);
    expect(logits.shape).toEqual([8, 8, 8, 6]);
    for (let voxel = 0; voxel < 512; voxel++) {
      const shares = Array.from({ length: 6 }, (_, label) => probabilities.data[label * 512 + voxel]!);
      expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
      expect(shares.indexOf(Math.max(...shares))).toBe(labels.data[voxel]);
    }
  });

  test('flips and post-processing can be chosen', async () => {
    const folder = await temporaryFolder();
    const image = join(data, ...text.image);
    const bytes = await readFile(join(run, text.model));
    const { description, weights } = await readModel(bytes);
    const cleaning = { ...description, postprocessing: { largestComponent: [1, 2, 3, 4, 5] } };
    await writeFile(join(folder, text.model), await writeModel(cleaning, weights));
    const labels = async (name: string, ...more: string[]) => {
      const out = join(folder, name);
      expect((await cli(['predict', folder, image, '--out', out, ...more])).exitCode).toBe(0);
      return readNifti(out);
    };
    const [cleaned, plain] = [await labels('a.nii'), await labels('b.nii', '--no-postprocess')];
    expect([...cleaned.data]).toEqual([...largestComponents(plain.data, plain.shape)]);
    const flipped = await labels('c.nii', '--no-postprocess', '--tta', '--mirror-axes', 'x,z');
    expect(flipped.shape).toEqual(plain.shape);
    const wrong = await cli(['predict', folder, image, '--out', join(folder, 'd.nii'), '--mirror-axes', 'w']);
    expect(wrong.err).toContain('Give some of x, y and z');
    expect(wrong.exitCode).toBe(2);
    const logits = ['predict', folder, image, '--out', join(folder, 'e.nii'), '--output', 'logits', '--tta'];
    expect((await cli(logits)).err).toContain('averages probabilities, not logits');
  });

  test('refuses a model of a newer version, and a checkpoint', async () => {
    const folder = await temporaryFolder();
    const { tensors, metadata } = readSafetensors(await readFile(join(run, text.model)));
    const description = metadata['unet3d-gpu']!.replace(/"format":\d+/, '"format":9');
    const newerModel = writeSafetensors({ tensors, metadata: { 'unet3d-gpu': description } });
    await writeFile(join(folder, text.model), newerModel);
    const image = join(data, ...text.image);
    const newer = await cli(['predict', folder, image, '--out', join(folder, 'x.nii')]);
    expect(newer.err).toMatch(/error: .*format 9.*update unet3d-gpu/);
    const checkpoint = join(run, 'checkpoint.safetensors');
    const wrong = await cli(['predict', checkpoint, image, '--out', join(folder, 'x.nii')]);
    expect(wrong.err).toMatch(/checkpoint of a training, not a model/);
    expect([newer.exitCode, wrong.exitCode]).toEqual([1, 1]);
  });

  test('tells how many windows there are, and refuses overlaps and names that make no sense', async () => {
    const folder = await temporaryFolder();
    const to = (name: string, ...more: string[]) =>
      cli(['predict', run, join(data, ...text.image), '--out', join(folder, name), ...more]);
    const many = await to('a.nii.gz', '--window', '3,3,3');
    expect(many.err).toMatch(/Case_03_Week0\.nii\.gz goes through 27 windows of \d+ x \d+ x \d+ voxels/);
    expect(many.exitCode).toBe(0);
    expect((await to('b.nii.gz', '--window', '8,8,8')).err).not.toContain('windows');
    for (const [name, more, message] of [
      ['c.nii.gz', ['--overlap', '1.5'], 'up to, not including, 1'],
      ['a.png', [], /a\.png ends in \.png: give a \.nii or \.nii\.gz/],
    ] as const) {
      const refused = await to(name, ...more);
      expect(refused.err).toMatch(message);
      expect(refused.err).not.toContain('GPU:');
      expect(refused.exitCode).toBe(2);
    }
    expect((await readdir(folder)).sort()).toEqual(['a.nii.gz', 'b.nii.gz']);
  });

  test('never writes over its input', async () => {
    const image = join(data, ...text.image);
    const ran = await cli(['predict', run, image, '--out', join(data, text.image[0])]);
    expect(ran.err).toContain('would overwrite its input');
    expect(ran.exitCode).toBe(2);
  });
});

describe('evaluate and render', () => {
  test('the truth against itself has Dice 1 and distance 0', async () => {
    const labels = join(data, 'labels');
    const folder = await temporaryFolder();
    const csv = join(folder, 'metrics.csv');
    const ran = await cli(['evaluate', labels, labels, '--json', '--csv', csv]);
    expect(ran.exitCode).toBe(0);
    const { summary } = JSON.parse(ran.out) as {
      summary: { cases: number; foreground: Record<string, { mean: number }> };
    };
    expect(summary.cases).toBe(10);
    expect(summary.foreground['dice']?.mean).toBe(1);
    expect(summary.foreground['hd95']?.mean).toBe(0);
    expect((await read(csv)).trim().split('\n')).toHaveLength(1 + 10 * 6);
  });

  test('the figures of metrics.json are those of evaluate on the predictions', async () => {
    const truths = await temporaryFolder();
    const predictions = join(run, 'predictions');
    for (const name of await readdir(predictions)) await cp(join(data, 'labels', name), join(truths, name));
    const ran = await cli(['evaluate', predictions, truths, '--classes', '6', '--json']);
    const { summary } = JSON.parse(ran.out) as { summary: { foreground: unknown } };
    const metrics = JSON.parse(await read(run, 'metrics.json')) as {
      test: { summary: { foreground: unknown } };
    };
    expect(metrics.test.summary.foreground).toEqual(summary.foreground);
  });

  test.each([
    ['png', [0x89, 0x50, 0x4e, 0x47]],
    ['gif', [0x47, 0x49, 0x46, 0x38]],
  ])('draws a %s', async (ending, magic) => {
    const out = join(await temporaryFolder(), `case.${ending}`);
    const [image, labels] = ['images', 'labels'].map((kind) => join(data, kind, text.image[1]));
    const ran = await cli(['render', image!, '--labels', labels!, '--out', out]);
    expect(ran.exitCode).toBe(0);
    expect([...(await readFile(out)).subarray(0, 4)]).toEqual(magic);
  });
});

describe('render counts slices from 1', () => {
  test.each([
    ['9', 'png', /--slice is 9, but .*Case_03_Week0\.nii\.gz has 8 axial slices: give one from 1 to 8/],
    ['3', 'gif', /--slice is 3, but a GIF walks through all slices/],
  ])('--slice %s into a %s', async (slice, ending, message) => {
    const out = join(await temporaryFolder(), `case.${ending}`);
    const ran = await cli(['render', join(data, ...text.image), '--slice', slice, '--out', out]);
    expect(ran.err).toMatch(message);
    expect(ran.exitCode).toBe(2);
  });

  test('the last slice is there', async () => {
    const out = join(await temporaryFolder(), 'case.png');
    expect((await cli(['render', join(data, ...text.image), '--slice', '8', '--out', out])).exitCode).toBe(0);
  });
});

describe('info', () => {
  const before = process.env['UNET3D_ADAPTER'];
  afterEach(() => {
    if (before === undefined) delete process.env['UNET3D_ADAPTER'];
    else process.env['UNET3D_ADAPTER'] = before;
  });

  test('prints adapter, limits, features and versions', async () => {
    const { exitCode, out } = await cli(['info', '--json']);
    expect(exitCode).toBe(0);
    const info = JSON.parse(out) as Record<string, Record<string, unknown>>;
    expect(info['adapter']?.['describe']).toBeTruthy();
    expect(info['limits']?.['maxStorageBufferBindingSize']).toBeGreaterThanOrEqual(2 ** 27);
    expect(info['versions']?.['node']).toBe(process.versions.node);
  });

  test('without an adapter it says what to do and leaves with 1', async () => {
    process.env['UNET3D_ADAPTER'] = 'no such adapter';
    const { exitCode, err } = await cli(['info']);
    expect(err).toMatch(/^error: /);
    expect(err).not.toMatch(/^\s+at /m);
    expect(exitCode).toBe(1);
  });
});
