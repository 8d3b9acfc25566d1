/** Model files: written and read back, read when others wrote them, and refused by name when damaged. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { openRanges, type ByteRanges } from '../../src/data/byte-ranges.ts';
import { random } from '../../src/data/random.ts';
import { InvalidModel, UNet3DError } from '../../src/errors.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import type { UNet3DConfig } from '../../src/model/config.ts';
import { initialValues, layoutParameters } from '../../src/model/parameters.ts';
import { readModel, writeModel } from '../../src/weights/model-file.ts';
import { readStateDict } from '../../src/weights/pytorch/state-dict.ts';
import {
  dataStart,
  readSafetensors,
  writeSafetensors,
  type NamedTensor,
} from '../../src/weights/safetensors.ts';
import { headerOf, mutatedSafetensors, withHeader } from '../../scripts/fuzz/mutations.ts';

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

const file = await writeModel(description, weights);

/** The error of reading a file, which is the same where only parts of it are read at a time. */
async function refusal(bytes: Uint8Array, name?: string): Promise<Error> {
  const failed = (source: Uint8Array | ByteRanges): Promise<Error> =>
    readModel(source, name).then(
      () => Promise.reject(new Error('the file was read')),
      (error: Error) => error,
    );
  const error = await failed(bytes);
  expect(await failed(await openRanges(new Blob([new Uint8Array(bytes)])))).toEqual(error);
  return error;
}

/** The same model under another description, or under none. */
function described(found: object | undefined): Uint8Array {
  const { tensors } = readSafetensors(file);
  return writeSafetensors({ tensors, metadata: found ? { 'unet3d-gpu': JSON.stringify(found) } : {} });
}

const current = { format: 6, packageVersion: '0.1.0', ...description };

