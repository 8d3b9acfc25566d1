/** Where Node keeps the cache of kernel choices, and how. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { formatProcess, thisProcess } from '../../src/files/process.node.ts';
import { cacheFolder, folderCache } from '../../src/model/tuning-cache.node.ts';

test("the user's cache folder, as the platform has it", () => {
  const home = join('home', 'ada');
  const folder = (platform: string, env: Record<string, string> = {}) => cacheFolder({ platform, env }, home);
  expect(folder('linux')).toBe(join(home, '.cache', 'unet3d-gpu'));
  expect(folder('linux', { XDG_CACHE_HOME: 'elsewhere' })).toBe(join('elsewhere', 'unet3d-gpu'));
  expect(folder('linux', { XDG_CACHE_HOME: '' })).toBe(join(home, '.cache', 'unet3d-gpu'));
  expect(folder('darwin')).toBe(join(home, 'Library', 'Caches', 'unet3d-gpu'));
  expect(folder('win32', { LOCALAPPDATA: 'local' })).toBe(join('local', 'unet3d-gpu'));
  expect(folder('win32')).toBe(join(home, 'AppData', 'Local', 'unet3d-gpu'));
});

test('files are made with their folder and replaced whole', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'unet3d-cache-'));
  try {
    const store = folderCache(join(folder, 'deep'));
    expect(await store.load('kernels.json')).toBeUndefined();
    for (const text of ['first', 'second']) await store.save('kernels.json', new TextEncoder().encode(text));
    expect(new TextDecoder().decode(await store.load('kernels.json'))).toBe('second');
    expect(await readdir(join(folder, 'deep'))).toEqual(['kernels.json']);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('the folder of the cache knows processes', () => {
  const users = folderCache('anywhere').users!;
  expect(users.own).toBe(formatProcess(thisProcess()));
  for (const name of [users.own, 'something else']) expect(users.hasEnded(name)).toBe(false);
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  expect(users.hasEnded(formatProcess({ ...thisProcess(), pid, started: '1' }))).toBe(true);
});
