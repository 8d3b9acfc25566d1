/** Checkpoints in the origin's private file system: whole files only, also when the disk is full. */
import { afterEach, expect, test, vi } from 'vitest';
import { privateStore, QuotaExceeded } from '../../src/files/private.browser.ts';
import { previousName } from '../../src/files/store.ts';
import { bestModel } from '../../src/train/best-model.ts';
import { writeSafetensors } from '../../src/weights/safetensors.ts';

afterEach(() => vi.restoreAllMocks());

test('keeps, replaces, lists and removes files', async () => {
  const store = await privateStore('test files');
  for (const name of await store.list()) await store.remove(name);
  expect(await store.load('a')).toBeUndefined();
  await store.save('a', new Uint8Array([1, 2, 3]));
  await store.save('a', new Uint8Array([4]));
  await store.save('b', new Uint8Array([5]));
  expect(await store.load('a')).toEqual(new Uint8Array([4]));
  expect(await store.load(previousName('a'))).toEqual(new Uint8Array([1, 2, 3]));
  expect(await store.list()).toEqual(['a', previousName('a'), 'b'].sort());
  await store.remove('a');
  await store.remove('never there');
  expect(await store.list()).toEqual(['b']);
});

test('one training at a time holds a folder, and its end frees it', async () => {
  const [one, other] = [await privateStore('test hold'), await privateStore('test hold')];
  {
    using held = await one.hold!();
    expect(held).toBeDefined();
    await expect(other.hold!()).rejects.toThrow('"test hold" is in use by another training of this site');
  }
  await new Promise((resolve) => setTimeout(resolve));
  using again = await other.hold!();
  expect(again).toBeDefined();
});

test.each(['runs/1', 'runs\\1', '', '.', '..'])('%j is no folder', async (folder) => {
  await expect(privateStore(folder)).rejects.toThrow(
    /folder is .* give the name of one folder, without \/ and \\/,
  );
});

test('a full disk is an error of its own, and the file before it stands', async () => {
  const store = await privateStore('test quota');
  await store.save('checkpoint', new Uint8Array([1]));
  vi.spyOn(FileSystemWritableFileStream.prototype, 'write').mockRejectedValue(
    new DOMException('full', 'QuotaExceededError'),
  );
  await expect(store.save('checkpoint', new Uint8Array(1000))).rejects.toSatisfy(
    (error) =>
      error instanceof QuotaExceeded && error.needed === 1000 && error.message.includes('free disk space'),
  );
  expect(await store.load('checkpoint')).toEqual(new Uint8Array([1]));
  await expect(store.save('new', new Uint8Array(1000))).rejects.toBeInstanceOf(QuotaExceeded);
  expect(await store.load('new')).toBeUndefined();
});

test('where there is no room for a new file, the one before makes it, or stays', async () => {
  const store = await privateStore('test damaged');
  const [first, second] = [new Uint8Array(100).fill(1), new Uint8Array(100).fill(2)];
  await store.save('checkpoint', first);
  await store.save('checkpoint', second);
  const full = new DOMException('full', 'QuotaExceededError');
  const stream = FileSystemWritableFileStream.prototype;
  const really = Reflect.get(stream, 'write') as (part: unknown) => Promise<void>;
  const write = vi.spyOn(stream, 'write');
  const estimate = vi.spyOn(navigator.storage, 'estimate');
  write.mockImplementation(function (this: FileSystemWritableFileStream, part) {
    return (part as Uint8Array).length > 100 ? Promise.reject(full) : really.call(this, part);
  });
  // By the browser's count that would not be enough; it does not tell; it tells of more room than there is.
  for (const told of [{ quota: 240, usage: 189 }, {}, { quota: 10 * 2 ** 30, usage: 200 }]) {
    estimate.mockResolvedValue(told);
    await expect(store.save('checkpoint', new Uint8Array(152))).rejects.toSatisfy(
      ({ message }: Error) => (told.usage === 189) === /this site has room for 51 B/.test(message),
    );
    expect(await store.load(previousName('checkpoint'))).toEqual(first);
    expect(await store.load('checkpoint')).toEqual(second);
  }
  write.mockRestore();
  vi.spyOn(stream, 'write').mockRejectedValueOnce(full);
  const third = new Uint8Array(150).fill(3);
  await store.save('checkpoint', third);
  expect(await store.load('checkpoint')).toEqual(third);
  expect(await store.load(previousName('checkpoint'))).toEqual(second);
});

test('without best weights in a checkpoint there is no best model', async () => {
  const tensors = new Map([['head.weight', { shape: [1], data: new Float32Array(1) }]]);
  const file = writeSafetensors({ tensors, metadata: {} });
  expect(await bestModel(file, file)).toBeUndefined();
});
