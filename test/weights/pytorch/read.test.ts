/** Files of torch.save: numbers as PyTorch has them, nothing read that nobody asks for, nothing executed. */
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { concatenated, entriesOf, storedZip } from '../../../scripts/fuzz/archives.ts';
import '../../../src/data/source.node.ts';
import { InvalidModel } from '../../../src/errors.ts';
import { readPytorch } from '../../../src/weights/pytorch/read.ts';
import type { PytorchTensor } from '../../../src/weights/pytorch/tensor.ts';
import { readStateDict, stateDictOf } from '../../../src/weights/pytorch/state-dict.ts';

const folder = 'test/fixtures/pytorch-files';
type Described = Record<string, { type: string; shape: number[]; values: string[] }>;
const expected = JSON.parse(await readFile(`${folder}/expected.json`, 'utf8')) as Record<string, Described>;
const bytesAt = async (name: string): Promise<Uint8Array<ArrayBuffer>> =>
  new Uint8Array(await readFile(`${folder}/${name}`));

/** As Python writes numbers. */
const number = (text: string): number =>
  text === 'inf' ? Infinity : text === '-inf' ? -Infinity : Number(text);

/** Written by PyTorch 2.6 and numpy 2. */
const newer = ['checkpoint-legacy', 'checkpoint-protocol4', 'checkpoint', 'types', 'views'].map(
  (name) => [`2.6/${name}.pth`, expected[`${name}.pth`]!] as const,
);

test.each([...Object.entries(expected), ...newer])('%s', async (name, tensors) => {
  const found = await readStateDict(join(folder, name));
  expect([...found.keys()]).toEqual(Object.keys(tensors));
  for (const [key, { type, shape, values }] of Object.entries(tensors)) {
    const tensor = found.get(key)!;
    expect([tensor.type.name, tensor.shape], key).toEqual([type, shape]);
    expect([...(await tensor.read())], key).toEqual(values.map(number));
  }
});

test('what stands beside the weights is data', async () => {
  const kinds = ['checkpoint.pth', 'checkpoint-protocol4.pth', 'checkpoint-legacy.pth'];
  for (const name of [...kinds, ...kinds.map((kind) => `2.6/${kind}`)]) {
    const saved = (await readPytorch(join(folder, name))) as Map<string, unknown>;
    const inner = (key: string): Map<string, unknown> => saved.get(key) as Map<string, unknown>;
    expect(saved.get('epoch')).toBe(3);
    expect(inner('logging').get('losses')).toEqual([0.5, 0.25, -2]);
    expect(inner('logging').get('history')).toMatchObject({ shape: [2, 3] });
    expect(inner('init_args').get('device')).toBe('cuda:1');
    expect(inner('init_args').get('shape')).toEqual([1, 2]);
    expect(inner('init_args').get('type')).toMatchObject({ name: 'torch.float16' });
    expect(saved.get('texts')).toEqual(['José', '😀', '', '__proto__']);
    expect(saved.get('numbers')).toEqual(
      [0, -1, 255, 65536, 2 ** 31, -(2 ** 40), 2n ** 70n, 1e300, -Infinity, true, null].concat([
        new Set([1, 2]),
        [],
        [1, 2, 3, 4],
      ] as never[]),
    );
    const parameters = saved.get('parameters') as PytorchTensor[];
    const weights = (inner('network_weights') as Map<string, PytorchTensor>).get('0.weight')!;
    expect(await parameters[0]!.read()).toEqual(await weights.read());
  }
});

test('tensors beside a container are no weights; alone they are', async () => {
  const saved = (await readPytorch(join(folder, 'checkpoint.pth'))) as Map<
    string,
    Map<string, PytorchTensor>
  >;
  const weights = saved.get('network_weights')!;
  const loss = weights.get('0.weight')!;
  for (const container of ['model_state_dict', 'state_dict', 'ema']) {
    const checkpoint = new Map<string, unknown>([
      ['epoch', 3],
      ['loss', loss],
      [container, weights],
    ]);
    expect([...stateDictOf(checkpoint, 'a.pth').keys()]).toEqual([...weights.keys()]);
  }
  expect([...stateDictOf(new Map([['loss', loss]]), 'a.pth').keys()]).toEqual(['loss']);
});

/** A file that notes which of its bytes are read. */
class Watched extends Blob {
  readonly ranges: [number, number][] = [];
  override slice(from = 0, to = this.size): Blob {
    this.ranges.push([from, to]);
    return super.slice(from, to);
  }
}

