/**
 * Sets up whatever is missing or out of date, and nothing else: dependencies, shaders, WASM, dist/. Plain
 * JavaScript without dependencies, because it is what runs first in a fresh clone.
 *   node scripts/setup.mjs [--rebuild] [--sources]
 * --rebuild builds even what is up to date; --sources stops before dist/.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const rebuild = process.argv.includes('--rebuild');
const json = (path) => JSON.parse(readFileSync(join(root, path), 'utf8'));

/** Each step's command runs when its inputs differ from those of its last run, which its stamp keeps. */
const steps = [
  {
    name: 'shaders',
    inputs: ['shaders', 'scripts/build-shaders.ts'],
    output: 'src/generated/wgsl.ts',
    stamp: '.cache/setup/shaders',
    run: ['--import', 'tsx', 'scripts/build-shaders.ts'],
  },
  {
    name: 'WASM',
    inputs: ['wasm/assembly', 'asconfig.json', 'scripts/build-wasm.ts'],
    output: 'src/generated/wasm.ts',
    stamp: '.cache/setup/wasm',
    run: ['--import', 'tsx', 'scripts/build-wasm.ts'],
  },
  {
    name: 'dist',
    inputs: ['src', 'package.json', 'tsconfig.json', 'tsup.config.ts'],
    output: 'dist/node.js',
    stamp: '.cache/setup/dist',
    run: ['node_modules/tsup/dist/cli-default.js'],
  },
];

const needed = json('package.json').engines.node.replace(/[^\d.]/g, '');
const older = (a, b) =>
  a
    .split('.')
    .map((part, i) => part - (b.split('.')[i] ?? 0))
    .find((d) => d !== 0) < 0;
if (older(process.versions.node, needed)) {
  fail(`Node ${process.versions.node} is too old: ${needed} or later is needed.`);
}

if (!installed()) {
  console.log('setup: installing dependencies (npm ci)');
  // npm gives its own path to the scripts that it starts; without it, npm is looked up.
  const npm = process.env.npm_execpath;
  const args = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund'];
  if (npm?.endsWith('.js')) execute('npm ci', process.execPath, [npm, ...args]);
  else execute('npm ci', 'npm', args, { shell: process.platform === 'win32' });
}

for (const step of process.argv.includes('--sources') ? steps.slice(0, -1) : steps) {
  const state = hash(step.inputs);
  const stamp = join(root, step.stamp);
  const done =
    existsSync(join(root, step.output)) && existsSync(stamp) && readFileSync(stamp, 'utf8') === state;
  if (done && !rebuild) continue;
  console.log(`setup: building ${step.name}`);
  execute(step.name, process.execPath, step.run);
  if (!existsSync(join(root, step.output))) fail(`building ${step.name} has not made ${step.output}.`);
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, state);
}

/** Whether node_modules holds what package-lock.json asks for, package by package. */
function installed() {
  if (!existsSync(join(root, 'node_modules/.package-lock.json'))) return false;
  const present = json('node_modules/.package-lock.json').packages;
  return Object.entries(json('package-lock.json').packages).every(
    ([path, { version, optional }]) =>
      path === '' || present[path]?.version === version || (optional && !present[path]),
  );
}

/** A digest of the names and contents of files, and of the files in folders; what is absent counts as empty. */
function hash(paths) {
  const digest = createHash('sha256');
  const add = (path) => {
    const full = join(root, path);
    if (!existsSync(full)) return;
    if (statSync(full).isDirectory()) {
      for (const name of readdirSync(full).sort()) if (!name.startsWith('.')) add(`${path}/${name}`);
    } else digest.update(`${path}\n`).update(readFileSync(full));
  };
  paths.forEach(add);
  return digest.digest('hex');
}

function execute(what, command, args, options = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    ...options,
  });
  if (status !== 0) fail(`${what} failed${error ? `: ${error.message}` : ` with exit code ${status}`}.`);
}

function fail(message) {
  console.error(`setup: ${message}`);
  process.exit(1);
}
