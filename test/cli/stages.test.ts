/** A residual network with kernels and strides per axis through the command line: trained, stopped, resumed, applied. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { anisotropyTip, networkOf, typedTriples } from '../../src/cli/network-options.ts';
import * as parse from '../../src/cli/parse.ts';
import { readNifti } from '../../src/data/nifti.ts';
import { stagesFor } from '../../src/model/anisotropy.ts';
import type { UNet3DConfig } from '../../src/model/config.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { cli, phantomDataset, temporaryFolder } from './support.ts';

const network = [
  ...['--features', '4,6,8', '--block', 'residual', '--encoder-blocks', '1,2', '--decoder-blocks', '1'],
  ...['--strides', '2,2,1/2', '--kernels', '3,3,1/3', '--down', 'conv'],
  ...['--activation', 'leakyRelu', '--slope', '0.02', '--no-bias'],
];
const config = {
  features: [4, 6, 8],
  norm: 'instance',
  activation: 'leakyRelu',
  slope: 0.02,
  strides: [
    [2, 2, 1],
    [2, 2, 2],
  ],
  kernels: [
    [3, 3, 1],
    [3, 3, 3],
    [3, 3, 3],
  ],
  block: 'residual',
  encoderBlocks: [1, 2, 2],
  decoderBlocks: [1, 1],
  down: 'conv',
  bias: false,
} as const satisfies Partial<UNet3DConfig>;

describe('train with a residual network and thick slices', () => {
  let data: string;
  let run: string;
  const args = () => [
    ...[data, ...network, '--epochs', '8', '--batch-size', '2', '--subject-pattern', 'Case_(\\d+)'],
    ...['--learning-rate', '0.01', '--seed', '1', '--no-tune'],
  ];
  beforeAll(async () => {
    data = await phantomDataset(6, [12, 12, 6]);
    run = join(await temporaryFolder(), 'run');
    const { exitCode, err } = await cli(['train', '--out', run, ...args()]);
    expect(err).not.toMatch(/error/i);
    expect(exitCode).toBe(0);
  });

  test('lowers the loss, and writes the configuration and a command that says it', async () => {
    const rows = (await readFile(join(run, 'history.csv'), 'utf8')).trim().split('\n');
    const column = rows[0]!.split(',').indexOf('loss');
    const losses = rows.slice(1).map((row) => Number(row.split(',')[column]));
    expect(losses.at(-1)).toBeLessThan(0.9 * losses[0]!);
    const { description } = await readModel(await readFile(join(run, 'model.safetensors')));
    expect(description).toMatchObject({ format: 6, config });
    const kept = JSON.parse(await readFile(join(run, 'config.json'), 'utf8')) as {
      command: string;
      network: UNet3DConfig;
    };
    expect(kept.network).toMatchObject(config);
    expect(kept.command).toMatch(/--strides 2,2,1\/2,2,2 --kernels 3,3,1\/3,3,3 /);
    expect(kept.command).toContain(' --no-bias');
    expect(kept.command).not.toMatch(/ --bias| --scale-and-shift/);
  });

  test('stopped in the middle and resumed, it ends with the same bits', async () => {
    const out = join(await temporaryFolder(), 'run');
    const stop = new AbortController();
    let steps = 0;
    const stopped = await cli(['train', '--out', out, '--json', ...args()], {
      signal: stop.signal,
      onLine: (line) => {
        if (line.includes('"type":"step"') && ++steps === 7) stop.abort();
      },
    });
    expect(stopped.exitCode).toBe(130);
    expect((await cli(['train', '--out', out, '--resume'])).exitCode).toBe(0);
    const weights = async (folder: string) =>
      (await readModel(await readFile(join(folder, 'model.safetensors')))).weights;
    expect(await weights(out)).toEqual(await weights(run));
  });

  test('its model predicts', async () => {
    const out = await temporaryFolder();
    const image = join(data, 'images', 'Case_00_Week0.nii.gz');
    const model = join(run, 'model.safetensors');
    const { exitCode, err } = await cli([...['predict', model, image, '--out', join(out, 'labels.nii.gz')]]);
    expect(err).not.toMatch(/error/i);
    expect(exitCode).toBe(0);
    const labels = await readNifti(await readFile(join(out, 'labels.nii.gz')));
    expect(labels.shape).toEqual([12, 12, 6]);
    expect(new Set(labels.data).size).toBeGreaterThan(1);
  });

  test('--dry-run and plan say what its levels are made of', async () => {
    const { out } = await cli(['plan', '--shape', '12,12,6', ...network]);
    expect(out).toContain('levels: residual blocks; 1, 2, 2 blocks per level');
    expect(out).toContain('strides 2 × 2 × 1, 2 × 2 × 2; kernels 3 × 3 × 1, 3 × 3 × 3, 3 × 3 × 3');
  });
});

test.each([
  [['--strides', '2,2'], /x,y,z per level, levels separated by slashes/],
  [['--kernels', '3,3,1/'], /x,y,z per level/],
  [['--kernels', '3,3,2'], /kernels\[0\]\[2\] is 2; give x, y, z of 1 or 3/],
  [['--strides', '2/2/2/2'], /strides is .*4 levels|strides is .*; give x, y, z of 1 or 2.* of 4: 3 in all/],
  [['--encoder-blocks', '1,0'], /whole numbers from 1 on per level/],
  [['--block', 'dense'], /Allowed choices are plain, residual/],
  [['--slope', '0.1'], /slope is 0\.1, but activation is relu/],
])('%j is refused', async (given, message) => {
  const { exitCode, err } = await cli(['plan', '--shape', '16,16,16', ...given]);
  expect(exitCode).not.toBe(0);
  expect(err).toMatch(message);
});

test('lists per level are carried on, and typed as they are read', () => {
  const strides = parse.triples('2,2,1/2');
  const options = { features: [4, 4, 4, 4], norm: 'batch', activation: 'relu', strides } as const;
  const carried = networkOf(options).strides!;
  expect(carried).toEqual([
    [2, 2, 1],
    [2, 2, 2],
    [2, 2, 2],
  ]);
  expect(typedTriples(carried)).toBe('2,2,1/2');
});

describe('voxels that are long along one axis', () => {
  test("get strides and kernels by nnU-Net's rule", () => {
    // Of its plan for a prostate at 0.62 × 0.62 × 2.16 mm, patches of 256 × 256 × 28.
    const { strides, kernels } = stagesFor([0.62, 0.62, 2.16], [256, 256, 28], 7);
    const [flat, cube] = [
      [2, 2, 1],
      [2, 2, 2],
    ];
    expect(strides).toEqual([flat, cube, cube, flat, flat, flat]);
    expect(kernels).toEqual([[3, 3, 1], ...Array.from({ length: 6 }, () => [3, 3, 3])]);
  });

  test('are told with options that plan takes', async () => {
    expect(anisotropyTip([1, 1, 3], [64, 64, 32], 4)).toBeUndefined();
    const tip = anisotropyTip([0.5, 3.5, 0.5], [128, 20, 128], 4)!;
    expect(tip).toContain('Voxels are long along y');
    const [, strides, kernels] = /--strides (\S+) --kernels (\S+)/.exec(tip)!;
    const { exitCode, out } = await cli([
      ...['plan', '--shape', '128,20,128', '--json', '--features', '4,4,4,4'],
      ...['--strides', strides!, '--kernels', kernels!],
    ]);
    expect(exitCode).toBe(0);
    expect((JSON.parse(out) as { config: UNet3DConfig }).config).toMatchObject(
      stagesFor([0.5, 3.5, 0.5], [128, 20, 128], 4),
    );
  });

  test('are named by check and plan', async () => {
    const data = await phantomDataset(3, [16, 16, 4]);
    // The spacing of every file along z: pixdim[3] and the third row of the affine.
    const { readdir } = await import('node:fs/promises');
    const { gunzipSync, gzipSync } = await import('node:zlib');
    for (const folder of ['images', 'labels'])
      for (const name of await readdir(join(data, folder))) {
        const file = join(data, folder, name);
        const bytes = gunzipSync(await readFile(file));
        bytes.writeFloatLE(bytes.readFloatLE(88) * 5, 88);
        for (const at of [320, 324, 328]) bytes.writeFloatLE(bytes.readFloatLE(at) * 5, at);
        await writeFile(file, gzipSync(bytes));
      }
    for (const command of ['check', 'plan']) {
      const { out } = await cli([command, data, '--subject-pattern', 'Case_(\\d+)']);
      expect(out, command).toMatch(
        /Voxels are long along z: 4 levels with --strides 2,2,1\S* --kernels 3,3,1\S*/,
      );
    }
    const { out } = await cli(['plan', data, '--strides', '2,2,1/2']);
    expect(out).not.toContain('Voxels are long');
  });
});
