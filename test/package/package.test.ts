/**
 * The package as its users get it: packed, unpacked into a clean folder with its dependencies beside it, then imported
 * in Node, run as a command, type-checked, linted, and bundled, served and run in a browser.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { build as esbuild } from 'esbuild';
import { chromium as playwright } from 'playwright';
import { publint } from 'publint';
import { build, type Rolldown } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chromium } from '../../scripts/chromium.ts';
import { packedWeight, pageWeights, weightTable } from '../../scripts/size.ts';
import { installAdvice } from '../../src/gpu/advice.node.ts';
import { untar } from '../../src/gpu/drivers.node.ts';
import { contentPolicy, serve } from '../support/site.ts';

interface Manifest {
  dependencies: Record<string, string>;
  optionalDependencies: Record<string, string>;
  bin: Record<string, string>;
}

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;

/** Node itself, also where these tests were started through lavapipe. */
const node = process.env['UNET3D_NODE'] ?? process.execPath;

/** A clean folder with the package installed in it. */
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'unet3d-gpu-package-')));
const installed = join(folder, 'node_modules', 'unet3d-gpu');
let tarball: string;
let names: string[];

function link(name: string): void {
  const place = join(folder, 'node_modules', name);
  mkdirSync(dirname(place), { recursive: true });
  symlinkSync(join(root, 'node_modules', name), place, 'junction');
}

