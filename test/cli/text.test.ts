/** Values of options and text for people. */
import { describe, expect, test } from 'vitest';
import * as parse from '../../src/cli/parse.ts';
import { HistoryWriter } from '../../src/cli/history-writer.ts';
import type { RunFolder } from '../../src/cli/run-folder.ts';
import { historyCsv } from '../../src/train/history.ts';
import { commandLine } from '../../src/cli/results.ts';
import { defaultEpochs } from '../../src/cli/recipe.ts';
import { patchTip } from '../../src/cli/train-settings.ts';
import { bar, table, toJson } from '../../src/cli/text.ts';

describe('options', () => {
  test.each([
    ['134217728', 2 ** 27],
    ['128MiB', 2 ** 27],
    ['1.5 GiB', 1.5 * 2 ** 30],
    ['2MB', 2e6],
    ['0.5kb', 500],
  ])('%s is %d bytes', (text, bytes) => expect(parse.bytes(text)).toBe(bytes));

  test('shares are fractions or percentages', () => {
    expect(parse.fractions('70,15,15')).toEqual([0.7, 0.15, 0.15]);
    expect(parse.fractions('0.8/0.1/0.1')).toEqual([0.8, 0.1, 0.1]);
    expect(() => parse.fractions('70,15,20')).toThrow(/add up to 105/);
  });

  test('folds count from 1', () => {
    expect(parse.fold('5/5')).toEqual({ fold: 4, folds: 5 });
    expect(() => parse.fold('0/5')).toThrow();
  });

  test('a pattern needs exactly one group', () => {
    expect(parse.pattern('Case_(\\d+)').exec('Case_004_Week0')?.[1]).toBe('004');
    expect(() => parse.pattern('(a)(b)')).toThrow(/one group/);
    expect(() => parse.pattern('(')).toThrow();
  });

  test('one spacing serves all axes', () => {
    expect(parse.spacing('0.5')).toEqual([0.5, 0.5, 0.5]);
    expect(() => parse.spacing('1,0,1')).toThrow(/millimetres/i);
  });
});

describe('text', () => {
  test('a bar never leaves its frame', () => {
    expect([-1, 0, 0.5, 1, 2].map((share) => bar(share, 4))).toEqual([
      '[....]',
      '[....]',
      '[##..]',
      '[####]',
      '[####]',
    ]);
  });

  test('a table aligns its columns', () => {
    expect(
      table([
        ['class', 'Dice'],
        ['a', '0.5'],
        ['longer', '1'],
      ]),
    ).toEqual(['class   Dice', '------------', 'a        0.5', 'longer     1']);
  });

  test('JSON has null for what is not a number', () => {
    expect(toJson({ a: NaN, b: [Infinity, 1] })).toBe('{"a":null,"b":[null,1]}');
  });

  test('a command line can be typed again', () => {
    expect(commandLine(['train', 'my data', '--subject-pattern', "it's (\\d)"])).toBe(
      String.raw`unet3d-gpu train 'my data' --subject-pattern 'it'\''s (\d)'`,
    );
  });
});

test('history.csv has one line per epoch and empty cells for what was not measured', () => {
  const row = {
    epoch: 0,
    loss: 0.5,
    validationLoss: NaN,
    smoothedDice: NaN,
    learningRate: 0.01,
    seconds: 1.5,
    validationDice: [],
  };
  const rows = [
    row,
    { ...row, epoch: 1, validationLoss: 0.25, validationDice: [0.9, NaN], smoothedDice: 0.75 },
    // As with --loss nnunet, whose Dice counts below 0.
    { ...row, epoch: 2, loss: -0.725, validationLoss: -1e-7 },
  ];
  expect(historyCsv(rows, ['background', 'left lung']).split('\n')).toEqual([
    'epoch,loss,validation_loss,dice_background,dice_left_lung,smoothed_dice,learning_rate,seconds',
    '1,0.5,,,,,0.01,1.500',
    '2,0.5,0.25,0.9,,0.75,0.01,1.500',
    '3,-0.725,-1e-7,,,,0.01,1.500',
    '',
  ]);
});

test('what a training could not write when it began is told, and written when it has ended', async () => {
  const told: string[] = [];
  const writer = new HistoryWriter({} as RunFolder, { labels: [] }, '', { err: (line) => told.push(line) });
  let tries = 0;
  writer.next(async () => {
    tries++;
    if (tries < 2) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', path: 'run/config.json' });
    return Promise.resolve();
  });
  await writer.settled();
  expect(told).toEqual([
    'warning: cannot write config.json and split.json (run/config.json: the disk is full); this is tried again when the training has ended',
  ]);
  for (let times = 0; times < 2; times++) await writer.done();
  expect(tries).toBe(2);
  writer.next(() => Promise.reject(new Error('still full')));
  await expect(writer.done()).rejects.toThrow('still full');
});

test('columns of history.csv keep letters of any script, and are told apart', () => {
  const row = { epoch: 0, loss: 0.5, validationLoss: 0.5, smoothedDice: 0.5, learningRate: 0.01, seconds: 1 };
  const [head] = historyCsv(
    [{ ...row, validationDice: [1, 1, 1, 1, 1] }],
    ['background', '肝', 'печень', 'left lung', 'left/lung'],
  ).split('\n');
  expect(head).toContain('dice_background,dice_肝,dice_печень,dice_left_lung_3,dice_left_lung_4,');
});

test('patches of the median size are proposed where whole volumes are mostly padding', () => {
  const small = [30, 30, 10] as const;
  const tip = patchTip([small, small, [100, 40, 20]], [100, 40, 24], [8, 8, 8]);
  expect(tip).toMatch(/median case fills 9 % of that.*--patch 32,32,16 would/);
  expect(patchTip([small, small], [32, 32, 16], [8, 8, 8])).toBeUndefined();
});

test('default epochs give about 600 steps within their bounds', () => {
  expect(defaultEpochs(143, 2)).toBe(8);
  expect(defaultEpochs(30, 2)).toBe(40);
  expect(defaultEpochs(1000, 2)).toBe(8);
  expect(defaultEpochs(2, 2)).toBe(200);
  expect(defaultEpochs(8, 2, 20)).toBe(30);
});
