/** `--matrix-units` and `--no-matrix-units`: which adapters are asked for, what is kept, and what is said without them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { announceAdapter } from '../../src/cli/gpu.ts';
import { processIo } from '../../src/cli/io.ts';
import { Gpu, setAdapterProvider } from '../../src/gpu/device.ts';
import { matrixFeatures } from '../../src/gpu/matrix-units.ts';
import { requestNodeAdapter } from '../../src/gpu/node.ts';
import { cli, phantomDataset, temporaryFolder } from './support.ts';

const isOffered = async (asked: boolean): Promise<boolean> => {
  const { adapter } = await requestNodeAdapter({ matrixUnits: asked });
  return matrixFeatures.every((feature) => adapter.features.has(feature));
};
const offered = { asked: await isOffered(true), unasked: await isOffered(false) };

describe('info', () => {
  test.each([
    [['--matrix-units'], offered.asked],
    [[], offered.unasked],
    [['--no-matrix-units'], false],
  ])('%j lists what the adapter then offers', async (flags, expected) => {
    const { exitCode, out } = await cli(['info', '--json', ...flags]);
    expect(exitCode).toBe(0);
    const { features, matrixUnits } = JSON.parse(out) as {
      readonly features: readonly string[];
      readonly matrixUnits: readonly object[];
    };
    expect(matrixUnits.length > 0).toBe(expected);
    for (const shape of matrixUnits) expect(Object.keys(shape)).toEqual(['m', 'n', 'k']);
    if (flags[0] !== '--no-matrix-units')
      expect(matrixFeatures.every((name) => features.includes(name))).toBe(expected);
    const { out: told } = await cli(['info', ...flags]);
    expect(told).toContain('Matrix units, float16 into float32');
    if (!expected && flags.length > 0) expect(told).toMatch(/float32\n {2}none$/m);
  });
});

describe('a command', () => {
  const restore = () => setAdapterProvider((wishes) => requestNodeAdapter(wishes));
  afterEach(restore);

  test.each([true, false])('that asks (%s) opens the adapter that it has announced', async (matrixUnits) => {
    const io = processIo(new AbortController().signal);
    const { adapter } = await announceAdapter({ ...io, err: () => undefined }, { matrixUnits });
    if (matrixUnits && !offered.asked) {
      await expect(Gpu.open({ matrixUnits })).rejects.toThrow('offers no matrix units');
      return;
    }
    const opened = vi.spyOn(adapter, 'requestDevice');
    using gpu = await Gpu.open({ matrixUnits });
    expect(gpu.matrixUnits !== undefined).toBe(matrixUnits);
    expect(gpu.matrixWish).toBe(matrixUnits);
    expect(opened).toHaveBeenCalledOnce();
  });
});

describe('train and predict', () => {
  let data: string;
  beforeAll(async () => {
    data = await phantomDataset(4);
  });
  const small = ['--features', '2,3', '--epochs', '1', '--batch-size', '1', '--split', '50,25,25'];
  const kept = async (run: string): Promise<unknown> =>
    (
      JSON.parse(await readFile(join(run, 'config.json'), 'utf8')) as {
        readonly arguments: { readonly options: Readonly<Record<string, unknown>> };
      }
    ).arguments.options['matrixUnits'];

  test.each([
    ['--no-matrix-units', false],
    ['--matrix-units', true],
  ] as const)('%s', async (flag, value) => {
    const out = join(await temporaryFolder(), 'run');
    const { exitCode, err } = await cli(['train', data, '--out', out, ...small, flag]);
    if (value && !offered.asked) {
      expect(err).toContain('offers no matrix units');
      expect(exitCode).toBe(1);
      return;
    }
    expect(err).not.toContain('error');
    expect(exitCode).toBe(0);
    expect(await kept(out)).toBe(value);
    // A software adapter, on which nothing is measured unless asked for.
    const idle = 'matrix units were asked for, but no convolution runs on them: it takes measuring';
    expect(err.split(idle)).toHaveLength(value ? 2 : 1);
    expect(err.includes('add --tune')).toBe(value);
    const image = join(data, 'images', 'Case_00_Week0.nii.gz');
    const labels = join(out, 'labels.nii.gz');
    const warned = vi.spyOn(console, 'warn').mockReturnValue();
    onTestFinished(() => warned.mockRestore());
    const predicted = await cli(['predict', out, image, '--out', labels, flag]);
    expect(predicted.err).not.toContain('error');
    expect(predicted.exitCode).toBe(0);
    const told = warned.mock.calls.map(String).filter((text) => text.includes('predictions measure nothing'));
    expect(told).toHaveLength(value ? 1 : 0);
  });
});