beforeAll(() => {
  if (!existsSync(join(root, 'dist', 'node.js'))) throw new Error('dist/ is not built: run npm run build');
  // dist/ is tested as it is; packing would build it again.
  const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
  const report = execFileSync('npm', pack, {
    cwd: root,
    encoding: 'utf8',
    stdio: 'pipe',
    shell: process.platform === 'win32',
  });
  tarball = join(folder, (JSON.parse(report) as { filename: string }[])[0]!.filename);
  const files = untar(gunzipSync(readFileSync(tarball)));
  names = files.map((file) => file.name.replace('package/', ''));
  for (const [index, file] of files.entries()) {
    const path = join(installed, names[index]!);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, file.bytes, { mode: file.mode });
  }
  for (const name of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) link(name);
  cpSync(join(root, 'test', 'package', 'consumer'), folder, { recursive: true });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function cli(args: string[], env: Record<string, string> = {}) {
  const script = join(installed, manifest.bin['unet3d-gpu']!);
  return spawnSync(node, [script, ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
}

test('the tarball holds dist, the documents and the examples that they name, nothing else', () => {
  const expected =
    /^(dist\/[^/]+\.(js|d\.ts)|docs\/[\w-]+\.md|docs\/schemas\/[\w-]+\.json|examples\/pytorch\/unet3d\.py|examples\/slurm\/[\w.]+|package\.json|README\.md|LICENSE)$/;
  expect(names.filter((name) => !expected.test(name))).toEqual([]);
  expect(names).toEqual(
    expect.arrayContaining([
      'dist/index.js',
      'dist/index.d.ts',
      'dist/node.js',
      'dist/node.d.ts',
      'dist/cli.js',
    ]),
  );
});

test('a program runs on the runtimes at hand', () => {
  const asked = (process.env['UNET3D_RUNTIMES'] ?? '').split(delimiter).filter((path) => path !== '');
  const deno = [process.execPath, join(root, 'node_modules', 'deno', 'bin.cjs'), 'run', '-A', '--no-lock'];
  const ran = [[node], ...asked.map((path) => [path]), deno].map(([command, ...args]) => {
    const run = spawnSync(command!, [...args, 'program.js', '--no-gpu'], {
      cwd: folder,
      encoding: 'utf8',
      env: { ...process.env, DENO_NO_UPDATE_CHECK: '1' },
    });
    expect(run.stderr, command).toBe('');
    expect(run.stdout).toContain('fine');
    return run.stdout.trim();
  });
  const known = ['Node 20', 'Node 22', 'Node 24', 'Node 26', 'Bun', 'Deno'];
  const notRun = known.filter(
    (name) => !ran.some((text) => text.startsWith(`${name}.`) || text.startsWith(`${name} `)),
  );
  console.log(
    `${ran.join('\n')}\nnot run, name their programs in UNET3D_RUNTIMES: ${notRun.join(', ') || 'none'}`,
  );
});

test('an error of one entry is of the class of another', () => {
  const script = `
    import { InvalidVolume, UNet3DError } from 'unet3d-gpu';
    import * as worker from 'unet3d-gpu/worker';
    import { evaluateCase } from 'unet3d-gpu/report';
    let found;
    const map = (length) => ({ data: new Uint8Array(length), shape: [length, 1, 1] });
    try { evaluateCase(map(1), map(2), { classes: 2 }); } catch (error) { found = error; }
    console.log(found.name, found instanceof UNet3DError, found instanceof worker.UNet3DError, InvalidVolume === worker.InvalidVolume);
  `;
  const run = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: folder,
    encoding: 'utf8',
  });
  expect(run.stderr).toBe('');
  expect(run.stdout).toMatch(/^Invalid\w+ true true true$/m);
});

/** What no declaration and no page should hold; each kernel has it. */
const kernelCode = '@compute @workgroup_size';

test('declarations hold no code of kernels', () => {
  const declarations = names.filter((name) => name.endsWith('.d.ts'));
  expect(declarations).toContain('dist/index.d.ts');
  for (const name of declarations)
    expect(readFileSync(join(installed, name), 'utf8').includes(kernelCode), name).toBe(false);
});

/** A script of the clean folder as esbuild bundles it for a page: its files, those that it loads at once first. */
async function bundled(script: string): Promise<{ now: string; later: string }> {
  const { outputFiles, metafile, warnings } = await esbuild({
    stdin: { contents: script, resolveDir: folder, sourcefile: 'app.js' },
    bundle: true,
    minify: true,
    splitting: true,
    format: 'esm',
    write: false,
    metafile: true,
    outdir: folder,
    absWorkingDir: folder,
    logLevel: 'silent',
  });
  expect(warnings).toEqual([]);
  const now = new Set(
    Object.keys(metafile.outputs).filter((name) => metafile.outputs[name]!.entryPoint === 'app.js'),
  );
  for (const name of now)
    for (const { path, kind } of metafile.outputs[name]!.imports)
      if (kind === 'import-statement') now.add(path);
  const text = (loaded: boolean): string =>
    outputFiles
      .filter(({ path }) => now.has(relative(folder, path)) === loaded)
      .map((file) => file.text)
      .join('\n');
  return { now: text(true), later: text(false) };
}

test('the tarball and what pages load of it stay within their limits', async () => {
  const weights = [packedWeight(root), ...(await pageWeights(folder))];
  console.log(weightTable(weights));
  for (const { what, bytes, limit } of weights) {
    expect(bytes, what).toBeGreaterThan(0);
    expect(bytes, what).toBeLessThanOrEqual(limit);
  }
});

test("the page's side of the worker comes without the code of kernels, with a bundler and without", async () => {
  const { now } = await bundled("export { UNet3D } from 'unet3d-gpu/worker';");
  expect(now.includes(kernelCode)).toBe(false);
  const everything = await bundled("export * from 'unet3d-gpu/worker';");
  expect(everything.now.includes(kernelCode)).toBe(false);
  expect(everything.later.includes(kernelCode)).toBe(true); // loaded by who runs kernels on the page
});

test('the command runs', () => {
  const run = cli(['--help']);
  expect(run.stderr).toBe('');
  expect(run.status).toBe(0);
  for (const command of ['train', 'predict', 'evaluate', 'info', 'demo'])
    expect(run.stdout).toContain(command);
});

test('without an adapter, it says what to install on this system', ({ skip }) => {
  skip(process.platform !== 'linux', 'only Linux lets the environment name a driver that is not there');
  const run = cli(['info'], { VK_DRIVER_FILES: '/nonexistent.json', VK_ICD_FILENAMES: '/nonexistent.json' });
  expect(run.status).not.toBe(0);
  expect(run.stderr).toContain('/nonexistent.json');
  expect(run.stderr).toContain(installAdvice());
  if (process.arch === 'x64') expect(run.stderr).toContain('npm install @sparticuz/chromium');
});

test('publint finds nothing', async () => {
  const { messages } = await publint({ pkgDir: installed, strict: true, pack: false });
  expect(messages).toEqual([]);
});

test('types resolve for every kind of importer', () => {
  const attw = join(root, 'node_modules', '@arethetypeswrong', 'cli', 'dist', 'index.js');
  const args = [attw, '--profile', 'esm-only', '--no-color', tarball];
  const run = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect(run.status, run.stdout + run.stderr).toBe(0);
});

test.each(['nodenext', 'bundler'])(
  'type-checks in a strict project with module resolution %s',
  (moduleResolution) => {
    const module = moduleResolution === 'bundler' ? 'esnext' : 'nodenext';
    // What TypeScript brings of its own is most of what there is to check, and not ours.
    const compilerOptions = { module, moduleResolution, skipDefaultLibCheck: true };
    const project = { extends: './tsconfig.typescript6.json', compilerOptions, files: ['user.ts'] };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(project));
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    const run = spawnSync(process.execPath, [tsc, '--project', folder], { encoding: 'utf8' });
    expect(run.stdout).toBe('');
    expect(run.status).toBe(0);
  },
);

