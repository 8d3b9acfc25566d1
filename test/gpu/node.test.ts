/** How Node's adapter is chosen. Each case is a process of its own, because a driver is chosen once per process. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { fetchedLavapipe, swiftShader, untar } from '../../src/gpu/drivers.node.ts';
import { swiftShaderTip } from '../../src/gpu/node.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
/** Node itself, also where these tests were started through lavapipe. */
const node = process.env['UNET3D_NODE'] ?? process.execPath;
const linux = process.platform === 'linux';

/** Asks for an adapter under the given variables only; the answer is its source, or the error's name and message. */
function choose(variables: Record<string, string>): string {
  const program = `
    const { requestNodeAdapter, releaseNodeGpu } = await import('./src/gpu/node.ts');
    try {
      const { adapter, source } = await requestNodeAdapter();
      console.log(source, adapter.info.architecture);
    } catch (error) {
      console.log(error.name, error.message);
    }
    await releaseNodeGpu();`;
  const env = { ...process.env };
  for (const name of ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES', 'UNET3D_ADAPTER']) delete env[name];
  const args = ['--import', 'tsx', '--input-type', 'module', '--eval', program];
  const run = spawnSync(node, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...env, ...variables },
  });
  return run.stdout.trim();
}

test.runIf(linux)(
  'a driver that the environment names is binding: without an adapter from it, an error',
  () => {
    const answer = choose({ VK_DRIVER_FILES: '/nonexistent/driver.json' });
    expect(answer).toMatch(
      /^UnsupportedDevice The environment names the Vulkan driver \/nonexistent\/driver\.json/,
    );
  },
);

test('an adapter of the name asked for, or an error', ({ skip }) => {
  skip(!linux, 'Linux only');
  const answer = choose({ UNET3D_ADAPTER: 'nvidai' });
  expect(answer).toMatch(
    /^UnsupportedDevice UNET3D_ADAPTER is 'nvidai', .*'lavapipe', 'swiftshader', a part of/s,
  );
  expect(answer).toMatch(/Available adapters:|Besides the system's, there is \S+/);
  const driver = swiftShader()?.icd;
  if (driver !== undefined)
    expect(choose({ UNET3D_ADAPTER: 'nvidai', VK_DRIVER_FILES: driver })).toMatch(
      /is 'nvidai', which names no adapter here; .* Available adapters:\s+\* backend: 'vulkan', name: 'SwiftShader/s,
    );
});

test('the tip for SwiftShader names the lavapipe that was fetched, else how to get one', () => {
  const { node: fetched } = fetchedLavapipe();
  expect(swiftShaderTip()).toContain(existsSync(fetched) ? fetched : '`npm run gpu:lavapipe`');
});

test('SwiftShader when asked for, and when named by its file', ({ skip }) => {
  skip(!linux || !swiftShader(), 'no SwiftShader for this machine');
  expect(choose({ UNET3D_ADAPTER: 'swiftshader' })).toBe('swiftshader swiftshader');
  expect(choose({ VK_ICD_FILENAMES: swiftShader()!.icd })).toBe('swiftshader swiftshader');
});

test('whatever there is, it is never the null backend', ({ skip }) => {
  skip(!linux || !swiftShader(), 'no SwiftShader for this machine');
  expect(choose({})).toMatch(/^(system|swiftshader) \S/);
});

test('archives unpack as tar would', ({ skip }) => {
  skip(!linux, 'Linux only');
  const folder = mkdtempSync(join(tmpdir(), 'untar-'));
  const contents = { 'empty.txt': '', 'short.txt': 'short', 'long.txt': 'x'.repeat(1500) };
  for (const [name, text] of Object.entries(contents))
    writeFileSync(join(folder, name), text, { mode: 0o640 });
  const tar = spawnSync('tar', ['--format=ustar', '-c', ...Object.keys(contents)], { cwd: folder });
  rmSync(folder, { recursive: true });
  const files = untar(tar.stdout).map(({ name, mode, bytes }) => [
    name,
    mode,
    new TextDecoder().decode(bytes),
  ]);
  expect(files).toEqual(Object.entries(contents).map(([name, text]) => [name, 0o640, text]));
});
