/** How Node's adapter is chosen. Each case is a process of its own, because a driver is chosen once per process. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { fetchedLavapipe, hasSystemDriver, swiftShader, untar } from '../../src/gpu/drivers.node.ts';
import { swiftShaderTip } from '../../src/gpu/node.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
/** Node itself, also where these tests were started through lavapipe. */
const node = process.env['UNET3D_NODE'] ?? process.execPath;
const linux = process.platform === 'linux';
const isWide = existsSync('/proc/cpuinfo') && readFileSync('/proc/cpuinfo', 'utf8').includes('avx512vl');

/** Asks for an adapter under the given variables only; the answer is its source, or the error's name and message. */
function choose(variables: Record<string, string>): string {
  return run(
    `
    const { requestNodeAdapter, releaseNodeGpu } = await import('./src/gpu/node.ts');
    try {
      const { adapter, source } = await requestNodeAdapter();
      console.log(source, adapter.info.architecture);
    } catch (error) {
      console.log(error.name, error.message);
    }
    await releaseNodeGpu();`,
    variables,
  ).stdout.trim();
}

/** What a program prints that is run under the given variables only. */
function run(program: string, variables: Record<string, string>, executable = node) {
  const env = { ...process.env };
  for (const name of ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES', 'UNET3D_ADAPTER', 'LP_NATIVE_VECTOR_WIDTH'])
    delete env[name];
  const args = ['--import', 'tsx', '--input-type', 'module', '--eval', program];
  return spawnSync(executable, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...env, ...variables },
  });
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

test('lavapipe computes in vectors as wide as the processor has them, unless told: the same bits', ({
  skip,
}) => {
  const { node: fetched } = fetchedLavapipe();
  skip(!existsSync(fetched), 'no fetched lavapipe: `npm run gpu:lavapipe`');
  skip(!isWide, 'the processor has no vectors of 512 bits');
  const trained = (variables: Record<string, string>, options = {}) => {
    const program = `
      const { UNet3D, fromArrays, phantom, releaseNodeGpu } = await import('./src/node.ts');
      const cases = [0, 1, 2].map((subject) => {
        const { image, labels, shape, affine } = phantom(subject, { shape: [18, 9, 8] });
        const grid = { dims: [...shape], affine };
        return fromArrays('case ' + subject, { data: image, ...grid }, { data: labels, ...grid });
      });
      const options = ${JSON.stringify(options)};
      const model = await UNet3D.create({ inChannels: 1, classes: 6, features: [8, 20], seed: 3, ...options });
      const losses = [];
      await model.fit(cases, { epochs: 2, onEvent: (event) => event.type === 'step' && losses.push(event.loss) });
      const [bits] = /[0-9]+(?=-bits)/.exec(model.adapter);
      model.dispose();
      const units = await UNet3D.create({ inChannels: 1, classes: 2, features: [4], matrixUnits: true }).then(
        (model) => (model.dispose(), 'has matrix units'),
        (error) => error.message,
      );
      await releaseNodeGpu();
      console.log(bits, process.env.LP_NATIVE_VECTOR_WIDTH, losses.join());
      console.log(units);`;
    const { stdout, stderr } = run(program, variables, fetched);
    const [line = '', units = ''] = stdout.trim().split('\n');
    const [bits, named, losses] = line.split(' ');
    if (losses === undefined) throw new Error(stderr);
    return { bits, named, losses, units };
  };
  const wide = trained({});
  const narrow = trained({ LP_NATIVE_VECTOR_WIDTH: '256' });
  expect([wide.bits, wide.named]).toEqual(['512', 'undefined']);
  expect([narrow.bits, narrow.named]).toEqual(['256', '256']);
  expect(wide.losses.split(',').length).toBeGreaterThan(1);
  expect(wide.losses).toBe(narrow.losses);
  expect(wide.units).toMatch(/offers no matrix units .* set LP_NATIVE_VECTOR_WIDTH=256/);
  expect(trained({}, { matrixUnits: true })).toMatchObject({ bits: '256', units: 'has matrix units' });
});

test('convolutions by subgroups of 16 threads, which lavapipe has with vectors of 512 bits', ({ skip }) => {
  const { node: fetched } = fetchedLavapipe();
  skip(!existsSync(fetched), 'no fetched lavapipe: `npm run gpu:lavapipe`');
  skip(!isWide, 'the processor has no vectors of 512 bits');
  const tests = ['node_modules/vitest/vitest.mjs', 'run', 'test/ops/conv3.test.ts', '--project', 'node'];
  const { stdout } = spawnSync(fetched, [...tests, '-t', 'conv3, .*subgroup: '], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, LP_NATIVE_VECTOR_WIDTH: '512' },
  });
  const [, passed, failed] = /^(\d+) passed, (\d+) failed/m.exec(stdout) ?? [];
  expect(Number(failed), stdout).toBe(0);
  expect(Number(passed)).toBeGreaterThan(10);
});