test('bundles for a browser without Dawn and without anything of Node', async () => {
  const entry = join(folder, 'app.js');
  writeFileSync(entry, "import { UNet3D } from 'unet3d-gpu';\nglobalThis.model = UNet3D.create({});\n");
  const warnings: string[] = [];
  const result = (await build({
    root: folder,
    configFile: false,
    logLevel: 'silent',
    build: {
      write: false,
      minify: false,
      rolldownOptions: { input: entry, onwarn: (warning) => warnings.push(warning.message) },
    },
  })) as Rolldown.RolldownOutput;
  const chunks = result.output.filter((file) => file.type === 'chunk');
  const code = chunks.map((chunk) => chunk.code).join('\n');
  expect(code).toContain('navigator');
  const own = new Set(chunks.map(({ fileName }) => fileName));
  expect(chunks.flatMap(({ imports }) => imports).filter((name) => !own.has(name))).toEqual([]);
  expect(chunks.flatMap(({ dynamicImports }) => dynamicImports).filter((name) => !own.has(name))).toEqual([]);
  expect(code).not.toMatch(/\b(?:from|import|require)\s*\(?\s*["'`](?:node:|webgpu|fs\b|path\b)/);
  expect(code).not.toContain('browser-external');
  expect(warnings).toEqual([]);
});

/** What a page of a fresh project does with the worker: a training of two steps, and where it ran. */
const pageScript = `
  import { UNet3D, fromArrays, phantom } from 'unet3d-gpu/worker';
  const { image, labels, shape, affine } = phantom(1, { shape: [8, 8, 8] });
  const grid = { dims: [...shape], affine };
  const item = fromArrays('one', { data: image, ...grid }, { data: labels, ...grid });
  try {
    const model = await UNet3D.create({ inChannels: 1, classes: 6, features: [4, 8] });
    const { steps } = await model.fit([item], { epochs: 2 });
    document.body.textContent = 'trained ' + steps + ' steps';
    model.dispose();
  } catch (error) {
    document.body.textContent = String(error);
  }
`;

test('a fresh Vite project with the worker builds without Dawn, and trains in Chromium under a strict policy', async ({
  skip,
}) => {
  const project = join(folder, 'project');
  mkdirSync(project);
  writeFileSync(
    join(project, 'index.html'),
    '<!doctype html><title>t</title><body>waiting</body><script type="module" src="./main.js"></script>',
  );
  writeFileSync(join(project, 'main.js'), pageScript);
  const target = { target: 'es2022', assetsInlineLimit: 0 };
  await build({
    root: project,
    base: './',
    configFile: false,
    logLevel: 'error',
    build: target,
    worker: { format: 'es' },
  });
  const site = await serve(join(project, 'dist'), '/some/where/', contentPolicy);
  try {
    const scripts = readdirSync(join(project, 'dist', 'assets')).filter((name) => name.endsWith('.js'));
    expect(scripts.some((name) => name.startsWith('worker-thread'))).toBe(true);
    for (const name of scripts)
      expect(readFileSync(join(project, 'dist', 'assets', name), 'utf8'), name).not.toMatch(
        /dawn|["'`](webgpu["'`]|node:)/,
      );

    const launch = chromium();
    if (!launch) return skip('built, but there is no Chromium for this machine to run it');
    const browser = await playwright.launch({ ...launch, headless: true });
    try {
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on('console', (message) => complaints.push(message.text()));
      await page.goto(site.address);
      await page.getByText('trained 2 steps').waitFor({ timeout: 60_000 });
      expect(complaints.filter((text) => /Content Security Policy/i.test(text))).toEqual([]);
    } finally {
      await browser.close();
    }
  } finally {
    site.close();
  }
});
