/** What the library and the browser say of an error, as the page says it: with what its visitor can do, without options. */
import { expect, test, vi } from 'vitest';
import { messageOf } from '../../examples/browser/src/dom.ts';
import { inPageWords } from '../../examples/browser/src/words.ts';
import { GpuError } from '../../src/errors.ts';
import { labelAdvice } from '../../src/data/label-advice.ts';
import { browserAdapter } from '../../src/gpu/device.ts';
import { Inference } from '../../src/infer/inference.ts';
import { chooseWindow } from '../../src/infer/choose-window.ts';
import { assertFits } from '../../src/model/alternatives.ts';
import { readPytorch } from '../../src/weights/pytorch/read.ts';
import { loadCheckpoint } from '../../src/train/checkpoint.ts';
import { writeHashed } from '../../src/weights/content-hash.ts';
import {
  adam,
  completeConfig,
  lossShape,
  openDataset,
  readNifti,
  weightedDice,
  writeNifti,
} from '../../src/index.ts';
import { defaultLimits, privateStore } from '../../src/worker/index.ts';

const config = completeConfig({ inChannels: 1, classes: 2, features: [4, 8] });
const planner = { limits: defaultLimits, loss: lossShape(weightedDice(), 2), optimizer: adam() };
const wish = { config, size: [8, 8, 4] as const, batch: 1 };

async function checkpoint(metadata: Record<string, string>): Promise<unknown> {
  const bytes = await writeHashed({ tensors: new Map(), metadata });
  const store = { save: () => Promise.resolve(), load: () => Promise.resolve(bytes) };
  return loadCheckpoint(store, undefined as never, '{"epochs":1}', () => undefined);
}

const failures: readonly [what: string, fail: () => unknown, said: RegExp][] = [
  [
    'no window fits',
    () => chooseWindow({ config, whole: [8, 8, 8] }, 1000, { limits: defaultLimits, precision: 'f32' }),
    /budget is 1000 B: take a network with fewer features, or a GPU with more memory$/,
  ],
  [
    'no training fits',
    () => assertFits(wish, 1000, planner),
    /Or raise "GPU memory to use" under "Train" if the GPU has more memory\.$/,
  ],
  [
    'a checkpoint of another version',
    () => checkpoint({ 'unet3d-gpu checkpoint': '99' }),
    /version 99; this page reads \d+: reload it, or begin a new training$/,
  ],
  [
    'a checkpoint of another training',
    () => checkpoint({ 'unet3d-gpu checkpoint': '5', sha256: '', identity: '{"epochs":2}' }),
    /epochs was 2 and is 1; begin a new training$/,
  ],
  ['no private files', () => privateStore(), /^this browser keeps no files of this page, as in some private/],
  [
    'labels without classes',
    () => {
      throw new Error(labelAdvice([0, 1, 7], { classes: 2 }));
    },
    /say which value unknown voxels have under "Data"$/,
  ],
  [
    'half of a pair',
    async () => {
      const volume = {
        data: new Uint8Array(1),
        shape: [1, 1, 1],
        affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
      };
      const header = (await writeNifti(volume, { gzip: false })).slice(0, 348);
      header.set(new TextEncoder().encode('ni1'), 344);
      await readNifti(new File([header], 'scan.hdr'));
    },
    /^scan\.hdr is the header of a \.hdr\/\.img pair; give its \.img file too\.$/,
  ],
  [
    "a window of another tool's model",
    () => {
      const large = {
        plan: () => ({ plan: { peakBytes: 2 ** 32 } }),
        budget: 2 ** 30,
        state: { precision: 'f32' },
      };
      Inference.prototype.requireWindow.call(large, [8, 8, 8], 'logits', 'that of the model');
    },
    /^a window of 8 x 8 x 8 voxels, that of the model, needs 4\.00 GiB; the memory budget is 1\.00 GiB, a share of/,
  ],
  [
    'an archive that holds no weights alone',
    async () => {
      const { downloadZip } = await import('client-zip');
      const zip = await downloadZip([{ name: 'a/plans.json', input: '{}' }]).arrayBuffer();
      await readPytorch(new Uint8Array(zip), 'net.pth');
    },
    /it is a model of nnU-Net: open its folder or zip archive under "Use"$/,
  ],
  ['no WebGPU', () => browserAdapter(), /^this browser gives the page no GPU: "Explain" tells what to do$/],
  [
    'a refused command',
    () => {
      throw new GpuError('conv 3: Binding size (0) is zero. While validating [BindGroupDescriptor "conv 3"]');
    },
    /^the GPU refused its work: reload the page/,
  ],
  [
    'no connection',
    () => {
      throw new TypeError('Failed to fetch');
    },
    /^the site does not answer: try again$/,
  ],
];

test.each(failures)('%s', async (_what, fail, said) => {
  vi.stubGlobal('navigator', {});
  const told = vi.spyOn(console, 'info').mockImplementation(() => undefined);
  const error = await Promise.resolve()
    .then(fail)
    .catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(Error);
  const words = messageOf(error);
  expect(words).toMatch(said);
  expect(words).not.toMatch(
    /--\w|memoryBudget|option |\w\.\w+ and |concessions|ignoreLabel|navigator|this package/,
  );
  expect(told).toHaveBeenCalledWith((error as Error).message);
  told.mockRestore();
});

test('files that were moved are named, and a lost device is told by its reason', () => {
  vi.spyOn(console, 'info').mockImplementation(() => undefined);
  expect(
    inPageWords(
      'a.nii: A requested file or directory could not be found at the time an operation was processed.',
    ),
  ).toBe('a.nii: it was moved, changed or deleted after it was given: give it again');
  const lost = 'the GPU device is lost (unknown: reset): open a new one and resume from the last checkpoint';
  expect(inPageWords(lost)).toBe('the GPU was lost (unknown: reset): try again, it is opened anew');
  expect(inPageWords(`${lost}; the device was opened again and training begins again`)).toBe(
    'the GPU device is lost (unknown: reset); the device was opened again and training begins again',
  );
  expect(inPageWords('image.nii is damaged')).toBe('image.nii is damaged');
});

test('what is said of a data set names what there is to do in the page', async () => {
  vi.spyOn(console, 'info').mockImplementation(() => undefined);
  const volume = new File([], 'a.nii');
  const given = ['images/a.nii', 'labels/a.nii'].map((path) => ({ path, source: volume }));
  const { warnings } = await openDataset(given);
  expect(warnings.map((warning) => inPageWords(warning))).toEqual([
    expect.stringMatching(
      /^Nothing tells which cases show one person: every case counts as its own subject\..*subjects\.csv \(/,
    ),
  ]);
});
