/**
 * The Vulkan drivers that may be at hand besides the system's: a lavapipe fetched into the checkout and the
 * SwiftShader that a Chromium package for servers carries. Node on Linux only.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants, homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';
import { makeFolder, temporaryName } from '../files/write.node.ts';

/** The variables by which Vulkan's loader is told what drivers to use, the newer one first. */
export const DRIVER_VARIABLES = ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES'] as const;

export function driverNamedByEnvironment(): string | undefined {
  if (process.platform !== 'linux') return undefined; // Dawn uses Metal or Direct3D there
  return DRIVER_VARIABLES.map((variable) => process.env[variable]).find(
    (value) => value !== undefined && value !== '',
  );
}

/** The folder of this package: a checkout, or its place in node_modules. */
function packageRoot(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  let folder = start;
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) return start;
    folder = parent;
  }
  return folder;
}

/** Whether this runs in a checkout, where scripts can fetch drivers, and not from an installed package. */
export function inCheckout(): boolean {
  return existsSync(join(packageRoot(), 'src', 'gpu'));
}

/** Where unpacked drivers live: `.cache` of a checkout, or the user's cache folder for an installed package. */
export function cacheFolder(): string {
  if (inCheckout()) return join(packageRoot(), '.cache');
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'unet3d-gpu');
}

/** The driver description and the `node` wrapper that `npm run gpu:lavapipe` leaves behind. */
export function fetchedLavapipe(): { icd: string; node: string } {
  const folder = join(cacheFolder(), 'lavapipe');
  return { icd: join(folder, 'lavapipe.json'), node: join(folder, 'node') };
}

/** What Deno and Bun offer for libraries in C. Both unload what their `process.dlopen` has found to be no module. */
interface Foreign {
  dlopen(library: string, symbols: object): { symbols: Record<string, (...values: unknown[]) => unknown> };
}

const { Deno, Bun } = globalThis as { Deno?: Foreign; Bun?: object };
const bunForeign = (): Foreign => createRequire(import.meta.url)('bun:ffi') as Foreign;

/** Points Vulkan's loader at a driver, or with `undefined` leaves it to search. */
export function setDriver(driver: string | undefined): void {
  for (const variable of DRIVER_VARIABLES) {
    if (driver === undefined) delete process.env[variable];
    else process.env[variable] = driver;
  }
  if (Bun && process.platform === 'linux') tellLibraries(driver ?? '');
}

/** Bun's `process.env` is its own: libraries in C read what the process was started with. */
function tellLibraries(driver: string): void {
  const { symbols } = bunForeign().dlopen('libc.so.6', {
    setenv: { args: ['cstring', 'cstring', 'i32'], returns: 'i32' },
  });
  const text = (value: string): Buffer => Buffer.from(`${value}\0`);
  for (const variable of DRIVER_VARIABLES) symbols['setenv']!(text(variable), text(driver), 1);
}

/**
 * Loads the Vulkan loader, by name or path, so that Dawn finds it by its name. It is no module of Node, whose `dlopen`
 * throws in either case; so the process's memory map is asked whether the library is there.
 */
export function loadVulkan(library = 'libvulkan.so.1'): boolean {
  try {
    if (Deno) Deno.dlopen(library, {});
    else if (Bun) bunForeign().dlopen(library, { vkCreateInstance: { args: [], returns: 'i32' } });
    else {
      const nodelete = 0x1000;
      const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen;
      process.dlopen({ exports: {} }, library, RTLD_NOW | RTLD_GLOBAL | nodelete);
    }
  } catch {
    // Whatever it says: see above.
  }
  return readFileSync('/proc/self/maps', 'utf8').includes('/libvulkan.so');
}

/**
 * Whether a driver is announced where Vulkan's loader looks for one on Linux (LoaderInterfaceArchitecture.md, "Driver
 * Discovery"). Without any, asking would only make it complain.
 */
export function hasSystemDriver(env: Readonly<Record<string, string | undefined>> = process.env): boolean {
  const home = env['HOME'] ?? homedir();
  const listed = (variable: string, otherwise: string): string[] =>
    (env[variable] || otherwise).split(':').filter((folder) => folder !== '');
  const roots = [
    ...listed('XDG_CONFIG_HOME', join(home, '.config')),
    ...listed('XDG_CONFIG_DIRS', '/etc/xdg'),
    '/etc',
    '/usr/local/etc',
    ...listed('XDG_DATA_HOME', join(home, '.local', 'share')),
    ...listed('XDG_DATA_DIRS', '/usr/local/share:/usr/share'),
    '/usr/local/share',
    '/usr/share',
    '/run/opengl-driver/share', // NixOS
  ];
  const folders = roots.map((root) => join(root, 'vulkan', 'icd.d'));
  const added = listed('VK_ADD_DRIVER_FILES', '');
  return (
    added.some((path) => existsSync(path)) ||
    folders.some((folder) => existsSync(folder) && readdirSync(folder).some((name) => name.endsWith('.json')))
  );
}

