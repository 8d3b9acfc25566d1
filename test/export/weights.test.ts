/** Models as files of PyTorch and as safetensors: the same bits come back, here and in PyTorch where it is installed. */
import { unzip } from 'unzipit';
import { expect, test } from 'vitest';
import { InvalidModel } from '../../src/errors.ts';
import { exportPytorch } from '../../src/export/pytorch.ts';
import { exportSafetensors } from '../../src/export/safetensors.ts';
import { readModel } from '../../src/weights/model-file.ts';
import { readSafetensors } from '../../src/weights/safetensors.ts';
import { readPytorch } from '../../src/weights/pytorch/read.ts';
import { readStateDict } from '../../src/weights/pytorch/state-dict.ts';
import { Storages, writePytorch } from '../../src/weights/pytorch/write.ts';
import { Call, Float, Tuple } from '../../src/weights/pytorch/write-pickle.ts';
import { modelBytes, networkNames } from './networks.ts';

test.each(networkNames)('%s: a file of PyTorch has the model’s bits', async (name) => {
  const model = await modelBytes(name);
  const { tensors } = readSafetensors(model);
  const file = await exportPytorch(model);
  expect(await readModel(file)).toEqual(await readModel(model));
  expect(await readModel(Buffer.from(file))).toEqual(await readModel(model)); // as readFile gives it
  const found = await readStateDict(file);
  const weights = [...found].filter(([key]) => !key.endsWith('num_batches_tracked'));
  expect(weights.map(([key]) => key).sort()).toEqual([...tensors.keys()].sort());
  for (const [key, tensor] of weights) {
    expect(tensor.shape, key).toEqual(tensors.get(key)!.shape);
    expect(tensor.type.name).toBe('float32');
    expect(await tensor.read(), key).toEqual(tensors.get(key)!.data);
  }
  const counters = [...found].filter(([key]) => key.endsWith('num_batches_tracked'));
  expect(counters.map(([key]) => key.replace('num_batches_tracked', 'running_var'))).toEqual(
    [...tensors.keys()].filter((key) => key.endsWith('running_var')),
  );
  for (const [, { type, shape }] of counters) expect([type.name, shape]).toEqual(['int64', []]);
});

test('the archive is one that others read: stored, aligned, with checksums', async () => {
  const bytes = await exportPytorch(await modelBytes('batch'));
  const { entries } = await unzip(bytes);
  expect(Object.keys(entries).slice(0, 2)).toEqual(['archive/data.pkl', 'archive/byteorder']);
  expect(await entries['archive/version']!.text()).toBe('3\n');
  expect(await entries['archive/byteorder']!.text()).toBe('little');
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [name, entry] of Object.entries(entries)) {
    expect(view.getUint32(at, true), name).toBe(0x04034b50);
    at += 30 + view.getUint16(at + 26, true) + view.getUint16(at + 28, true);
    expect(at % 64, name).toBe(0);
    expect(new Uint8Array(await entry.arrayBuffer())).toEqual(bytes.subarray(at, at + entry.size));
    at += entry.size;
  }
});

test('what a checkpoint holds besides', async () => {
  const storages = new Storages();
  const data = Float32Array.of(1, 2, 3, 4, 5, 6);
  const tensor = { shape: [2, 3], data };
  const saved = {
    weights: storages.stateDict(
      new Map([
        ['a', tensor],
        ['alias', tensor],
        ['scalar', { shape: [], data: Float32Array.of(7) }],
      ]),
    ),
    numbers: [0, -1, 255, 2 ** 31 - 1, -(2 ** 31), 2 ** 40, 0.1, 1e300, new Float(3), true, false, null],
    texts: ['', 'José', '😀', '__proto__', 'x'.repeat(100_000)],
    nested: { tuple: new Tuple([0, 1, 2]), none: new Tuple([]), list: [], dict: {} },
    device: new Call('torch.device', ['cpu']),
  };
  const found = (await readPytorch(writePytorch(saved, storages))) as Map<string, unknown>;
  expect(found.get('numbers')).toEqual([
    0,
    -1,
    255,
    2147483647,
    -2147483648,
    2 ** 40,
    0.1,
    1e300,
    3,
    true,
    false,
    null,
  ]);
  expect(found.get('texts')).toEqual(saved.texts);
  expect(found.get('device')).toBe('cpu');
  expect(found.get('nested')).toEqual(
    new Map<string, unknown>([
      ['tuple', [0, 1, 2]],
      ['none', []],
      ['list', []],
      ['dict', new Map()],
    ]),
  );
  const { storage } = (await readStateDict(writePytorch(saved.weights, storages))).get('a')!;
  const weights = await readStateDict(writePytorch(saved.weights, storages));
  expect(storage.length).toBe(6);
  expect(weights.get('alias')!.storage).toBe(weights.get('a')!.storage);
  expect(await weights.get('alias')!.read()).toEqual(data);
});

test('safetensors load here with everything, in half the space where that is asked for', async () => {
  const model = await modelBytes('residual');
  const [whole, half] = [
    await exportSafetensors(model),
    await exportSafetensors(model, { precision: 'f16' }),
  ];
  const original = await readModel(model);
  expect(await readModel(whole)).toEqual(original);
  expect(readSafetensors(whole).metadata['format']).toBe('pt');
  const rounded = await readModel(half);
  expect(rounded.description).toEqual(original.description);
  expect(half.length).toBeLessThan(0.75 * whole.length);
  // To the nearest of a format with eleven bits.
  rounded.weights.parameters.forEach((value, index) => {
    const exact = original.weights.parameters[index]!;
    if (Math.abs(value - exact) > Math.max(2 ** -11 * Math.abs(exact), 2 ** -25)) expect(value).toBe(exact);
  });
  const large = await modelBytes('batch', (data, name) => {
    if (name === 'head.bias') data[0] = 1e5;
  });
  await expect(exportSafetensors(large, { precision: 'f16' })).rejects.toThrow(
    /tensor head\.bias holds 100000, and float16 ends at 65504/,
  );
  await expect(exportPytorch(model.subarray(0, 100))).rejects.toThrow(InvalidModel);
});
