/** Models in zip archives: read as their folders are, and refused where they are made to do harm. */
import { expect, test } from 'vitest';
import { InvalidModel } from '../../src/errors.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { bytesOf, filesInZip, modelFiles } from '../../src/interop/model-files.ts';
import { interopFolder, nnunetFixture } from '../support/interop.ts';
import { zipOf, type ZipPart } from '../support/zip.ts';

const bytes = (length: number, value = 0) => new Uint8Array(length).fill(value);

test('an exported model, deflated as nnU-Net does it', async ({ skip }) => {
  const found = await nnunetFixture('totalsegmentator');
  if (!found) return skip(`${interopFolder} is not there`);
  const parts = found.files.map(({ path, source }) => ({
    path: path.slice('model/'.length),
    content: source as Uint8Array,
    deflated: true,
  }));
  const fromFolder = await openNnunet(found.files);
  const fromZip = await openNnunet(new Blob([await zipOf(parts)]));
  const { folds, ...rules } = fromZip;
  const { folds: expected, ...others } = fromFolder;
  expect(rules).toEqual(others);
  expect(folds.map(({ name }) => name)).toEqual(expected.map(({ name }) => name));
  for (const [name, tensor] of expected[0]!.weights)
    expect((await folds[0]!.weights.get(name)!.read()).join(), name).toBe((await tensor.read()).join());
});

test('entries, stored or deflated', async () => {
  const content = Uint8Array.from({ length: 5000 }, (_, i) => i % 7);
  const files = await filesInZip(
    await zipOf([
      { path: 'a/one', content },
      { path: 'a/two', content, deflated: true },
      { path: '.hidden/three', content },
      // As macOS packs folders.
      { path: '__MACOSX/a/._one', content },
      { path: 'a/.DS_Store', content },
    ]),
  );
  expect(files.map(({ path }) => path)).toEqual(['a/one', 'a/two']);
  for (const file of files)
    expect(new Uint8Array(await ((await file.open()) as Blob).arrayBuffer())).toEqual(content);
});

test('what lies in hidden folders counts where there is nothing else, in archives and in lists', async () => {
  const paths = (files: readonly { path: string }[]) => files.map(({ path }) => path);
  const content = bytes(10, 3);
  const hidden = ['.totalsegmentator/a/one', '.totalsegmentator/.DS_Store'].map((path) => ({
    path,
    content,
  }));
  const beside = { path: 'a/one', content };
  for (const [given, shown] of [
    [hidden, ['.totalsegmentator/a/one']],
    [[...hidden, beside], ['a/one']],
  ] as const) {
    expect(paths(await filesInZip(await zipOf(given)))).toEqual(shown);
    const list = given.map(({ path }) => ({ path, source: new Blob([content]) }));
    expect(paths(await modelFiles(list))).toEqual(shown);
  }
});

test('backslashes between folders, as some programs of Windows write them', async () => {
  const content = bytes(10, 3);
  const archive = await zipOf([
    { path: 'a\\fold_0\\', content: bytes(0) },
    { path: 'a\\fold_0\\one', content },
    { path: 'a\\.hidden', content },
  ]);
  const files = await filesInZip(archive);
  expect(files.map(({ path }) => path)).toEqual(['a/fold_0/one']);
  expect(await bytesOf(files[0]!)).toEqual(content);
});

const one: ZipPart = { path: 'a', content: bytes(10) };
test.each<[string, readonly ZipPart[], RegExp]>([
  [
    'a way up',
    [{ ...one, path: 'a/../../b' }],
    /no archive of a model: it holds "a\/\.\.\/\.\.\/b", which leads/,
  ],
  ['a way up by backslashes', [{ ...one, path: 'a\\..\\..\\b' }], /which leads out of its folder/],
  ['a share', [{ ...one, path: '\\\\host\\a' }], /which leads out of its folder/],
  [
    'a name twice, once by backslashes',
    [
      { ...one, path: 'b/a' },
      { ...one, path: 'b\\a' },
    ],
    /"b\/a" twice/,
  ],
  ['a path of the machine', [{ ...one, path: '/etc/a' }], /relative|leads out of its folder|absolute/],
  ['a name twice', [one, one], /holds "a" twice/],
  [
    'what unfolds without end',
    [{ path: 'a', content: bytes(2 ** 24), deflated: true }],
    /its "a" would unfold from \d+ to 16777216 bytes/,
  ],
  ['more than the file has', [{ ...one, claimed: 20 }], /not a readable zip archive/],
  ['what is encrypted', [{ ...one, deflated: true, flags: 1 }], /"a" in the buffer is encrypted/],
  [
    'less than there is',
    [{ path: 'a', content: bytes(100, 1), deflated: true, claimed: 10 }],
    /of its "a", /,
  ],
])('refuses %s', async (_, parts, message) => {
  const read = async () => {
    for (const file of await filesInZip(await zipOf(parts))) await file.open();
  };
  await expect(read()).rejects.toThrow(message);
  await expect(read()).rejects.toThrow(InvalidModel);
});

test('refuses what is no archive', async () => {
  await expect(filesInZip(bytes(100, 65))).rejects.toThrow(
    /it is no zip archive; give the folder of a model/,
  );
  const whole = await zipOf([one]);
  await expect(filesInZip(whole.slice(0, -4))).rejects.toThrow(/not a readable zip archive/);
});
