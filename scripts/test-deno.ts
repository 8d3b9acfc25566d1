/**
 * Runs test/deno/main.ts on Deno, whose WebGPU is wgpu, then examples/deno with the built package: on what the
 * environment names, else on the SwiftShader of @sparticuz/chromium, else on the system's adapter.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { readNifti } from '../src/data/nifti.ts';
import { cacheFolder, driverNamedByEnvironment, swiftShader } from '../src/gpu/drivers.node.ts';

const outfile = join(cacheFolder(), 'deno', 'main.js');
await build({
  entryPoints: [fileURLToPath(new URL('../test/deno/main.ts', import.meta.url))],
  outfile,
  bundle: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  external: ['node:*', 'webgpu'],
  logLevel: 'warning',
});

const own = driverNamedByEnvironment() === undefined ? swiftShader() : undefined;
const env = {
  ...process.env,
  DENO_NO_UPDATE_CHECK: '1',
  ...(own && {
    VK_DRIVER_FILES: own.icd,
    LD_LIBRARY_PATH: [dirname(own.loader), process.env['LD_LIBRARY_PATH']].filter(Boolean).join(':'),
    DENO_WEBGPU_BACKEND: 'vulkan',
  }),
};
const deno = createRequire(import.meta.url).resolve('deno/bin.cjs');
/** Runs a program and prints what it prints. Leaves where it fails. */
function ran(program: string, ...args: readonly string[]): string {
  const given = [deno, 'run', '-A', '--no-lock', program, ...args];
  const { status, stdout } = spawnSync(process.execPath, given, {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    env,
  });
  process.stdout.write(stdout);
  if (status !== 0) process.exit(status ?? 1);
  return stdout;
}

ran(outfile);

const segmentation = join(cacheFolder(), 'deno', 'labels.nii.gz');
rmSync(segmentation, { force: true });
const said = ran(fileURLToPath(new URL('../examples/deno/train.js', import.meta.url)), segmentation);
const losses = [...said.matchAll(/^epoch \d: loss (\d\.\d+)$/gm)].map(([, loss]) => Number(loss));
assert.equal(losses.length, 3, 'the example trains for three epochs');
assert.ok(losses[2]! < losses[0]!, 'its loss falls');
const { shape } = await readNifti(readFileSync(segmentation));
assert.deepEqual(shape.slice(0, 3), [8, 8, 8]);