test('a program is warned once that it computes on the CPU; Dawn complains of nothing', ({ skip }) => {
  skip(!linux || !swiftShader(), 'no SwiftShader for this machine');
  const { stdout, stderr } = run(
    `
    const { UNet3D, releaseNodeGpu } = await import('./src/node.ts');
    process.on('warning', ({ name, code, message }) => console.log(name, code, message));
    for (let i = 0; i < 2; i++) (await UNet3D.create({ inChannels: 1, classes: 2, features: [4, 8] })).dispose();
    await releaseNodeGpu();`,
    { UNET3D_ADAPTER: 'swiftshader' },
  );
  const lines = stdout.trim().split('\n');
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(
    /^SoftwareAdapter UNET3D_SOFTWARE_ADAPTER unet3d-gpu computes on the CPU.*Tip: lavapipe/,
  );
  expect(stderr).not.toMatch(/vkCreateInstance|artificially reduced/);
});

test('a GPU that is opened while another is let go of is waited for calmly', ({ skip }) => {
  skip(!linux || !swiftShader(), 'no SwiftShader for this machine');
  const { stdout } = run(
    `
    const { requestNodeAdapter, releaseNodeGpu } = await import('./src/gpu/node.ts');
    const immediately = globalThis.setImmediate;
    const isCalm = () => globalThis.setImmediate !== immediately;
    await requestNodeAdapter();
    const released = releaseNodeGpu();
    await requestNodeAdapter();
    await released;
    const whileOpen = isCalm();
    await releaseNodeGpu();
    console.log(whileOpen, isCalm());`,
    { UNET3D_ADAPTER: 'swiftshader' },
  );
  expect(stdout.trim()).toBe('true false');
});

test('a GPU that is in use when Dawn is let go of goes on until it is disposed', ({ skip }) => {
  skip(!linux || !swiftShader(), 'no SwiftShader for this machine');
  const { stdout, status } = run(
    `
    const { Gpu, releaseNodeGpu } = await import('./src/node.ts');
    (await import('node:v8')).setFlagsFromString('--expose-gc');
    const collect = (await import('node:vm')).runInNewContext('gc');
    const gpu = await Gpu.open();
    await releaseNodeGpu();
    collect();
    const { COPY_DST, MAP_READ } = GPUBufferUsage;
    const buffer = gpu.createBuffer('buffer', 4, MAP_READ | COPY_DST);
    gpu.device.queue.writeBuffer(buffer, 0, new Uint8Array([3, 1, 4, 1]));
    await buffer.mapAsync(GPUMapMode.READ);
    console.log(...new Uint8Array(buffer.getMappedRange()));
    gpu.dispose();
    await releaseNodeGpu();`,
    { UNET3D_ADAPTER: 'swiftshader' },
  );
  expect({ read: stdout.trim(), status }).toEqual({ read: '3 1 4 1', status: 0 });
});

test('opening and releasing the GPU a hundred times leaves no handle, timer or memory behind', ({ skip }) => {
  skip(!linux || !swiftShader(), 'no SwiftShader for this machine');
  const { stdout, status } = run(
    `
    const { Gpu, releaseNodeGpu } = await import('./src/node.ts');
    (await import('node:v8')).setFlagsFromString('--expose-gc');
    const collect = (await import('node:vm')).runInNewContext('gc');
    const immediately = globalThis.setImmediate;
    process.on('warning', () => undefined);
    const alive = () => process.getActiveResourcesInfo().sort().join();
    const mebibyte = 2 ** 20;
    console.log(''); // what printing takes is not counted
    const before = alive();
    const resident = [];
    for (let turn = 0; turn < 100; turn++) {
      const gpu = await Gpu.open();
      const buffer = gpu.createBuffer('buffer', mebibyte, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST);
      gpu.device.queue.writeBuffer(buffer, 0, new Uint8Array(mebibyte));
      await gpu.device.queue.onSubmittedWorkDone();
      gpu.dispose();
      await releaseNodeGpu();
      collect();
      resident.push(process.memoryUsage().rss / mebibyte);
    }
    // Dawn's last look for finished work may still be to come.
    for (let wait = 0; wait < 1000 && alive() !== before; wait++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    console.log(JSON.stringify({
      before,
      after: alive(),
      restored: globalThis.setImmediate === immediately,
      grown: resident[99] - resident[19],
    }));`,
    { UNET3D_ADAPTER: 'swiftshader' },
  );
  expect(status).toBe(0);
  const { before, after, restored, grown } = JSON.parse(stdout.trim()) as Record<string, unknown>;
  expect(after).toBe(before);
  expect(restored).toBe(true);
  // Of 80 MiB that went through buffers since the twentieth turn.
  expect(grown).toBeLessThan(20);
});

test('Vulkan is not asked where no driver is announced', () => {
  const home = mkdtempSync(join(tmpdir(), 'drivers-'));
  const folder = join(home, 'data', 'vulkan', 'icd.d');
  const nowhere = { HOME: home, XDG_CONFIG_DIRS: home, XDG_DATA_DIRS: join(home, 'data') };
  const before = hasSystemDriver({ HOME: home, XDG_CONFIG_DIRS: home, XDG_DATA_DIRS: home });
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'readme.txt'), '');
    expect(hasSystemDriver(nowhere)).toBe(before);
    writeFileSync(join(folder, 'acme_icd.json'), '{}');
    expect(hasSystemDriver(nowhere)).toBe(true);
  } finally {
    rmSync(home, { recursive: true });
  }
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
