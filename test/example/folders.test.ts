/** The examples that start with one command: pages of Vite, built and run in Chromium; programs of Node; a notebook. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { chromium as playwright, type Browser } from 'playwright';
import { build } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chromium } from '../../scripts/chromium.ts';
import { DRIVER_VARIABLES } from '../../src/gpu/drivers.node.ts';
import { sparing } from '../support/bare-page.ts';
import { contentPolicy, serve } from '../support/site.ts';

const launch = chromium();
let browser: Browser | undefined;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'unet3d-gpu-examples-'));
  if (launch) browser = await playwright.launch({ ...launch, headless: true, ignoreDefaultArgs: sparing });
});

afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

test.for(['vite', 'worker'])(
  'examples/%s trains in a page, under a strict policy',
  async (name, { skip }) => {
    const outDir = join(folder, name);
    await build({ root: `examples/${name}`, logLevel: 'error', build: { outDir, emptyOutDir: true } });
    expect(readdirSync(outDir)).toContain('index.html');
    if (!browser) return skip('built, but there is no Chromium for this machine');
    const site = await serve(outDir, '/sub/path/', contentPolicy);
    const page = await browser.newPage();
    page.setDefaultTimeout(120_000);
    try {
      await page.goto(site.address);
      await page.getByRole('button', { name: 'Train' }).click();
      const log = page.getByRole('log');
      await log.filter({ hasText: /\ntrained|Error/ }).waitFor();
      const losses = [...(await log.innerText()).matchAll(/epoch \d: loss (\d\.\d+)/g)].map(
        ([, loss]) => +loss!,
      );
      expect(losses).toHaveLength(3);
      expect(losses[2]).toBeLessThan(losses[0]!);
    } finally {
      await page.close();
      site.close();
    }
  },
);

/** The cells of code one after another, as a module for Node; what the last one shows is printed. */
function notebook(path: string): string {
  const { cells } = JSON.parse(readFileSync(path, 'utf8')) as {
    cells: { cell_type: string; source: string[] }[];
  };
  const code = cells.filter(({ cell_type }) => cell_type === 'code').map(({ source }) => source.join(''));
  const shown = code.pop()!.replace(/^\(\{/m, 'const shown = ({');
  return [
    ...code,
    shown,
    "console.log(shown[Symbol.for('Jupyter.display')]()['text/html']);",
    "await (await import('unet3d-gpu')).releaseNodeGpu();",
  ].join('\n');
}

/** Runs a program in Node, on SwiftShader: what it prints. */
function printed(args: readonly string[], cwd: string): string {
  const env: NodeJS.ProcessEnv = { ...process.env, UNET3D_ADAPTER: 'swiftshader' };
  for (const name of DRIVER_VARIABLES) delete env[name];
  return execFileSync(process.env['UNET3D_NODE'] ?? process.execPath, args, { cwd, encoding: 'utf8', env });
}

test('the notebook trains and draws its losses', () => {
  const program = notebook('examples/notebook/train.ipynb');
  // From where names of packages are those of the checkout.
  const drawn = printed(['--input-type=module', '--eval', program], resolve('.'));
  expect(drawn).toMatch(/^<svg.*aria-label="line".*<path.*<\/svg>/s);
  expect(drawn.match(/<path[^>]* d="M[^"]*"/g)!.length).toBeGreaterThan(0);
});

test('the programs of examples/node start with one command each', () => {
  const readme = readFileSync('examples/node/README.md', 'utf8');
  for (const name of readdirSync('examples/node').filter((file) => file.endsWith('.mjs')))
    expect(readme).toContain(`\`${name}\``);
  expect(printed([resolve('examples/node/resume.mjs')], folder)).toContain(
    'The weights are the same, bit by bit.',
  );
});
