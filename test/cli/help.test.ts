/** What the command says of itself: defaults that can be typed back, lines that fit a terminal. */
import { describe, expect, test } from 'vitest';
import { createProgram } from '../../src/cli/program.ts';
import * as parse from '../../src/cli/parse.ts';
import { processIo } from '../../src/cli/io.ts';
import { own } from '../../src/cli/predict-models.ts';
import { cli } from './support.ts';

const names = ['demo', 'train', 'predict', 'evaluate', 'split', 'check', 'plan', 'render', 'export', 'info'];

test('without arguments the help is shown, as wrong usage', async () => {
  const { exitCode, out, err } = await cli([]);
  expect(exitCode).toBe(2);
  expect(out).toBe('');
  expect(err).toContain('Usage: unet3d-gpu');
});

test('the list of commands is wrapped', async () => {
  const { exitCode, out } = await cli(['--help']);
  expect(exitCode).toBe(0);
  const lines = out.split('\n');
  expect(lines.filter((line) => line.length > 80)).toEqual([]);
  for (const name of names) expect(lines.some((line) => line.startsWith(`  ${name} `))).toBe(true);
});

describe('defaults', () => {
  const commands = createProgram(processIo(new AbortController().signal)).commands;
  const options = commands.flatMap((command) =>
    command.options
      .filter(({ defaultValue }) => defaultValue !== undefined && typeof defaultValue !== 'boolean')
      .map((option) => [`${command.name()} ${option.long}`, option] as const),
  );

  test.each(options)('%s: what is shown means the same when typed', (_, option) => {
    const typed = option.defaultValueDescription!;
    expect(typed).not.toMatch(/[[\]"]|\.3333/);
    const { parseArg } = option as { parseArg?: (text: string, before: unknown) => unknown };
    const meant = parseArg ? parseArg(typed, undefined) : typed;
    expect(meant).toEqual(option.defaultValue);
  });
});

test('bytes are shown in the largest unit that is whole', () => {
  for (const [value, text] of [
    [2 ** 31, '2GiB'],
    [3 * 2 ** 19, '1536KiB'],
    [1000, '1000'],
  ] as const) {
    expect(parse.typedBytes(value)).toBe(text);
    expect(parse.bytes(text)).toBe(value);
  }
});

test('shares are given as fractions too', () => {
  expect(parse.share('1/3')).toBe(1 / 3);
  expect(parse.share('.25')).toBe(0.25);
  for (const text of ['', '3/2', '1/0', '0/0', '-1', '1/3/4', 'half', '1..5'])
    expect(() => parse.share(text)).toThrow(/share from 0 to 1/);
});

test('predict marks the options that other models than its own refuse', () => {
  const commands = createProgram(processIo(new AbortController().signal)).commands;
  const { options } = commands.find((command) => command.name() === 'predict')!;
  const marked = options.filter(({ description }) => description.startsWith('own models: '));
  expect(marked.map((option) => option.attributeName()).sort()).toEqual([...own].sort());
});
