/** What is in memory while weights are loaded: no second copy of them, whether they lie in files or in archives. */
import { openAsBlob } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import type { FileEntry } from '../../src/data/case.ts';
import { defaultPreprocessing } from '../../src/data/preprocessing.ts';
import { InvalidModel } from '../../src/errors.ts';
import { exportNnunet } from '../../src/export/nnunet.ts';
import { OpenNetwork } from '../../src/infer/opened.ts';
import { filesInZip } from '../../src/interop/model-files.ts';
import { toOurs, toTheirs } from '../../src/interop/mapping.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { nnunetMapping } from '../../src/interop/nnunet/weights.ts';
import '../../src/data/source.node.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { initialValues, layoutParameters } from '../../src/model/parameters.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { openModel, readModel, writeModel } from '../../src/weights/model-file.ts';
import { namedTensors, readFlat } from '../../src/weights/named-tensors.ts';
import { stateDictIn } from '../../src/weights/pytorch/state-dict.ts';
import { uploadWeights } from '../../src/weights/upload.ts';
import { Storages, writePytorch, type SavedTensor } from '../../src/weights/pytorch/write.ts';
import { writeSafetensors } from '../../src/weights/safetensors.ts';
import { testDevice } from '../support/device.ts';
import { heldBytes } from '../support/memory.node.ts';
import { temporaryFolder } from '../support/temporary.node.ts';
import { zipOf } from '../support/zip.ts';

const config = completeConfig({
  inChannels: 1,
  classes: 2,
  features: [16, 32, 64, 128, 128],
  norm: 'instance',
});
const layout = layoutParameters(config);
const weights = {
  parameters: initialValues(layout.parameters, layout.parameterWords, 1),
  statistics: new Float32Array(0),
};
const bytes = 4 * layout.count;
const largest = Math.max(...[...layout.parameters.values()].map(({ length }) => 4 * length));

/** Of millions of numbers. */
const equal = (a: Uint8Array | Float32Array, b: Uint8Array | Float32Array): boolean =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));

/** What is in memory at most, in bytes, and how much is written, while something loads weights onto the device. */
async function watched(load: (device: GPUDevice) => Promise<void>) {
  const { device } = await testDevice();
  const writes: number[] = [];
  let most = 0;
  const before = heldBytes();
  const queue = device.queue;
  const write = queue.writeBuffer.bind(queue);
  queue.writeBuffer = (...call: Parameters<typeof write>) => {
    writes.push(call[2].byteLength);
    if (writes.length % 12 === 0) most = Math.max(most, heldBytes() - before);
    return write(...call);
  };
  try {
    await load(device);
  } finally {
    queue.writeBuffer = write;
  }
  expect(writes.reduce((sum, length) => sum + length, 0)).toBeGreaterThanOrEqual(bytes);
  expect(Math.max(...writes)).toBe(largest);
  return most;
}

