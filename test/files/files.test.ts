/** Files written whole, folders, locks, and what tells one file from another. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, utimesSync } from 'node:fs';
import { link, mkdir, open, readFile, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { UNet3DError } from '../../src/errors.ts';
import { assertUnlocked, FolderLock } from '../../src/files/lock.node.ts';
import { formatProcess, isRunning, parseProcess, thisProcess } from '../../src/files/process.node.ts';
import { readIfThere } from '../../src/files/read.node.ts';
import { fileKeys } from '../../src/files/same.node.ts';
import { makeFolder, removeLeftovers, writeFileAtomically } from '../../src/files/write.node.ts';
import { hexadecimal, sha256 } from '../../src/hash.ts';
import '../../src/hash.node.ts';
import { folderCache } from '../../src/model/tuning-cache.node.ts';
import { folderStore } from '../../src/train/checkpoint.node.ts';
import { temporaryFolder } from '../support/temporary.node.ts';

/** A process of this host that has ended. */
function deadProcess(): string {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  return formatProcess({ ...thisProcess(), pid });
}

describe('writing', () => {
  test('many writers of one file at once leave one of their texts, whole, and nothing else', async () => {
    const folder = await temporaryFolder();
    const path = join(folder, 'deep', 'file.txt');
    const texts = Array.from({ length: 20 }, (_, index) => String(index).repeat(100_000));
    await Promise.all(texts.map((text) => writeFileAtomically(path, text)));
    expect(texts).toContain(await readFile(path, 'utf8'));
    expect(await readdir(join(folder, 'deep'))).toEqual(['file.txt']);
  });

  test('an error names the file that was wanted', async () => {
    const folder = await temporaryFolder();
    const path = join(folder, 'taken');
    await mkdir(join(path, 'full'), { recursive: true });
    const error = await writeFileAtomically(path, 'x').then(
      undefined,
      (found: NodeJS.ErrnoException) => found,
    );
    expect(error).toMatchObject({ code: 'EISDIR', path });
    expect(error!.message).toContain(`'${path}'`);
    expect(error!.message).not.toContain('.tmp');
    expect(await readdir(folder)).toEqual(['taken']);
  });

  test('a name as long as the system allows can be written', async () => {
    const path = join(await temporaryFolder(), 'n'.repeat(255));
    await writeFileAtomically(path, 'x');
    expect(await readFile(path, 'utf8')).toBe('x');
  });

  test.runIf(process.platform === 'linux')(
    'no folder can be made below /proc, and that is said',
    async () => {
      expect(() => makeFolder('/proc/no/such')).toThrow(/ENOENT.*\/proc\/no/);
      await expect(folderCache('/proc/no/such').save('kernels.json', new Uint8Array(1))).rejects.toThrow(
        /ENOENT.*\/proc\/no/,
      );
    },
  );

  test('what dead processes were writing is removed; what others are writing, or the user named so, stays', async () => {
    const folder = await temporaryFolder();
    const name = (owner: string) => `.unet3d-${owner}-0123abcd.tmp`;
    const kept = [
      name(formatProcess(thisProcess())),
      name(deadProcess().replace(/^[\w.]+/, 'elsewhere')),
      'notes.123.tmp',
    ];
    for (const each of [...kept, name(deadProcess())]) await writeFile(join(folder, each), '');
    await removeLeftovers(folder);
    expect((await readdir(folder)).sort()).toEqual(kept.sort());
  });
});

