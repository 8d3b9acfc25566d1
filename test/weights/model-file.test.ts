/** Model files: written and read back, read when others wrote them, and refused by name when damaged. */
import { describe, expect, test } from 'vitest';
import { InvalidModel } from '../../src/errors.ts';
import { completeConfig } from '../../src/model/config.ts';
import { initialValues, layoutParameters } from '../../src/model/parameters.ts';
import { namedTensors } from '../../src/model/state.ts';
import { readModel, writeModel } from '../../src/weights/model-file.ts';
import { readSafetensors, writeSafetensors } from '../../src/weights/safetensors.ts';

const config = completeConfig({ inChannels: 2, classes: 3, features: [3, 5], norm: 'batch' });
const layout = layoutParameters(config);
const weights = {
  parameters: initialValues(layout.parameters, layout.parameterWords, 1),
  statistics: initialValues(layout.statistics, layout.statisticsWords, 1),
};
const description = {
  config,
  labels: ['background', 'a', 'b'],
  channels: ['T1', 'T2'],
  preprocessing: {
    orientation: 'RAS',
    crop: 'non-zero',
    spacing: [1, 1, 2.5],
    normalization: ['z-score inside', { clip: [-100, 200], mean: 40, deviation: 30 }],
    padding: 'zeros at the far end',
  },
  postprocessing: { largestComponent: [2] },
  inputSize: [8, 8, 4],
} as const;

describe('model files', () => {
  test('come back as they were written', () => {
    const read = readModel(writeModel(description, weights));
    expect(read.description).toMatchObject(description);
    expect(read.weights).toEqual(weights);
  });

  test('without our metadata: the configuration follows from the shapes', () => {
    const tensors = new Map([
      ...namedTensors(layout.parameters, weights.parameters),
      ...namedTensors(layout.statistics, weights.statistics),
    ]);
    const read = readModel(writeSafetensors({ tensors, metadata: {} }));
    expect(read.description.config).toEqual(config);
    expect(read.weights).toEqual(weights);
  });

  test('have names and shapes of PyTorch', () => {
    const { tensors } = readSafetensors(writeModel(description, weights));
    expect(tensors.get('encoder.0.conv1.weight')!.shape).toEqual([3, 2, 3, 3, 3]);
    expect(tensors.get('decoder.0.up.weight')!.shape).toEqual([5, 3, 2, 2, 2]);
    expect(tensors.get('decoder.0.conv1.weight')!.shape).toEqual([3, 6, 3, 3, 3]);
    expect(tensors.get('encoder.1.norm2.running_var')!.shape).toEqual([5]);
    expect(tensors.get('head.weight')!.shape).toEqual([3, 3, 1, 1, 1]);
  });

  test.each([
    ['truncated', (bytes: Uint8Array) => bytes.slice(0, bytes.length - 8), /should have \d+ bytes/],
    ['with a header that claims too much', (bytes: Uint8Array) => bytes.slice(0, 40), /its header claims/],
    ['with a broken header', (bytes: Uint8Array) => bytes.map((b, i) => (i === 9 ? 0 : b)), /not JSON/],
    ['empty', () => new Uint8Array(3), /it has 3 bytes/],
  ])('%s: refused by name', (_, damage, message) => {
    const bytes = damage(writeModel(description, weights));
    expect(() => readModel(bytes)).toThrow(InvalidModel);
    expect(() => readModel(bytes)).toThrow(message);
  });

  const described = (found: object): Uint8Array => {
    const { tensors } = readSafetensors(writeModel(description, weights));
    return writeSafetensors({ tensors, metadata: { 'unet3d-gpu': JSON.stringify(found) } });
  };

  test('of a newer format: says to update', () => {
    expect(() => readModel(described({ format: 3, packageVersion: '9.0.0', config }))).toThrow(
      /format 3, written by version 9\.0\.0.*update/,
    );
  });

  test('of format 1: resampled before normalised, as they were trained, also when saved again', () => {
    const preprocessing = { orientation: 'RAS', spacing: [1, 1, 3], normalization: ['z-score', 'none'] };
    const { labels, channels } = description;
    const first = readModel(
      described({ format: 1, packageVersion: '0.1.0', config, labels, channels, preprocessing }),
    );
    const old = { ...preprocessing, order: 'resample, normalize' };
    expect(first.description.preprocessing).toEqual(old);
    expect(readModel(writeModel(first.description, weights)).description.preprocessing).toEqual(old);
  });

  test('of another network: names the tensor and both shapes', () => {
    const tensors = new Map(readSafetensors(writeModel(description, weights)).tensors);
    tensors.set('head.bias', { shape: [4], data: new Float32Array(4) });
    expect(() => readModel(writeSafetensors({ tensors, metadata: {} }))).toThrow(
      /head\.bias has shape \[4\].*\[3\]/,
    );
  });

  test.each([
    ['gzip', [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], /x is not a safetensors file: .*gzip, perhaps an image/],
    ['an archive', [0x50, 0x4b, 3, 4, 0, 0, 8, 8, 0, 0], /PyTorch; save the weights with safetensors\.torch/],
    ['a pickle', [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20], /PyTorch/],
    ['text', [...new TextEncoder().encode('{\n  "name": 1}')], /it is text/],
  ])('%s is recognised', (_, bytes, message) => {
    expect(() => readModel(Uint8Array.from(bytes), 'x')).toThrow(message);
  });

  test('half precision is read', () => {
    const values = [0, 1, -2.5, 65504, 2 ** -24, Infinity];
    const bits = [0x0000, 0x3c00, 0xc100, 0x7bff, 0x0001, 0x7c00];
    const header = JSON.stringify({ x: { dtype: 'F16', shape: [6], data_offsets: [0, 12] } });
    const bytes = new Uint8Array(8 + header.length + 12);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(header.length), true);
    bytes.set(new TextEncoder().encode(header), 8);
    bits.forEach((half, i) => view.setUint16(8 + header.length + 2 * i, half, true));
    expect([...readSafetensors(bytes).tensors.get('x')!.data]).toEqual(values);
  });
});