describe('weights go to the device tensor by tensor, and none of them stays', () => {
  const description = { config, labels: ['rest', 'part'], channels: ['CT'] };

  test('of model.safetensors in memory, by its path, and of the file itself', async () => {
    const model = await writeModel(description, weights);
    const path = join(await temporaryFolder(), 'model.safetensors');
    await writeFile(path, model);
    const slice = vi.spyOn(Blob.prototype, 'slice');
    for (const source of [model, path, await openAsBlob(path)]) {
      const most = await watched(async (device) => {
        using loaded = await UNet3D.load(source, { device });
        const kept = await readModel(await loaded.save());
        expect(equal(kept.weights.parameters, weights.parameters)).toBe(true);
      });
      // Beside the file itself: one tensor as it is stored and as it is given, and what is small.
      expect(most).toBeLessThan(2 * largest + 0.1 * bytes);
    }
    const read = slice.mock.calls.reduce((sum, [from = 0, to = 0]) => sum + to - from, 0);
    slice.mockRestore();
    // For its hash and for its weights.
    expect(read).toBeLessThan(2.1 * bytes);
  });

  test('a file that has changed since it was chosen is told', async () => {
    const path = join(await temporaryFolder(), 'model.safetensors');
    await writeFile(path, await writeModel(description, weights));
    const file = await openAsBlob(path);
    await writeFile(path, 'another');
    const { device } = await testDevice();
    const loading = UNet3D.load(file, { device });
    await expect(loading).rejects.toThrow(InvalidModel);
    await expect(loading).rejects.toThrow(/cannot be read any more .*: has it been changed or moved/);
  });

  test('of a model folder of nnU-Net, in whose checkpoint nobody reads the momentum', async () => {
    // With a head at every level, as all of nnU-Net's have.
    const own = completeConfig({
      ...config,
      activation: 'leakyRelu',
      down: 'conv',
      deepSupervision: true,
      heads: 4,
    });
    const { parameters, parameterWords } = layoutParameters(own);
    const values = initialValues(parameters, parameterWords, 1);
    const tensors = namedTensors(parameters, values);
    const preprocessing = defaultPreprocessing(1, [1, 1, 1]);
    const more = { config: own, preprocessing, inputSize: [32, 32, 32] } as const;
    const { files } = await exportNnunet(
      await writeModel({ ...description, ...more }, { parameters: values, statistics: new Float32Array() }),
    );
    const storages = new Storages();
    const checkpoint = writePytorch(
      {
        optimizer_state: storages.stateDict(namedTensors(parameters, values)),
        network_weights: storages.stateDict(toTheirs(nnunetMapping(own), tensors)),
        init_args: { configuration: '3d_fullres' },
        trainer_name: 'nnUNetTrainer',
        inference_allowed_mirroring_axes: null,
      },
      storages,
    );
    const folder = await temporaryFolder();
    const given: FileEntry[] = [];
    for (const [index, { path, source }] of files.entries()) {
      const file = join(folder, `${index}`);
      await writeFile(file, path.endsWith('.pth') ? checkpoint : source);
      given.push({ path, source: await openAsBlob(file) });
    }
    expect(checkpoint.length).toBeGreaterThan(2 * bytes);
    const slice = vi.spyOn(Blob.prototype, 'slice');
    const most = await watched(async (device) => {
      const found = await openNnunet(given);
      const network = await OpenNetwork.open(found.config, { device });
      await uploadWeights(network.state, found.folds[0]!.weights);
      const kept = await network.state.readWeights();
      expect(equal(kept.parameters, values)).toBe(true);
      network.dispose();
    });
    const read = slice.mock.calls.reduce((sum, [from = 0, to = 0]) => sum + to - from, 0);
    slice.mockRestore();
    // One tensor as it is stored, as it is given and in our order, and what is small.
    expect(most).toBeLessThan(3 * largest + 0.1 * bytes);
    expect(read).toBeLessThan(1.1 * bytes);
  });
});

test.each([
  [
    'a model folder of nnU-Net',
    ['D/T__P__3d_fullres/plans.json', 'D/T__P__3d_fullres/fold_0/checkpoint_final.pth'],
  ],
  ['folds', ['runs/fold_0/model.safetensors', 'runs/fold_1/model.safetensors']],
  ['a bundle of MONAI', ['bundle/configs/metadata.json', 'bundle/models/model.pt']],
] as const)(
  '%s in place of a file is told what opens it, as a folder and in an archive',
  async (kind, paths) => {
    const folder = await temporaryFolder();
    const content = new Uint8Array(8);
    const archive = await zipOf(paths.map((path) => ({ path, content })));
    for (const [source, message] of [
      [
        folder,
        `${folder} is a folder: give the file in it, such as model.safetensors; folds, and models of nnU-Net`,
      ],
      [archive, kind === 'a bundle of MONAI' ? 'MonaiPredictor.load' : 'Ensemble.open'],
    ] as const) {
      const loading = UNet3D.load(source);
      await expect(loading).rejects.toThrow(InvalidModel);
      await expect(loading).rejects.toThrow(message);
    }
  },
);

