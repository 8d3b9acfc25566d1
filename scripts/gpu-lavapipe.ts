/**
 * Fetches a current lavapipe (Mesa's Vulkan driver for machines without a GPU) into .cache/lavapipe, without root,
 * on Debian: the packages are resolved and checked by apt in a state folder of its own and unpacked, not installed.
 * They bring their own C library, so `.cache/lavapipe/node` starts Node through its loader.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { installAdvice, thisMachine } from '../src/gpu/advice.node.ts';
import { fetchedLavapipe } from '../src/gpu/drivers.node.ts';

/** The Debian release whose backports carry a Mesa that is current, and the packages taken from it. */
const SUITE = 'trixie';
const PACKAGES = ['mesa-vulkan-drivers', 'libvulkan1', 'libstdc++6'];
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const PLATFORMS: Readonly<Record<string, { triplet: string; loader: string }>> = {
  x64: { triplet: 'x86_64-linux-gnu', loader: 'ld-linux-x86-64.so.2' },
  arm64: { triplet: 'aarch64-linux-gnu', loader: 'ld-linux-aarch64.so.1' },
};

const target = dirname(fetchedLavapipe().node);
const draft = `${target}.part`;

function leave(message: string): never {
  console.error(message);
  process.exit(1);
}

/** The first mirror for Debian itself among those that apt is configured with. */
function mirror(): string {
  const lines = execFileSync(
    'apt-get',
    ['indextargets', '--format', '$(REPO_URI) $(RELEASE)', 'Created-By: Packages'],
    {
      encoding: 'utf8',
    },
  );
  const uri = lines
    .split('\n')
    .map((line) => line.split(' ')[0]!)
    .find((uri) => /\/debian\/?$/.test(uri));
  return (
    uri ??
    leave("apt's sources name no Debian mirror (an address that ends in /debian): add one, or install Mesa.")
  );
}

/** apt with an empty state of its own, so that nothing of the system is read but its mirror, or changed. */
function apt(...args: string[]): void {
  const settings = {
    'Dir::Etc::sourcelist': join(draft, 'sources.list'),
    'Dir::Etc::sourceparts': '-',
    'Dir::Etc::preferencesparts': join(draft, 'root'),
    'Dir::State': join(draft, 'state'),
    'Dir::State::status': join(draft, 'status'),
    'Dir::Cache': join(draft, 'cache'),
    'APT::Sandbox::User': '',
    'APT::Install-Recommends': '0',
    'Acquire::Languages': 'none',
    'Debug::NoLocking': '1',
  };
  const options = Object.entries(settings).map(([key, value]) => `-o${key}=${value}`);
  execFileSync('apt-get', ['-qq', ...options, ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
}

const platform = PLATFORMS[process.arch];
const machine = thisMachine();
if (machine.platform !== 'linux' || machine.release['ID'] !== 'debian' || !platform || !existsSync(KEYRING)) {
  leave(`This script serves Debian on x64 and arm64. ${installAdvice(machine)}`);
}

console.log('Fetching lavapipe: about 60 MB, 300 MB unpacked');
rmSync(draft, { recursive: true, force: true });
for (const folder of ['state/lists/partial', 'cache/archives/partial', 'root']) {
  mkdirSync(join(draft, folder), { recursive: true });
}
const source = `[signed-by=${KEYRING}] ${mirror()}`;
writeFileSync(
  join(draft, 'sources.list'),
  `deb ${source} ${SUITE} main\ndeb ${source} ${SUITE}-backports main\n`,
);
writeFileSync(join(draft, 'status'), '');
apt('update');
apt('install', '--yes', '--download-only', '--target-release', `${SUITE}-backports`, ...PACKAGES);

const archives = join(draft, 'cache', 'archives');
for (const name of readdirSync(archives).filter((name) => name.endsWith('.deb'))) {
  execFileSync('dpkg', ['--extract', join(archives, name), join(draft, 'root')]);
}
const clutter = ['state', 'cache', 'status', 'sources.list', 'root/usr/share/doc', 'root/usr/share/locale'];
for (const path of clutter) rmSync(join(draft, path), { recursive: true, force: true });

const libraries = `root/usr/lib/${platform.triplet}`;
const driver = { library_path: `./${libraries}/libvulkan_lvp.so`, api_version: '1.4.0' };
writeFileSync(join(draft, 'lavapipe.json'), JSON.stringify({ file_format_version: '1.0.0', ICD: driver }));
// Node would take the loader for its own executable; forks must come through the wrapper again.
writeFileSync(
  join(draft, 'exec-path.cjs'),
  "process.execPath = require('node:path').join(__dirname, 'node');\n",
);
writeFileSync(
  join(draft, 'node'),
  `#!/bin/sh
# Runs node with the lavapipe beside this file, through the C library that it was built for.
here=$(dirname "$(readlink -f "$0")")
export VK_DRIVER_FILES="$here/lavapipe.json" VK_ICD_FILENAMES="$here/lavapipe.json"
export UNET3D_NODE="\${UNET3D_NODE:-$(command -v node)}" XDG_RUNTIME_DIR="\${XDG_RUNTIME_DIR:-/tmp}"
exec "$here/${libraries}/${platform.loader}" --library-path "$here/${libraries}" \\
  "$UNET3D_NODE" -r "$here/exec-path.cjs" "$@"
`,
  { mode: 0o755 },
);
rmSync(target, { recursive: true, force: true });
renameSync(draft, target);

const check =
  "import('./src/gpu/node.ts').then(async (gpu) => { const found = await gpu.requestNodeAdapter(); console.log('Ready: ' + found.describe); await gpu.releaseNodeGpu(); })";
execFileSync(fetchedLavapipe().node, ['--import', 'tsx', '--eval', check], {
  stdio: 'inherit',
  env: { ...process.env, UNET3D_NODE: process.env['UNET3D_NODE'] ?? process.execPath },
});
console.log(
  'npm test, npm run demo and the CLI of this checkout use it where the system has no adapter of its own.',
);