test('of the numbers, only those of the tensors that are asked for are read', async () => {
  const momentum = new Uint8Array(2 ** 20).fill(7);
  const entries = await entriesOf(await bytesAt('checkpoint.pth'));
  const large = storedZip([...entries, ...[0, 1, 2].map((key) => [`a/data/m${key}`, momentum] as const)]);
  const file = new Watched([large]);
  const found = await readStateDict(file);
  expect(file.ranges.reduce((sum, [from, to]) => sum + to - from, 0)).toBeLessThan(2 ** 17);
  file.ranges.length = 0;
  const tensor = found.get('0.weight')!;
  await tensor.read();
  expect(file.ranges.reduce((sum, [from, to]) => sum + to - from, 0)).toBe(30 + 4 * tensor.length);
});

test('an archive beyond 4 GiB is read', async () => {
  const start = 5 * 2 ** 30 + 3;
  const place = await mkdtemp(join(tmpdir(), 'unet3d-pth-'));
  try {
    const path = join(place, 'large.pth');
    await using file = await open(path, 'w'); // with a hole, which takes no space
    await file.write(Uint8Array.of(0x50, 0x4b, 3, 4));
    await file.write(storedZip(await entriesOf(await bytesAt('types.pth')), { start }), 0, undefined, start);
    const found = await readStateDict(path);
    expect([...(await found.get('float64')!.read())]).toEqual(
      expected['types.pth']!['float64']!.values.map(number),
    );
  } finally {
    await rm(place, { recursive: true, force: true });
  }
});

const text = (letters: string): Uint8Array => Uint8Array.from(letters, (letter) => letter.charCodeAt(0));

/** What is saved by these instructions. */
const saved = (pickle: string, ...more: [string, Uint8Array][]): Promise<unknown> =>
  readPytorch(storedZip([['a/data.pkl', text(pickle)], ...more]), 'x.pth');

/** As a pickle has four bytes of a whole number. */
const four = (value: number): string => String.fromCharCode(...new Uint8Array(Uint32Array.of(value).buffer));

test("nnU-Net's notes of 4,000 epochs and 24 classes are read: 0.5, as pickles of protocol 2 have it from numpy", async () => {
  const count = 96_000;
  let kept = 0;
  const keep = (): string => `r${four(kept++)}`;
  const shared = [
    `cnumpy.core.multiarray\nscalar\n${keep()}a`,
    `cnumpy\ndtype\nX\u0002\0\0\0f8\u0089\u0088\u0087R${keep()}(K\u0003X\u0001\0\0\0<NNNJ\u00ff\u00ff\u00ff\u00ffJ\u00ff\u00ff\u00ff\u00ffK\0tba`,
    `c_codecs\nencode\n${keep()}a`,
    `X\u0006\0\0\0latin1${keep()}a`,
  ];
  const half = `X\u0009\0\0\0${'\0'.repeat(6)}\u00c3\u00a0?`;
  const numbers = Array.from(
    { length: count },
    () => `h\0h\u0001h\u0002${half}${keep()}h\u0003\u0086${keep()}R${keep()}\u0086${keep()}R${keep()}a`,
  );
  const found = (await saved(`]${shared.join('')}${numbers.join('')}.`)) as unknown[];
  expect(found.slice(shared.length)).toEqual(Array(count).fill(0.5));
});

