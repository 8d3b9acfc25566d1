/** `plan` needs no GPU, and usage errors leave with 2. */
import { describe, expect, test } from 'vitest';
import { cli } from './support.ts';

interface PlanJson {
  readonly peakBytes: number;
  readonly flops: number;
  readonly recomputed: readonly string[];
  readonly paramBytes: number;
  readonly largestBindingBytes: number;
  readonly size: readonly number[];
  readonly buffers: readonly number[];
  readonly tensors: readonly { readonly name: string; readonly bytes: number; readonly storage: string }[];
  readonly dispatches: readonly { readonly bindings: Readonly<Record<string, { readonly size: number }>> }[];
}

const plan = async (...args: string[]): Promise<PlanJson> => {
  const { exitCode, out } = await cli(['plan', '--json', ...args]);
  expect(exitCode).toBe(0);
  return JSON.parse(out) as PlanJson;
};
const tiny = ['--shape', '20,16,9', '--features', '4,8,16', '--classes', '3'];

describe('plan', () => {
  test('pads the shape to the network, and its peak is all that it allocates', async () => {
    const { peakBytes, paramBytes, size, buffers, tensors } = await plan(...tiny);
    expect(size).toEqual([20, 16, 12]);
    const shared = tensors.filter(({ storage }) => storage === 'shared');
    const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
    expect(shared.length).toBeGreaterThan(0);
    expect(peakBytes).toBe(sum(buffers) + paramBytes + sum(shared.map(({ bytes }) => bytes)));
  });

  test('a binding limit is kept by every binding, and costs dispatches', async () => {
    const free = await plan(...tiny);
    const limit = Math.ceil(free.largestBindingBytes / 3);
    const cut = await plan(...tiny, '--limit-binding', String(limit));
    expect(cut.largestBindingBytes).toBeLessThanOrEqual(limit);
    for (const { bindings } of cut.dispatches)
      for (const { size } of Object.values(bindings)) expect(size).toBeLessThanOrEqual(limit);
    expect(cut.dispatches.length).toBeGreaterThan(free.dispatches.length);
  });

  test('batch size and inference change the memory', async () => {
    const two = await plan(...tiny);
    const one = await plan(...tiny, '--batch-size', '1');
    const forward = await plan(...tiny, '--batch-size', '1', '--inference');
    expect(one.peakBytes).toBeLessThan(two.peakBytes);
    expect(forward.peakBytes).toBeLessThan(one.peakBytes);
  });

  test('logits of a prediction are planned a few planes at a time, as they are read', async () => {
    const shape = ['--shape', '64,64,64', '--features', '2,4', '--classes', '100', '--inference'];
    const { peakBytes, tensors } = await plan(...shape);
    const whole = 4 * 100 * 64 ** 3;
    expect(peakBytes).toBeLessThan(whole / 4);
    const bytes = tensors.filter(({ name }) => name === 'logits').map((tensor) => tensor.bytes);
    expect(Math.max(...bytes)).toBeLessThan(whole / 4);
    expect(bytes.reduce((sum, part) => sum + part, 0)).toBeGreaterThanOrEqual(whole);
  });

  test('--keep-all computes nothing again: more memory and less work than by default', async () => {
    const [all, usual] = [await plan(...tiny, '--keep-all'), await plan(...tiny)];
    expect(all.recomputed).toEqual([]);
    expect(usual.recomputed).toContain('encoder.1.pool');
    expect(all.peakBytes).toBeGreaterThan(usual.peakBytes);
    expect(all.flops).toBeLessThan(usual.flops);
    expect((await cli(['plan', ...tiny, '--keep-all', '--checkpointing'])).exitCode).toBe(2);
  });

  test('an option may be repeated with the same value', async () => {
    expect((await plan(...tiny, '--batch-size', '1', '--batch-size', '1')).peakBytes).toBeGreaterThan(0);
  });

  test('prints a summary for people', async () => {
    const { exitCode, out } = await cli(['plan', ...tiny]);
    expect(exitCode).toBe(0);
    expect(out).toContain('padded to 20,16,12');
    expect(out).toMatch(/parameters: \d+/);
  });
});

