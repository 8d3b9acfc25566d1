/**
 * Runs test/deno/main.ts on Deno, whose WebGPU is wgpu, and there the op and model tests; test/deno/training.ts there and
 * on Node, whose WebGPU is Dawn, which are to agree to the last bit; then examples/deno with the built package. On what
 * the environment names, else on the SwiftShader of @sparticuz/chromium, else on the system's adapter; with
 * UNET3D_ADAPTER=lavapipe on the fetched one. `--all` computes all ways of computing an op and runs all tests, as on
 * lavapipe, else as many as some seconds allow; parts of paths of test files, as in `-- test/ops/pool`, run only these.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { readNifti } from '../src/data/nifti.ts';
import {
  cacheFolder,
  driverNamedByEnvironment,
  fetchedLavapipe,
  swiftShader,
} from '../src/gpu/drivers.node.ts';
import type { Results } from '../test/deno/training.ts';

const folder = join(cacheFolder(), 'deno');
const [main, training] = ['main', 'training'].map((name) => ({
  program: join(folder, `${name}.js`),
  source: fileURLToPath(new URL(`../test/deno/${name}.ts`, import.meta.url)),
})) as [{ program: string; source: string }, { program: string; source: string }];
await build({
  entryPoints: [main.source, training.source],
  outdir: folder,
  bundle: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  external: ['node:*', 'webgpu'],
  logLevel: 'warning',
});

interface Adapter {
  /** How Deno and Node are started. */
  readonly deno: readonly string[];
  readonly node: readonly string[];
  /** The environments that name it to each. */
  readonly denoEnv: Readonly<Record<string, string>>;
  readonly nodeEnv: Readonly<Record<string, string>>;
}

const denoProgram = join(dirname(createRequire(import.meta.url).resolve('deno/bin.cjs')), 'deno');
const before = process.env['LD_LIBRARY_PATH'];

/** The fetched lavapipe needs the C library that came with it, whose loader starts programs. */
function throughLavapipe(): Adapter {
  const { icd, node } = fetchedLavapipe();
  assert.ok(existsSync(node), 'run `npm run gpu:lavapipe` first');
  const [, loader, libraries] = /^exec (\S+) --library-path (\S+)/m.exec(readFileSync(node, 'utf8')) ?? [];
  assert.ok(loader && libraries, `${node} says how programs are started`);
  // Deno, asked what runs, names the loader, and changes what programs of that name are started with.
  const through = join(folder, 'deno');
  writeFileSync(through, `#!/bin/sh\nexec ${loader} --library-path ${libraries} ${denoProgram} "$@"\n`);
  chmodSync(through, 0o755);
  return {
    deno: [through],
    node: [node],
    denoEnv: { VK_DRIVER_FILES: icd, DENO_WEBGPU_BACKEND: 'vulkan' },
    nodeEnv: {},
  };
}

function adapterAtHand(): Adapter {
  if (process.env['UNET3D_ADAPTER'] === 'lavapipe') return throughLavapipe();
  const own = driverNamedByEnvironment() === undefined ? swiftShader() : undefined;
  const [deno, node] = [[denoProgram], [process.execPath]];
  if (!own) return { deno, node, denoEnv: {}, nodeEnv: {} };
  return {
    deno,
    node,
    denoEnv: {
      VK_DRIVER_FILES: own.icd,
      LD_LIBRARY_PATH: [dirname(own.loader), before].filter(Boolean).join(':'),
      DENO_WEBGPU_BACKEND: 'vulkan',
    },
    nodeEnv: { UNET3D_ADAPTER: 'swiftshader' },
  };
}

const adapter = adapterAtHand();

/** Runs a program; leaves where it fails. Gives what it prints if that is to be looked at. */
function run(
  [command, ...args]: readonly string[],
  own: Readonly<Record<string, string>>,
  output: 'inherit' | 'pipe' = 'inherit',
): string {
  const env = { ...process.env, DENO_NO_UPDATE_CHECK: '1', ...own };
  const { status, stdout } = spawnSync(command!, args, {
    stdio: ['ignore', output, 'inherit'],
    encoding: 'utf8',
    env,
  });
  if (status !== 0) process.exit(status ?? 1);
  return stdout;
}
const deno = [...adapter.deno, 'run', '-A', '--no-lock'];

const given = process.argv.slice(2);
const files = given.filter((one) => one !== '--all');
const all = files.length < given.length || process.env['UNET3D_ADAPTER'] === 'lavapipe';
if (files.length === 0) run([...deno, main.program, all ? 'Infinity' : '8'], adapter.denoEnv);

const tests = fileURLToPath(new URL('../test/deno/tests.ts', import.meta.url));
run([...deno, tests, all ? 'Infinity' : '0.3', JSON.stringify(deno), ...files], adapter.denoEnv);
if (files.length > 0) process.exit();

const [there, here] = ['deno', 'node'].map((name) => join(folder, `${name}.json`)) as [string, string];
run([...deno, training.program, there], adapter.denoEnv);
run([...adapter.node, training.program, here], adapter.nodeEnv);
const [wgpu, dawn] = [there, here].map((file) => JSON.parse(readFileSync(file, 'utf8')) as Results);
assert.equal((dawn!['losses, f32'] as number[]).length, 5, 'five steps');
for (const name of Object.keys(dawn!))
  console.log(`${name}: ${JSON.stringify(wgpu![name])} on wgpu, ${JSON.stringify(dawn![name])} on Dawn`);
assert.deepEqual(wgpu, dawn, 'both engines give the same bits');
console.log('wgpu and Dawn: the same bits');

const segmentation = join(folder, 'labels.nii.gz');
rmSync(segmentation, { force: true });
const example = fileURLToPath(new URL('../examples/deno/train.js', import.meta.url));
const said = run([...deno, example, segmentation], adapter.denoEnv, 'pipe');
console.log(said);
const losses = [...said.matchAll(/^epoch \d: loss (\d\.\d+)$/gm)].map(([, loss]) => Number(loss));
assert.equal(losses.length, 3, 'the example trains for three epochs');
assert.ok(losses[2]! < losses[0]!, 'its loss falls');
const { shape } = await readNifti(readFileSync(segmentation));
assert.deepEqual(shape.slice(0, 3), [8, 8, 8]);
