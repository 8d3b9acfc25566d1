/**
 * Three projects: tests in Node that share processes, those that need one of their own, and the tests of the GPU and of
 * the browser in headless Chromium. The op tests and those that read volumes and files of PyTorch run in Node and in
 * the browser.
 */
import { readFile } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import { playwright } from '@vitest/browser-playwright';
import { defineConfig, type TestProjectConfiguration } from 'vitest/config';
import { chromium } from './scripts/chromium.ts';
import { SummaryReporter } from './test/support/reporter.ts';
import { LongestFirst } from './test/support/sequencer.ts';

const inNode = {
  // Worker threads cannot be told which Vulkan driver to use.
  pool: 'forks',
  maxWorkers: 2,
  testTimeout: 300_000,
  hookTimeout: 300_000,
  // With wider ones lavapipe has no matrix units; tests in test/gpu start others with those.
  env: { LP_NATIVE_VECTOR_WIDTH: process.env['LP_NATIVE_VECTOR_WIDTH'] ?? '256' },
} as const;

/** What changes or measures the process that it runs in, mocks modules, or opens and loses devices of its own. */
const alone = [
  'test/calls.test.ts',
  'test/cli/clear.test.ts',
  'test/data/wasm.test.ts',
  'test/docs/examples.test.ts',
  'test/{example,fuzz,gpu,package}/**/*.test.ts',
  'test/interop/nnunet/memory.test.ts',
  'test/self-test/self-test.test.ts',
  'test/train/memory.test.ts',
];

const node: TestProjectConfiguration = {
  test: {
    ...inNode,
    name: 'node',
    include: ['test/**/*.test.ts'],
    exclude: ['test/browser/**', 'test/cluster/**', ...alone],
    setupFiles: ['test/support/setup.node.ts', 'test/support/share-devices.node.ts'],
    // Files share a process, and with it what they import, a device and its compiled kernels.
    isolate: false,
  },
};

const nodeAlone: TestProjectConfiguration = {
  test: { ...inNode, name: 'node-alone', include: alone, setupFiles: ['test/support/setup.node.ts'] },
};

/** For tests in a browser: a file of the data beside the checkout in base64, null if there is none of that name. */
async function sharedFile(_: unknown, path: string): Promise<string | null> {
  const inside = normalize(path).startsWith(join('..', 'shared', 'data'));
  return inside ? readFile(path, 'base64').catch(() => null) : null;
}

const launchOptions = chromium();
const browser: TestProjectConfiguration = {
  // Found in the middle of a run, it would make Vite reload the page under the tests.
  optimizeDeps: {
    include: ['@noble/hashes/sha2.js', 'nifti-reader-js', 'pako/browser/inflate', 'papaparse', 'unzipit'],
    // It looks for its WASM beside itself.
    exclude: ['onnxruntime-web'],
  },
  test: {
    name: 'browser',
    include: [
      'test/ops/**/*.test.ts',
      'test/model/**/*.test.ts',
      'test/data/{nifti,gzip,conformance}.test.ts',
      'test/interop/nnunet/segment.test.ts',
      'test/browser/**/*.test.ts',
      'test/interop/{forward,monai}.test.ts',
      'test/weights/pytorch/conformance.test.ts',
    ],
    // The same calls on the same kernels as in Node, many times over.
    exclude: ['test/model/{limits,policy,tune,turns}.test.ts'],
    setupFiles: ['test/support/setup.browser.ts'],
    maxWorkers: 2,
    // Files share a page, and with it a device and its compiled kernels: one page, since another would compile them again.
    isolate: false,
    testTimeout: 300_000,
    hookTimeout: 300_000,
    browser: {
      enabled: true,
      fileParallelism: false,
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
    projects: [node, nodeAlone, ...(launchOptions ? [browser] : [])],
    sequence: { sequencer: LongestFirst },
    reporters: ['default', new SummaryReporter(notRun)],
  },
});
