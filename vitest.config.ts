/**
 * Two projects: every test in Node, and the tests of the GPU and of the browser in headless Chromium. The op tests
 * and those that read volumes run in both.
 */
import { readFile } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import { playwright } from '@vitest/browser-playwright';
import { defineConfig, type TestProjectConfiguration } from 'vitest/config';
import { chromium } from './scripts/chromium.ts';
import { SummaryReporter } from './test/support/reporter.ts';

const node: TestProjectConfiguration = {
  test: {
    name: 'node',
    include: ['test/**/*.test.ts'],
    exclude: ['test/browser/**'],
    setupFiles: ['test/support/setup.node.ts'],
    // Worker threads cannot be told which Vulkan driver to use.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
};

/** For tests in a browser: a file of the data beside the checkout in base64, null if there is none of that name. */
async function sharedFile(_: unknown, path: string): Promise<string | null> {
  const inside = normalize(path).startsWith(join('..', 'shared', 'data'));
  return inside ? readFile(path, 'base64').catch(() => null) : null;
}

const launchOptions = chromium();
const browser: TestProjectConfiguration = {
  // Found in the middle of a run, it would make Vite reload the page under the tests.
  optimizeDeps: { include: ['nifti-reader-js', 'pako/browser/inflate', 'papaparse', 'unzipit'] },
  test: {
    name: 'browser',
    include: [
      'test/ops/**/*.test.ts',
      'test/model/**/*.test.ts',
      'test/data/{nifti,gzip,conformance}.test.ts',
      'test/interop/nnunet/segment.test.ts',
      'test/browser/**/*.test.ts',
      'test/interop/{forward,monai}.test.ts',
    ],
    setupFiles: ['test/support/setup.browser.ts'],
    maxWorkers: 2,
    // Files share a page, and with it a device and its compiled kernels.
    isolate: false,
    testTimeout: 300_000,
    hookTimeout: 300_000,
    browser: {
      enabled: true,
      commands: { sharedFile },
      headless: true,
      screenshotFailures: false,
      provider: playwright(launchOptions ? { launchOptions } : {}),
      instances: [{ browser: 'chromium' }],
    },
  },
};

const notRun = launchOptions
  ? []
  : ['the browser project: no Chromium for this machine; install one and name it in UNET3D_CHROMIUM'];

export default defineConfig({
  test: {
    projects: launchOptions ? [node, browser] : [node],
    reporters: ['default', new SummaryReporter(notRun)],
  },
});
