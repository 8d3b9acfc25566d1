/**
 * Runs test/deno/main.ts on Deno, whose WebGPU is wgpu: on what the environment names, else on the SwiftShader of
 * @sparticuz/chromium, else on the system's adapter.
 */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
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
const { status, signal } = spawnSync(process.execPath, [deno, 'run', '-A', '--no-lock', outfile], {
  stdio: 'inherit',
  env,
});
process.exitCode = status ?? (signal ? 1 : 0);