describe('reading', () => {
  test('a file that is not there is undefined; what is none, and what is too long, is refused', async () => {
    const folder = await temporaryFolder();
    const path = join(folder, 'file');
    expect(await readIfThere(path)).toBeUndefined();
    const content = Uint8Array.from({ length: 1000 }, (_, at) => at);
    await writeFile(path, content);
    expect(await readIfThere(path, 1000)).toEqual(content);
    await expect(readIfThere(path, 999)).rejects.toThrow(/file has 1000 bytes; expected 999 at most/);
    await expect(readIfThere(folder)).rejects.toThrow(UNet3DError);
    await symlink('nowhere', join(folder, 'link'));
    expect(await readIfThere(join(folder, 'link'))).toBeUndefined();
    await using handle = await open(path);
    const read = vi.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'read');
    onTestFinished(() => read.mockRestore());
    read.mockRejectedValueOnce(new Error('EIO: i/o error, read'));
    await expect(readIfThere(path)).rejects.toThrow(`EIO: i/o error, read '${path}'`);
  });

  test.skipIf(process.platform === 'win32')('a pipe that nobody writes to is not waited for', async () => {
    const folder = await temporaryFolder();
    spawnSync(
      'mkfifo',
      ['kernels.json', 'checkpoint.safetensors'].map((name) => join(folder, name)),
    );
    await expect(folderCache(folder).load('kernels.json')).rejects.toThrow(/kernels\.json is a .* pipe/);
    await expect(folderStore(folder).load('checkpoint.safetensors')).rejects.toThrow(/expected a file/);
  });
});

test('bytes beyond 256 MiB have a hash too, that of sha256sum', async () => {
  const zeros = new Uint8Array(2 ** 28 + 1);
  expect(hexadecimal(await sha256(zeros))).toBe(
    'da6ce8755151acd05195db67ebce3ee0fb5f4012e71e821cc5750f3304eaf41e',
  );
});

describe('one file', () => {
  test('through links of either kind, other spellings, and before it is there', async () => {
    const folder = await temporaryFolder();
    const at = (...names: string[]) => join(folder, ...names);
    await mkdir(at('a'));
    await writeFile(at('a', 'file'), '');
    await symlink(at('a'), at('b'));
    await symlink(at('a', 'file'), at('soft'));
    await link(at('a', 'file'), at('hard'));
    const isSame = async (one: string, two: string): Promise<boolean> => {
      const [keys, others] = [await fileKeys(one), await fileKeys(two)];
      return keys.some((key) => others.includes(key));
    };
    expect(await isSame(at('a', 'file'), at('b', 'file'))).toBe(true);
    expect(await isSame(at('a', 'file'), at('soft'))).toBe(true);
    expect(await isSame(at('a', 'file'), at('hard'))).toBe(true);
    expect(await isSame(at('a', 'x', 'new'), `${at('b')}/./x/y/../new`)).toBe(true);
    expect(await isSame(at('a', 'file'), at('a', 'other'))).toBe(false);
    expect(await isSame(at('a', 'x', 'new'), at('a', 'y', 'new'))).toBe(false);
  });
});