describe('hostile files are refused', () => {
  const storage = '(X\u0007\0\0\0storagectorch\nFloatStorage\nX\u0001\0\0\0' + '0X\u0003\0\0\0cpuK\u0004tQ';
  const tensor = (view: string): string => `ctorch._utils\n_rebuild_tensor_v2\n(${storage}${view}\u0089}tR.`;
  const numbers: [string, Uint8Array] = ['a/data/0', new Uint8Array(16)];
  const large = 'J\u00ff\u00ff\u00ff\u007f';
  test.each<[string, string, RegExp]>([
    ['another protocol’s instruction', '\u0080\u0002P1\n.', /holds the pickle instruction 0x50 \(byte 2\)/],
    ['a function', 'cos\nsystem\nX\u0001\0\0\0x\u0085R.', /x\.pth holds os\.system, which only Python/],
    ['a function by texts', 'X\u0002\0\0\0osX\u0006\0\0\0system\u0093.', /holds os\.system/],
    ['a name that is no text', '}}\u0093.', /names something by what is no text/],
    ['an instance', 'c__main__\nNet\n)\u0081.', /holds __main__\.Net/],
    ['a class that is only mentioned', 'ctorch\nFloatStorage\n)R.', /a call of torch\.FloatStorage/],
    ['a call of data', '})R.', /a call of what is not known/],
    ['attributes of a list', ']}b.', /setting of an object's attributes/],
    [
      'another encoding',
      'c_codecs\nencode\nX\0\0\0\0X\u0004\0\0\0zlib\u0086R.',
      /other encoding than latin1/,
    ],
    ['objects of numpy', 'cnumpy\ndtype\nX\u0002\0\0\0O8\u0085R.', /holds numpy\.dtype\(O8\)/],
    ['an empty stack', '0.', /instruction 0x30/],
    ['a mark too few', 't.', /has no mark/],
    ['a text beyond the end', 'X\u00ff\u00ff\u00ff\u00ffx.', /ends early \(byte 5/],
    ['no end', '}}}', /ends early/],
    ['what was never kept', 'h\u0005.', /recalls number 5/],
    ['a tuple that changes', ')K\u0001a.', /appends to what is no list/],
    [
      'a negative size',
      tensor('K\0' + 'J\u00ff\u00ff\u00ff\u00ff\u0085K\u0001\u0085'),
      /no whole numbers from 0 on/,
    ],
    [
      'strides beyond the storage',
      tensor(`K\0K\u0002\u0085${large}\u0085`),
      /reaches beyond its storage of 4/,
    ],
    ['more numbers than the file', tensor(`K\0${large}\u0085K\0\u0085`), /larger than the file/],
    [
      'sizes whose product overflows',
      tensor('K\0(' + large.repeat(20) + 't(' + 'K\0'.repeat(20) + 't'),
      /larger than/,
    ],
    ['an unknown reference', 'K\u0001Q.', /refers to a storage in a way that is not known/],
    ['a memo without end', 'N' + '\u0094'.repeat(3_000_000) + '.', /makes objects of more than 98 MiB/],
    ['a stack without end', 'N'.repeat(300_000) + '.', /stacks more than 262144 objects/],
    ['dicts without end', ']' + '}a'.repeat(300_000) + '.', /makes objects of more than 71 MiB/],
    ['a dict of dicts without end', '}'.repeat(300_000) + '.', /stacks more than 262144 objects/],
  ])('%s', async (_, pickle, message) => {
    const found = saved(pickle, numbers);
    await expect(found).rejects.toThrow(message);
    await expect(found).rejects.toThrow(InvalidModel);
  });

  test('a storage of two types', async () => {
    const other = storage.replace('Float', 'Int');
    await expect(saved(`${storage}${other}\u0086.`, numbers)).rejects.toThrow(/"0" has two types or lengths/);
  });

  test('lists within lists without end are a list', async () => {
    const depth = 200_000;
    expect(await saved(']'.repeat(depth) + 'a'.repeat(depth - 1) + '.')).toHaveLength(1);
  });

  test('an entry that is there twice', async () => {
    await expect(saved('}.', ['a/version', text('3')], ['a/version', text('4')])).rejects.toThrow(/twice/);
  });

  test('a structure that claims gigabytes', async () => {
    const bytes = storedZip([['a/data.pkl', text('}.')]]);
    const name = concatenated([bytes]);
    new DataView(name.buffer).setUint32(bytes.length - 22 - 20 - 56 + 40, 2 ** 31, true);
    await expect(readPytorch(name, 'x.pth')).rejects.toThrow(/x\.pth .*list of entries has 2147483648 bytes/);
  });
});

test.each<[string, Uint8Array, RegExp]>([
  ['safetensors', text('\u0002\0\0\0\0\0\0\0{}'), /it is a safetensors file/],
  ['a zip archive of others', storedZip([['plans.json', text('{}')]]), /holds "plans\.json", no data\.pkl/],
  ['a tar archive', text('sys_info'.padEnd(257, '\0') + 'ustar'), /before 0\.1\.10; .* again/],
  ['HDF5', text('\u0089HDF\r\n\u001a\n'), /it is HDF5/],
  ['ONNX', text('\u0008\u0008\u0012\u0007pytorch'), /looks like an ONNX model; save the weights/],
  ['gzip', text('\u001f\u008b\u0008\0'), /compressed with gzip/],
  ['a pickle', text('\u0080\u0004}.'), /it is a plain pickle.*torch\.save\(model\.state_dict/],
  ['text', text('weights of 2026'), /it is text; give the model file/],
  [
    'what Git LFS leaves in place of a file',
    text('version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n'),
    /only the pointer that Git LFS leaves .* "git lfs pull"/,
  ],
  ['nothing', new Uint8Array(), /check that it is the right file/],
])('%s is told by its content', async (_, bytes, message) => {
  await expect(readPytorch(bytes, 'x.pth')).rejects.toThrow(message);
});

test('a path without a file', async () => {
  await expect(readPytorch('nowhere.pth')).rejects.toThrow(/nowhere\.pth does not exist; check the path/);
});
