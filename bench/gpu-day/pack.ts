/**
 * Packs into .gpu/ what a bare Linux machine (x86-64) with NVIDIA's driver, PyTorch and no network needs to run day.ts and
 * the command line: Node, the package's dependencies, Vulkan's loader, the scripts of this folder as bundles, and a data
 * set.
 *   npm run gpu-day:pack [-- --data ../shared/data/hippocampus]
 * There, in a copy of the tracked files with .gpu/ and dist/: bash .gpu/run node .gpu/bench/day.mjs
 * The runtime is packed anew where the dependencies or Node have changed.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const { values: options } = parseArgs({
  options: { data: { type: 'string', default: '../shared/data/hippocampus' } },
});
const out = '.gpu';
/** Vulkan's loader, and what NVIDIA's driver links. */
const packages = [
  ...['libvulkan1', 'libegl1', 'libglvnd0', 'libopengl0', 'libgl1', 'libglx0', 'libgles2'],
  ...['libx11-6', 'libxext6', 'libxcb1', 'libxau6', 'libxdmcp6', 'libbsd0', 'libmd0'],
];
const scripts = ['day', 'adapter', 'kernels', 'step', 'torch', 'convs', 'windows', 'two', 'memory'];
/** Quietly, with what it prints. */
const run = (
  command: string,
  args: readonly string[],
  more: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): string => execFileSync(command, args, { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8', ...more });

/** Production dependencies as npm has installed them, with Dawn for this platform alone, and no compiler of types. */
function copyDependencies(target: string): void {
  const list = run('npm', ['ls', '--omit=dev', '--all', '--parseable']);
  for (const path of list.split('\n').filter((line) => line.includes('node_modules'))) {
    const name = relative(process.cwd(), path);
    if (!existsSync(path) || name === 'node_modules/typescript') continue;
    cpSync(path, join(target, name), {
      recursive: true,
      filter: (from) => {
        const part = relative(path, from);
        const isOtherPlatform = name.endsWith('/webgpu') && /^dist\/(?!linux-x64)/.test(part);
        return !/(^|\/)node_modules(\/|$)/.test(part) && !isOtherPlatform;
      },
    });
  }
}

function packRuntime(archive: string): void {
  const work = mkdtempSync(join(tmpdir(), 'gpu-runtime-'));
  try {
    const [runtime, debs] = [join(work, 'runtime'), join(work, 'debs')];
    mkdirSync(join(runtime, 'bin'), { recursive: true });
    mkdirSync(debs);
    cpSync(realpathSync(process.env['UNET3D_NODE'] ?? process.execPath), join(runtime, 'bin', 'node'));
    copyDependencies(runtime);
    run('apt-get', ['-qq', 'download', ...packages], { cwd: debs });
    for (const deb of readdirSync(debs)) run('dpkg', ['-x', join(debs, deb), join(work, 'system')]);
    cpSync(join(work, 'system', 'usr', 'lib', 'x86_64-linux-gnu'), join(runtime, 'lib'), { recursive: true });
    run('tar', ['-C', runtime, '-cJf', archive, '.'], { env: { ...process.env, XZ_OPT: '-6 -T0' } });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const runScript = (archive: string): string => `#!/usr/bin/env bash
# Unpacks the runtime, once, and runs a command with it in the folder that holds .gpu/.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
runtime=\${TMPDIR:-/tmp}/${archive.replace('.tar.xz', '')}
if [ ! -e "$runtime/ready" ]; then
  mkdir -p "$runtime"
  tar -xJf "$here/${archive}" -C "$runtime" 2>/dev/null || # no xz there
    python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$here/${archive}" "$runtime"
  touch "$runtime/ready"
fi
cd "$here/.."
[ -e node_modules ] || ln -s "$runtime/node_modules" node_modules
export PATH="$runtime/bin:$PATH" XDG_RUNTIME_DIR="\${XDG_RUNTIME_DIR:-/tmp}"
export LD_LIBRARY_PATH="$runtime/lib:/usr/local/nvidia/lib64:/usr/local/nvidia/lib\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
exec "$@"
`;

mkdirSync(out, { recursive: true });
const key = createHash('sha256')
  .update(readFileSync('package-lock.json'))
  .update(process.version)
  .digest('hex');
const archive = `runtime-${key.slice(0, 12)}.tar.xz`;
if (!existsSync(join(out, archive))) {
  for (const old of readdirSync(out)) if (/^runtime-/.test(old)) rmSync(join(out, old));
  console.log("packing Node, dependencies and Vulkan's loader");
  packRuntime(join(process.cwd(), out, archive));
}
writeFileSync(join(out, 'run'), runScript(archive));
chmodSync(join(out, 'run'), 0o755);

rmSync(join(out, 'bench'), { recursive: true, force: true });
await build({
  entryPoints: scripts.map((name) => `bench/gpu-day/${name}.ts`),
  outdir: join(out, 'bench'),
  outExtension: { '.js': '.mjs' },
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external: ['webgpu', 'koffi'],
});
rmSync(join(out, 'data'), { recursive: true, force: true });
if (existsSync(options.data))
  cpSync(options.data, join(out, 'data', 'hippocampus'), { recursive: true, dereference: true });
else console.log(`${options.data} is not there: the day goes without it`);

const bytes = (path: string): number => Number(run('du', ['-sb', path]).split('\t')[0]);
const tracked = run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard']);
const travels = tracked.split('\0').filter((path) => path !== '' && existsSync(path));
const sizes = {
  tracked: travels.reduce((sum, path) => sum + statSync(path).size, 0),
  [out]: bytes(out),
  dist: bytes('dist'),
};
const total = Object.values(sizes).reduce((sum, size) => sum + size, 0);
const mebibytes = (size: number): string => `${(size / 2 ** 20).toFixed(1)} MiB`;
console.log(
  `${Object.entries(sizes)
    .map(([name, size]) => `${name} ${mebibytes(size)}`)
    .join(', ')}: ${mebibytes(total)} travel`,
);
if (total > 64 * 2 ** 20) throw new Error('more than 64 MiB: give --data a smaller folder, or none');