describe('a lock', () => {
  test('is held until it is let go of', async () => {
    const folder = await temporaryFolder();
    {
      using lock = FolderLock.take(folder);
      expect(lock.left).toEqual([]);
      expect(() => FolderLock.take(folder)).toThrow(`in use by process ${process.pid}`);
      expect(() => assertUnlocked(folder)).toThrow('in use');
    }
    expect(() => assertUnlocked(folder)).not.toThrow();
    expect(await readdir(folder)).toEqual([]);
  });

  test('of another machine is refused, with the file to delete; one that is no lock of ours too', async () => {
    for (const [owner, who] of [
      ['elsewhere-12-345', /process 12 on the machine elsewhere/],
      ['', /another process/],
    ] as const) {
      const folder = await temporaryFolder();
      const path = join(folder, '.lock-3');
      await writeFile(path, owner);
      expect(() => FolderLock.take(folder)).toThrow(who);
      expect(() => FolderLock.take(folder)).toThrow(`delete ${path}`);
      await rm(path);
      FolderLock.take(folder)[Symbol.dispose]();
    }
  });

  test('of another machine is taken over by the same job of Slurm when it was requeued, and by no other', async () => {
    const folder = await temporaryFolder();
    const path = join(folder, '.lock-1');
    const as = (id: string, count: string): void => {
      vi.stubEnv('SLURM_CLUSTER_NAME', 'a-b');
      vi.stubEnv('SLURM_JOB_ID', id);
      vi.stubEnv('SLURM_RESTART_COUNT', count);
    };
    try {
      as('7', '1');
      const owner = formatProcess({ ...thisProcess(), host: 'elsewhere' });
      for (const [id, count] of [
        ['7', '1'], // another process of this start
        ['7', '0'],
        ['8', '2'],
        ['', ''],
      ] as const) {
        await writeFile(path, owner);
        as(id, count);
        expect(() => FolderLock.take(folder)).toThrow(/on the machine elsewhere/);
      }
      as('7', '2');
      using lock = FolderLock.take(folder);
      expect(lock.left).toEqual([process.pid]);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test('is neither looked for behind links and pipes, nor in folders, nor in what is far too long', async () => {
    const strange: readonly ((path: string) => unknown)[] = [
      (path) => symlink('nowhere', path),
      (path) => symlink('.', path),
      (path) => mkdir(path),
      (path) => writeFile(path, deadProcess().padEnd(2000)),
      (path) => writeFile(path, 'here-99999999999999999999-1'),
      ...(process.platform === 'win32' ? [] : [(path: string) => spawnSync('mkfifo', [path])]),
    ];
    for (const make of strange) {
      const folder = await temporaryFolder();
      await make(join(folder, '.lock-1'));
      expect(() => FolderLock.take(folder)).toThrow(/in use by another process, .* delete .*lock-1/);
      expect(await readdir(folder)).toEqual(['.lock-1']);
    }
  });

  test('with a number of many digits is followed by the next', async () => {
    const folder = await temporaryFolder();
    for (const digits of ['9'.repeat(16), `1${'0'.repeat(200)}`]) {
      await writeFile(join(folder, `.lock-${digits}`), deadProcess());
      using lock = FolderLock.take(folder);
      expect(lock.left).toHaveLength(1);
      expect(await readdir(folder)).toEqual([`.lock-${BigInt(digits) + 1n}`]);
      expect(() => FolderLock.take(folder)).toThrow('in use by process');
    }
  });

  test.runIf(existsSync('/proc/self/stat'))('of an earlier process with our number is no lock', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, '.lock-1'), formatProcess({ ...thisProcess(), started: '1' }));
    using lock = FolderLock.take(folder);
    expect(lock.left).toEqual([process.pid]);
  });

  test.runIf(thisProcess().place)(
    'of a host of our name is another container, or another machine; or this machine, before it was started anew',
    () => {
      const own = thisProcess();
      const elsewhere = (other: Partial<NonNullable<typeof own.place>>, pid = own.pid) =>
        isRunning(parseProcess(formatProcess({ ...own, pid, place: { ...own.place!, ...other } }))!);
      expect(elsewhere({})).toBe(true);
      for (const pid of [own.pid, 999_999_999]) {
        expect(elsewhere({ namespace: '1' }, pid)).toBeUndefined();
        expect(elsewhere({ boot: 'abc', machine: '' }, pid)).toBeUndefined();
        expect(elsewhere({ boot: 'abc', machine: '123' }, pid)).toBeUndefined();
        expect(elsewhere({ boot: 'abc', namespace: '1' }, pid)).toBeUndefined();
        const isOutermost = own.place!.namespace === '4026531836';
        if (own.place!.machine !== '' && isOutermost) expect(elsewhere({ boot: 'abc' }, pid)).toBe(false);
      }
    },
  );

  test('of a folder that was moved away is not that of the next one of its name', async () => {
    const folder = join(await temporaryFolder(), 'run');
    const [held, store] = [FolderLock.take(folder), folderStore(folder)];
    held.assertHeld();
    await rename(folder, `${folder}.away`);
    using other = FolderLock.take(folder);
    expect(() => held.assertHeld()).toThrow(`${folder} was deleted, moved away or taken over`);
    held[Symbol.dispose]();
    other.assertHeld();
    other[Symbol.dispose]();

    using hold = await store.hold!();
    await store.save('a', new Uint8Array(1));
    await rm(folder, { recursive: true });
    await expect(store.save('a', new Uint8Array(2))).rejects.toThrow('was deleted, moved away or taken over');
    expect(existsSync(folder)).toBe(false);
    hold[Symbol.dispose]();
  });

  test('makes its folder, and takes it away if nothing was put there; who waits for it then makes it again', async () => {
    const [parent, path] = [await temporaryFolder(), ['a', 'b']];
    const folder = join(parent, ...path);
    const first = FolderLock.take(folder);
    // However long one gives signs of life, and so long after the last.
    let [asked, signs] = [0, 5];
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => {
      if (signs-- > 0) utimesSync(join(folder, '.lock-1'), asked, asked + 1);
      return 40_000 * asked++;
    });
    const gone = FolderLock.wait(folder, 60_000, { sinceSign: true });
    await expect(gone).rejects.toThrow(`in use by process ${process.pid}`);
    clock.mockRestore();
    // The last sign is heard at the fifth look, and 40 s after it are not too long.
    expect(asked).toBe(7);
    const waiting = FolderLock.wait(folder, 60_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    first[Symbol.dispose]();
    const second = await waiting;
    second.assertHeld();
    await writeFile(join(folder, 'file'), '');
    second[Symbol.dispose]();
    expect(await readdir(folder)).toEqual(['file']);
    await rm(join(parent, 'a'), { recursive: true });
    await symlink('nowhere', join(parent, 'a'));
    for (const below of ['a', 'a/b', 'a/b/c'])
      expect(() => FolderLock.take(join(parent, below))).toThrow(/ENOENT/);
  });

  test('left by a dead process goes to one of many that want it at the same time', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, '.lock-7'), deadProcess());
    const module = fileURLToPath(new URL('../../src/files/lock.node.ts', import.meta.url));
    // Each says when it is ready, tries when it is told to, and holds what it has until its input ends.
    const script = `
      const { FolderLock } = await import(${JSON.stringify(module)});
      process.stdout.write('ready\\n');
      process.stdin.once('data', () => {
        try { FolderLock.take(${JSON.stringify(folder)}); process.stdout.write('taken\\n'); }
        catch (error) { process.stdout.write(error.message + '\\n'); }
      });`;
    const contenders = Array.from({ length: 5 }, () => {
      const args = ['--import', 'tsx', '--input-type=module', '-e', script];
      const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
      const ended = new Promise((resolve) => child.once('close', resolve));
      return { child, ended, lines: child.stdout.setEncoding('utf8')[Symbol.asyncIterator]() };
    });
    const next = ({ lines }: (typeof contenders)[number]) => lines.next().then(({ value }) => String(value));
    expect(await Promise.all(contenders.map(next))).toEqual(contenders.map(() => 'ready\n'));
    for (const { child } of contenders) child.stdin.write('go\n');
    const answers = await Promise.all(contenders.map(next));
    expect(answers.filter((answer) => answer === 'taken\n')).toHaveLength(1);
    expect(answers.filter((answer) => answer.includes('in use'))).toHaveLength(4);
    for (const { child } of contenders) child.stdin.end();
    await Promise.all(contenders.map(({ ended }) => ended));
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('stores', () => {
  test('two trainings never share a folder: the second is refused by name until the first lets go', async () => {
    const folder = join(await temporaryFolder(), 'new');
    const first = await folderStore(folder).hold!();
    await expect(folderStore(folder).hold!()).rejects.toThrow(/new is in use by process \d+/);
    first[Symbol.dispose]();
    (await folderStore(folder).hold!())[Symbol.dispose]();
    expect(existsSync(folder)).toBe(false); // nothing was put there
  });

  test('what many write into one file at once is all there', async () => {
    const folder = join(await temporaryFolder(), 'cache');
    const add = (entry: string) => (bytes: Uint8Array | undefined) =>
      new TextEncoder().encode(`${new TextDecoder().decode(bytes)}${entry} `);
    const entries = Array.from({ length: 12 }, (_, index) => `entry${index}`);
    await Promise.all(entries.map((entry) => folderCache(folder).update!('kernels.json', add(entry))));
    const text = await readFile(join(folder, 'kernels.json'), 'utf8');
    expect(text.trim().split(' ').sort()).toEqual([...entries].sort());
    expect(await readdir(folder)).toEqual(['kernels.json']);
  });
});