/** What Mesa's programs for the CPU have their vectors' width from, in bits. */
const vectorWidth = 'LP_NATIVE_VECTOR_WIDTH';
/** What processors of 512 bits have that LLVM's code takes. */
const wideInstructions = ['avx512f', 'avx512bw', 'avx512dq', 'avx512vl'];

/** Whether they are of 512 bits here: the first adapter decides, since all of a process have the same. */
let isWide: boolean | undefined;
/** Whether it is this program that names the width. */
let named = false;

/**
 * lavapipe computes in vectors of at most 256 bits if the environment names no width. Where the processor has 512, this
 * names them until `forgetVectors`: the driver looks anew when another adapter is made.
 * @param wish false for adapters that need those of 256 bits
 */
export function widenVectors(wish: boolean): void {
  const { platform, arch, env } = process;
  if (env[vectorWidth] !== undefined) return;
  isWide ??= wish && platform === 'linux' && arch === 'x64' && hasWideInstructions();
  if (!isWide) return;
  env[vectorWidth] = '512';
  named = true;
}

/** Leaves the environment as it was, for the processes that this one starts. */
export function forgetVectors(): void {
  if (named) delete process.env[vectorWidth];
  named = false;
}

function hasWideInstructions(): boolean {
  const flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' ') ?? [];
  return wideInstructions.every((name) => flags.includes(name));
}

/**
 * The regular files of an uncompressed tar archive (ustar; no links).
 * @throws Error for one that is cut off, or with names that do not fit its headers
 */
export function untar(archive: Uint8Array): { name: string; mode: number; bytes: Uint8Array }[] {
  const text = (at: number, length: number) =>
    new TextDecoder().decode(archive.subarray(at, at + length)).replace(/\0.*$/s, '');
  const files = [];
  let at = 0;
  while (at + 512 <= archive.length && archive[at] !== 0) {
    const size = Number.parseInt(text(at + 124, 12), 8);
    const type = text(at + 156, 1);
    if (!(at + 512 + size <= archive.length)) throw new Error('the archive is cut off');
    if (type === 'L' || (type === 'x' && / path=/.test(text(at + 512, size))))
      throw new Error('names of more than 100 letters are not read');
    const prefix = text(at + 257, 6) === 'ustar' ? text(at + 345, 155) : '';
    if (type === '' || type === '0')
      files.push({
        name: prefix === '' ? text(at, 100) : `${prefix}/${text(at, 100)}`,
        mode: Number.parseInt(text(at + 100, 8), 8),
        bytes: archive.subarray(at + 512, at + 512 + size),
      });
    at += 512 + Math.ceil(size / 512) * 512;
  }
  if (at > 0 && archive[at] !== 0) throw new Error('the archive is cut off');
  return files;
}

/** The folder with the packed binaries of @sparticuz/chromium, or undefined where it is not installed. */
export function chromiumPackage(): string | undefined {
  try {
    const entry = createRequire(import.meta.url).resolve('@sparticuz/chromium');
    let folder = dirname(entry);
    while (basename(folder) !== 'chromium') folder = dirname(folder);
    return join(folder, 'bin');
  } catch {
    return undefined;
  }
}

/**
 * Unpacks `<archive>.br` of @sparticuz/chromium (tar archives, or single files) into a folder of the cache, once.
 * The folder appears under its name only when it is complete. Returns undefined without that package.
 */
export function unpackFromChromium(archives: readonly string[], folder: string): string | undefined {
  const target = join(cacheFolder(), folder);
  if (existsSync(target)) return target;
  const bin = chromiumPackage();
  if (bin === undefined) return undefined;
  const draft = join(cacheFolder(), temporaryName());
  try {
    for (const archive of archives) {
      const bytes = brotliDecompressSync(readFileSync(join(bin, `${archive}.br`)));
      const files = archive.endsWith('.tar') ? untar(bytes) : [{ name: archive, mode: 0o755, bytes }];
      for (const file of files) {
        const path = resolve(draft, file.name);
        makeFolder(dirname(path));
        writeFileSync(path, file.bytes, { mode: file.mode & 0o755 });
      }
    }
    renameSync(draft, target);
  } catch (error) {
    if (!existsSync(target)) throw error; // otherwise another process was faster
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
  return target;
}

/** SwiftShader's folder (driver, driver description and Vulkan loader), unpacked if need be; x64 Linux only. */
export function swiftShader(): { icd: string; loader: string } | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  const folder = unpackFromChromium(['swiftshader.tar'], 'swiftshader');
  return folder === undefined
    ? undefined
    : { icd: join(folder, 'vk_swiftshader_icd.json'), loader: join(folder, 'libvulkan.so.1') };
}