describe('model files', () => {
  test('come back as they were written', async () => {
    const read = await readModel(file);
    expect(read.description).toMatchObject(description);
    expect(read.weights).toEqual(weights);
    // A part of a larger buffer, as Node's small files are.
    const larger = Buffer.alloc(file.length + 24).fill(7);
    larger.set(file, 8);
    expect((await readModel(larger.subarray(8, 8 + file.length))).weights).toEqual(weights);
  });

  test('carry the hash of their content', () => {
    const { header, data } = headerOf(file);
    const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
    const blank = { ...header, __metadata__: { sha256: '0'.repeat(64), ...header.__metadata__ } };
    const head = file.slice(0, file.length - data.length);
    const text = new TextDecoder().decode(head.subarray(8));
    expect(JSON.parse(text.replace(/"sha256":"[0-9a-f]{64}"/, `"sha256":"${'0'.repeat(64)}"`))).toEqual(
      blank,
    );
    const { sha256: stated } = readSafetensors(file).metadata;
    const place = 8 + text.indexOf(stated!);
    head.fill('0'.charCodeAt(0), place, place + 64);
    expect(stated).toBe(sha256(Buffer.concat([head, sha256(data)])).toString('hex'));
  });

  test('without our metadata: the configuration follows from the shapes', async () => {
    const read = await readModel(described(undefined));
    expect(read.description.config).toEqual(config);
    expect(read.weights).toEqual(weights);
  });

  test('as PyTorch saves a state_dict: counters of batches, in int64, are no hindrance', async () => {
    const { header, data } = headerOf(described(undefined));
    const counters = ['encoder.0.norm1', 'encoder.0.norm2'].map((name, index) => [
      `${name}.num_batches_tracked`,
      { dtype: 'I64', shape: [], data_offsets: [data.length + 8 * index, data.length + 8 * index + 8] },
    ]);
    const bytes = new Uint8Array(data.length + 16);
    bytes.set(data);
    bytes.set([3, 1], data.length);
    const saved = withHeader({ ...header, ...Object.fromEntries(counters) }, bytes);
    expect((await readModel(saved)).weights).toEqual(weights);
    expect([...readSafetensors(saved).tensors.get('encoder.0.norm1.num_batches_tracked')!.data]).toEqual([
      259,
    ]);
  });

  test('as torch.save writes a checkpoint of DistributedDataParallel', async () => {
    const saved = new Uint8Array(await readFile('test/fixtures/pytorch-files/ours.pth'));
    const { description: found, weights: read } = await readModel(saved);
    expect(found.config).toEqual(completeConfig({ inChannels: 1, classes: 2, features: [1, 2] }));
    const { parameters, statistics } = layoutParameters(found.config);
    const dict = await readStateDict(saved);
    for (const [entries, flat] of [
      [parameters, read.parameters],
      [statistics, read.statistics],
    ] as const)
      for (const { name, offset, length } of entries.values())
        expect(flat.slice(offset, offset + length), name).toEqual(await dict.get(name)!.read());
    // The same as safetensors, with the wrapper's prefix still there.
    const wrapped = new Map<string, NamedTensor>();
    for (const [name, tensor] of dict)
      wrapped.set(`module.${name}`, { shape: tensor.shape, data: await tensor.read() });
    const same = await readModel(writeSafetensors({ tensors: wrapped, metadata: {} }));
    expect(same.weights).toEqual(read);
    wrapped.set('module.decoder.0.attention.weight', { shape: [1], data: new Float32Array(1) });
    await expect(
      readModel(writeSafetensors({ tensors: wrapped, metadata: {} }), 'more.safetensors'),
    ).rejects.toThrow(/more\.safetensors holds "decoder\.0\.attention\.weight", for which .* has no place/);
  });

  test('keep strides, which without our metadata follow from the shapes', async () => {
    const flat = completeConfig({ ...config, strides: [[2, 1, 2]] });
    const { parameters, parameterWords } = layoutParameters(flat);
    expect(parameters.get('decoder.0.up.weight')!.shape).toEqual([5, 3, 2, 1, 2]);
    const values = { ...weights, parameters: initialValues(parameters, parameterWords, 1) };
    const bytes = await writeModel({ ...description, config: flat }, values);
    expect((await readModel(bytes)).description.config).toEqual(flat);
    const { tensors } = readSafetensors(bytes);
    const bare = writeSafetensors({ tensors, metadata: {} });
    expect((await readModel(bare)).description.config).toEqual(flat);
  });

  /** A model of a configuration, written and read with and without our metadata. */
  async function through(partial: Partial<UNet3DConfig>) {
    const given = completeConfig({ ...config, ...partial });
    const { parameters, parameterWords, statistics, statisticsWords } = layoutParameters(given);
    const values = {
      parameters: initialValues(parameters, parameterWords, 1),
      statistics: initialValues(statistics, statisticsWords, 1),
    };
    const bytes = await writeModel({ ...description, inputSize: undefined, config: given }, values);
    const bare = writeSafetensors({ tensors: readSafetensors(bytes).tensors, metadata: {} });
    return { given, values, read: await readModel(bytes), bare };
  }
  const flat = {
    features: [3, 4, 5],
    norm: 'instance',
    strides: [
      [2, 2, 1],
      [2, 2, 2],
    ],
    kernels: [
      [3, 3, 1],
      [3, 1, 3],
      [3, 3, 3],
    ],
  } as const;

  test('keep what levels are made of, which without our metadata follows from names and shapes', async () => {
    const { given, values, read, bare } = await through({
      ...flat,
      encoderBlocks: [1, 3, 2],
      decoderBlocks: [3, 1],
      bias: false,
      scaleAndShift: false,
    });
    expect(read).toMatchObject({ description: { format: 6, config: given }, weights: values });
    expect(await readModel(bare)).toMatchObject({ description: { config: given }, weights: values });
  });

  test('of residual blocks are kept with our metadata, and refused without', async () => {
    const { given, values, read, bare } = await through({
      ...flat,
      activation: 'leakyRelu',
      slope: 0.2,
      block: 'residual',
      encoderBlocks: [1, 2, 3],
      down: 'conv',
      heads: 2,
    });
    expect(read).toMatchObject({ description: { format: 6, config: given }, weights: values });
    expect((await refusal(bare, 'm.safetensors')).message).toMatch(
      /^m\.safetensors has residual blocks, but no description.*take the file that this package wrote/,
    );
  });

  test('say by path what is wrong with a level', async () => {
    const wrong = described({
      ...current,
      config: {
        ...config,
        kernels: [
          [3, 3, 2],
          [3, 3, 3],
        ],
      },
    });
    expect((await refusal(wrong)).message).toMatch(
      /in the description of the model file, config\.kernels\[0\]\[2\] is 2; expected x, y, z of 1 or 3 for each level/,
    );
  });

  test('of format 2 have strides of 2', async () => {
    const { labels, channels } = description;
    const old = described({ format: 2, packageVersion: '0.1.0', config, labels, channels });
    expect((await readModel(old)).description).toMatchObject({ format: 6, config });
  });

  test('have names and shapes of PyTorch', () => {
    const { tensors } = readSafetensors(file);
    expect(tensors.get('encoder.0.conv1.weight')!.shape).toEqual([3, 2, 3, 3, 3]);
    expect(tensors.get('decoder.0.up.weight')!.shape).toEqual([5, 3, 2, 2, 2]);
    expect(tensors.get('decoder.0.conv1.weight')!.shape).toEqual([3, 6, 3, 3, 3]);
    expect(tensors.get('encoder.1.norm2.running_var')!.shape).toEqual([5]);
    expect(tensors.get('head.weight')!.shape).toEqual([3, 3, 1, 1, 1]);
  });

  test.each([
    ['truncated', (bytes: Uint8Array) => bytes.slice(0, bytes.length - 8), /should have \d+ bytes/],
    ['with a header that claims too much', (bytes: Uint8Array) => bytes.slice(0, 40), /its header claims/],
    ['with a broken header', (bytes: Uint8Array) => bytes.map((b, i) => (i === 9 ? 0 : b)), /not valid JSON/],
    ['with a broken letter', (bytes: Uint8Array) => bytes.map((b, i) => (i === 9 ? 255 : b)), /UTF-8/],
    ['empty', () => new Uint8Array(3), /it has 3 bytes/],
  ])('%s: refused by name', async (_, damage, message) => {
    const error = await refusal(damage(file));
    expect(error).toBeInstanceOf(InvalidModel);
    expect(error.message).toMatch(message);
  });

  test('a flipped bit anywhere is found, or changes nothing', async () => {
    const source = random(0, 'bits');
    const headerBytes = dataStart(file);
    for (let count = 0; count < 400; count++) {
      const damaged = file.slice();
      const place = count % 2 ? source.int(headerBytes) : source.int(file.length);
      damaged[place]! ^= 1 << source.int(8);
      const read: unknown = await readModel(damaged).catch((error: unknown) => error);
      if (!(read instanceof InvalidModel)) expect(read).toEqual(await readModel(file));
    }
    const damaged = file.slice();
    damaged[file.length - 5]! ^= 1;
    expect((await refusal(damaged, 'm.safetensors')).message).toMatch(
      /m\.safetensors is damaged.*take another copy/,
    );
  });

  test('damaged in any way: a value or a named refusal', async () => {
    for (let seed = 0; seed < 600; seed++) {
      const damaged = await mutatedSafetensors(file, random(seed, 'model'));
      const error = await readModel(damaged).then(
        () => undefined,
        (problem: unknown) => problem,
      );
      if (error !== undefined) expect(error, `seed ${seed}`).toBeInstanceOf(UNet3DError);
    }
  });

  test('of a newer format: says to update', async () => {
    const { message } = await refusal(described({ format: 7, packageVersion: '9.0.0', news: 1 }));
    expect(message).toMatch(/format 7, written by version 9\.0\.0.*update/);
  });

  test('of format 1: resampled before normalised, as they were trained, also when saved again', async () => {
    const preprocessing = {
      orientation: 'RAS',
      spacing: [1, 1, 3],
      normalization: ['z-score', 'none'],
      padding: 'zeros at the far end',
    };
    const { labels, channels } = description;
    const first = await readModel(
      described({ format: 1, packageVersion: '0.1.0', config, labels, channels, preprocessing }),
    );
    const old = { ...preprocessing, order: 'resample, normalize' };
    expect(first.description.preprocessing).toEqual(old);
    const again = await readModel(await writeModel(first.description, weights));
    expect(again.description.preprocessing).toEqual(old);
  });

  const preprocessing = (change: object) => ({ preprocessing: { ...description.preprocessing, ...change } });
  test.each<[object, string]>([
    [preprocessing({ orientation: 'LPS' }), 'preprocessing.orientation is "LPS"; expected "RAS"'],
    [preprocessing({ crop: 'foo' }), 'preprocessing.crop is "foo"; expected "non-zero"'],
    [
      preprocessing({ padding: 'mirror' }),
      'preprocessing.padding is "mirror"; expected "zeros at the far end"',
    ],
    [
      preprocessing({ padding: undefined }),
      'preprocessing.padding is missing; expected "zeros at the far end"',
    ],
    [preprocessing({ spacing: [1, 1] }), 'preprocessing.spacing[2] is missing; expected'],
    [preprocessing({ spacing: [1, 1, 0] }), 'preprocessing.spacing[2] is 0; expected a number above 0'],
    [preprocessing({ spacing: [1, 1, 1, 1] }), 'preprocessing.spacing[3] is 1; expected'],
    [preprocessing({ normalization: ['z-score'] }), 'preprocessing.normalization has 1 entries; expected 2'],
    [
      preprocessing({ normalization: ['z-score', 'x'] }),
      'preprocessing.normalization[1] is "x"; expected "z-score"',
    ],
    [preprocessing({ flip: true }), 'preprocessing.flip is not known; expected orientation, crop'],
    [{ inputSize: [8, -8, 4] }, 'inputSize[1] is -8; expected a whole number from 1 on'],
    [{ inputSize: [8, 8, 3] }, 'inputSize is [8, 8, 3]; expected multiples of 2'],
    [{ labels: 5 }, 'labels is 5; expected a list of names of classes'],
    [{ labels: ['background', 'a'] }, 'labels has 2 entries; expected 3, as config says'],
    [{ labels: ['a', 'b', 'a'] }, 'expected a different name for each of the classes: "a" is there twice'],
    [{ channels: ['T1'] }, 'channels has 1 entries; expected 2'],
    [{ postprocessing: { largestComponent: [3] } }, 'largestComponent has 3; expected classes from 1 to 2'],
    [
      { config: { ...config, features: [3, 2 ** 60] } },
      'config.features[1] is 1152921504606847000; expected',
    ],
    [{ config: { ...config, classes: 0 } }, 'config.classes is 0; expected a whole number from 1 to 255'],
    [{ config: { ...config, classes: 1 } }, 'classes is 1 without regions'],
    [{ config: { ...config, norm: 'layer' } }, 'config.norm is "layer"; expected "batch"'],
    [
      { config: { ...config, norm: 'group' } },
      'norm is group; give batch or instance, which architecture unet has',
    ],
    [{ config: { ...config, deepSupervision: true } }, 'deepSupervision takes four levels or more'],
    [{ config: undefined }, 'config is missing; expected an object'],
    [{ preprocesing: 1 }, 'preprocesing is not known; expected preprocessing or postprocessing'],
  ])('%j is refused by path, value and expectation', async (change, message) => {
    const error = await refusal(described({ ...current, ...change }));
    expect(error).toBeInstanceOf(InvalidModel);
    expect(error.message).toContain(message);
  });

  test.each([NaN, Infinity])('%d among the weights is refused with tensor and place', async (value) => {
    const tensors = new Map(readSafetensors(file).tensors);
    const { shape, data } = tensors.get('encoder.0.conv1.weight')!;
    const broken = data.slice();
    broken[((1 * 2 + 1) * 3 + 0) * 9 + 2 * 3 + 1] = value; // out 1, in 1, z 0, y 2, x 1
    tensors.set('encoder.0.conv1.weight', { shape, data: broken });
    const { message } = await refusal(
      writeSafetensors({ tensors, metadata: readSafetensors(described(current)).metadata }),
    );
    expect(message).toContain(`tensor encoder.0.conv1.weight holds ${value} at [1,1,0,2,1]`);
  });

  test('of another network: names the tensor and both shapes', async () => {
    const tensors = new Map(readSafetensors(file).tensors);
    tensors.set('head.bias', { shape: [4], data: new Float32Array(4) });
    const { message } = await refusal(writeSafetensors({ tensors, metadata: {} }));
    expect(message).toMatch(/head\.bias has shape \[4\].*\[3\]/);
  });

  test.each([
    ['gzip', [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], /x is not a safetensors file: .*gzip, perhaps an image/],
    ['an archive', [0x50, 0x4b, 3, 4, 0, 0, 8, 8, 0, 0], /PyTorch: its zip archive cannot be read/],
    ['a pickle', [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20], /PyTorch/],
    [
      'an ONNX model',
      [8, 8, 0x12, 7, 0x70, 0x79, 0x74, 0x6f, 0x72, 0x63, 0x68],
      /ONNX model; save the weights/,
    ],
    ['text', [...new TextEncoder().encode('{\n  "name": 1}')], /it is text/],
  ])('%s is recognised', async (_, bytes, message) => {
    expect((await refusal(Uint8Array.from(bytes), 'x')).message).toMatch(message);
  });
});
