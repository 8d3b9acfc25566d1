/** What is in memory while weights are loaded: no second copy of them, whether they lie in files or in archives. */
import { describe, expect, test } from 'vitest';
import { filesInZip } from '../../src/interop/model-files.ts';
import { toOurs } from '../../src/interop/mapping.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { initialValues, layoutParameters } from '../../src/model/parameters.ts';
import { UNet3D } from '../../src/unet3d.ts';
import { openModel, readModel, writeModel } from '../../src/weights/model-file.ts';
import { namedTensors, readFlat } from '../../src/weights/named-tensors.ts';
import { stateDictIn } from '../../src/weights/pytorch/state-dict.ts';
import { Storages, writePytorch, type SavedTensor } from '../../src/weights/pytorch/write.ts';
import { writeSafetensors } from '../../src/weights/safetensors.ts';
import { testDevice } from '../support/device.ts';
import { heldBytes } from '../support/memory.node.ts';
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

describe('UNet3D.load', () => {
  test('writes tensor by tensor to the device, and holds none of them', async () => {
    const { device } = await testDevice();
    const file = await writeModel({ config, labels: [], channels: [] }, weights);
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
      using model = await UNet3D.load(file, { device });
      expect(writes.reduce((sum, length) => sum + length, 0)).toBe(bytes);
      expect(Math.max(...writes)).toBe(largest);
      // Beside the file itself: one tensor, and what is small.
      expect(most).toBeLessThan(largest + 0.1 * bytes);
      const kept = await readModel(await model.save());
      expect(equal(kept.weights.parameters, weights.parameters)).toBe(true);
    } finally {
      queue.writeBuffer = write;
    }
  });
});

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
    expect(heldBytes() - before).toBeLessThan(0.3 * bytes);
    const read = await readFlat(layout.parameters, layout.parameterWords, wanted);
    expect(heldBytes() - before).toBeLessThan(1.3 * bytes);
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