describe('a checkpoint in an archive', () => {
  const large = 2 ** 22;
  /** Weights, and beside them momentum that nobody wants. */
  const tensors = new Map<string, SavedTensor>(namedTensors(layout.parameters, weights.parameters));
  const momentum = Float32Array.from({ length: large / 8 }, (_, i) => i % 1000);

  test('is unpacked as far as it is read, and stays packed', async () => {
    const storages = new Storages();
    const all = new Map([...tensors, ['momentum', { shape: [momentum.length], data: momentum }]]);
    const saved = writePytorch(storages.stateDict(all), storages);
    const archive = await zipOf([{ path: 'fold_0/checkpoint.pth', content: saved, deflated: true }]);
    expect(saved.length).toBeGreaterThan(2 * large);
    const before = heldBytes();
    const [file] = await filesInZip(archive);
    const dict = await stateDictIn(await file!.ranges(), file!.path);
    const wanted = new Map([...dict].filter(([name]) => name !== 'momentum'));
    /** Streams let go of what they hold some turns after they are done. */
    const holdsLessThan = (share: number) =>
      vi.waitFor(() => expect(heldBytes() - before).toBeLessThan(share * bytes), { timeout: 10_000 });
    await holdsLessThan(0.3);
    const read = await readFlat(layout.parameters, layout.parameterWords, wanted);
    await holdsLessThan(1.3);
    expect(equal(read, weights.parameters)).toBe(true);
    expect(equal(await dict.get('momentum')!.read(), momentum)).toBe(true);
  });

  test('reads in any order and at once give the bytes of the file', async () => {
    const content = Uint8Array.from({ length: large + 12345 }, (_, i) => (i * 7) ^ (i >> 8));
    const archive = await zipOf([{ path: 'a', content, deflated: true }]);
    const [file] = await filesInZip(archive);
    const ranges = await file!.ranges();
    expect(ranges.size).toBe(content.length);
    const places = [
      [content.length - 10, content.length],
      [content.length - 5000, content.length - 4000],
      [0, 4],
      [2 ** 20, 2 ** 21],
      [5, 5],
      [2 ** 20 - 7, 2 ** 20 + 3],
    ] as const;
    const found = await Promise.all(places.map(([from, to]) => ranges.read(from, to)));
    places.forEach(([from, to], index) => expect(equal(found[index]!, content.slice(from, to))).toBe(true));
    await expect(ranges.read(0, content.length + 1)).rejects.toThrow(/of its "a", it ends at byte/);
  });
});

describe('names', () => {
  const prefixed = (prefix: string) =>
    new Map(
      [...namedTensors(layout.parameters, weights.parameters)].map(([name, tensor]) => [
        prefix + name,
        tensor,
      ]),
    );

  test.each(['model.', 'net.', 'network.', 'module.model.'])(
    'all behind %s are those of the network',
    async (prefix) => {
      const { tensors } = await openModel(writeSafetensors({ tensors: prefixed(prefix), metadata: {} }));
      expect([...tensors.keys()]).toEqual([...layout.parameters.keys()]);
    },
  );

  test('another tool’s that begin so themselves stay', async () => {
    const one = { shape: [2], data: Float32Array.of(1, 2) };
    const read = { shape: [2], read: () => Promise.resolve(one.data) };
    const ours = new Map([['weight', one]]);
    const mapping = [{ theirs: 'model.0.weight', ours: 'weight' }];
    const file = { name: 'x.pt', describedBy: 'y.json' };
    for (const name of ['model.0.weight', 'net.model.0.weight', 'model.model.0.weight']) {
      const found = toOurs(mapping, new Map([[name, read]]), ours, file);
      expect(await found.get('weight')!.read()).toEqual(one.data);
    }
    expect(() => toOurs(mapping, new Map([['0.weight', read]]), ours, file)).toThrow(/x\.pt lacks/);
  });
});