test('what does not fit names the options of the command line', async () => {
  const { exitCode, err } = await cli(['plan', '--shape', '64,64,64', '--memory', '1MiB']);
  expect(err).toMatch(/needs .*the memory budget is 1\.00 MiB.*\(--concede auto\), or raise --memory/);
  const inference = await cli(['plan', '--shape', '64,64,64', '--memory', '1KiB', '--inference']);
  expect(inference.err).toMatch(/raise --memory/);
  expect(err + inference.err).not.toContain('memoryBudget');
  expect([exitCode, inference.exitCode]).toEqual([1, 1]);
});

describe('usage errors', () => {
  test.each([
    [['plan'], 'give either a data set or --shape x,y,z'],
    [['plan', 'data', '--shape', '8,8,8'], 'give either a data set or --shape x,y,z'],
    [['plan', '--shape', '8,8'], 'three whole numbers'],
    [['plan', '--shape', '8,8,8', '--features', '4,x'], 'separated by commas'],
    [['plan', '--shape', '8,8,8', '--limit-binding', 'much'], '128MiB'],
    [['plan', '--shape', '8,8,8', '--norm', 'none'], 'Allowed choices are batch, instance'],
    [['train', '--out', 'x', '--fold', '6/5'], 'such as 1/5'],
    [['train', '--out', 'x', '--split', '70,15,20'], '70,15,20 add up to 105'],
    [['split', '.', '--split', '70,20'], 'Shares must be three numbers that add up to 100'],
    [['split', '.', '--split', '70'], 'got "70"'],
    [['split', '.', '--split', '0,0,0'], 'add up to 0'],
    [['train', '--out', 'x', '--ema', '2'], 'between 0 and 1'],
    [['train', '--out', 'x', '--class-weights', '1,-2'], 'numbers from 0 on'],
    [['train', '--out', 'x', '--class-weights', '1,,2'], 'separated by commas'],
    [['train', '--out', 'x', '--pct-start', '2'], 'a share from 0 to 1'],
    [['split', '.', '--subject-pattern', 'Case'], 'one group'],
    [['predict', 'model', 'image.nii', '--out', 'x', '--output', 'classes'], 'labels, probabilities, logits'],
    [
      ['plan', '--shape', '8,8,8', '--shape=9,9,9'],
      "'--shape <x,y,z>' is given twice, as 8,8,8 and as 9,9,9",
    ],
    [['predict', 'm', 'i.nii', '--out', 'x', '--out', 'y'], "'--out <file|folder>' is given twice, as x and"],
    [['predict', 'm', 'i.nii', '--out', ''], "'--out <file|folder>' is empty"],
    [['predict', 'm', '', '--out', 'x'], 'an argument is empty'],
    [['evaluate', 'a', 'b', '--also', 'c', '--also', ''], "'--also <folder>' is empty"],
    [['evaluate', 'a', 'b', '--names', 'one,,three'], 'different names separated by commas'],
    [['render', 'a', '--out', 'x.png', '--names', 'one,one'], 'different names separated by commas'],
    [['split', '.', '--split', '70,,30'], 'got "70,,30"'],
    [['predict', 'm', 'i.nii', '--out', 'x', '--step', '1e-9'], 'from 0.001 to 1'],
    [['predict', 'm', 'i.nii', '--out', 'x', '--memory', '0'], 'bytes above 0'],
    [['fly'], "unknown command 'fly'"],
  ])('%j leaves with 2', async (args, message) => {
    const { exitCode, err } = await cli(args);
    expect(err).toContain(message);
    expect(exitCode).toBe(2);
  });

  test.each(['demo', 'train', 'predict', 'evaluate', 'split', 'check', 'plan', 'render', 'info'])(
    '%s --help shows examples and leaves with 0',
    async (command) => {
      const { exitCode, out } = await cli([command, '--help']);
      expect(exitCode).toBe(0);
      expect(out).toContain(`Usage: unet3d-gpu ${command}`);
      expect(out).toMatch(new RegExp(`Examples?:\n.*unet3d-gpu ${command}`));
    },
  );
});
