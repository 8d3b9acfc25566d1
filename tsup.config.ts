/**
 * Builds dist/: index.js for browsers, node.js for Node, cli.js for the command, worker.js
 * for pages whose GPU work runs in a worker, which is worker-thread.js, report.js for metrics, pictures and reports. Shaders and WASM come in as
 * generated TypeScript, so every bundle stands alone but for what it imports on demand; `webgpu` (Dawn) stays an import of Node's, made on first use.
 */
import { defineConfig, type Options } from 'tsup';

const shared: Options = {
  format: 'esm',
  target: 'es2022',
  outDir: 'dist',
  removeNodeProtocol: false,
  splitting: false,
  treeshake: true,
  external: ['webgpu'],
  // tsup hands the declarations to a compiler option that TypeScript 6 only takes when told so.
  dts: { compilerOptions: { ignoreDeprecations: '6.0' } },
};

export default defineConfig([
  { ...shared, entry: { index: 'src/index.ts' }, platform: 'browser' },
  ...Object.entries({ worker: 'src/worker/index.ts', 'worker-thread': 'src/worker/thread.ts' }).map(
    ([name, file]): Options => ({
      ...shared,
      entry: { [name]: file },
      platform: 'browser',
      // A worker, and a page without a bundler, cannot look up a package by its name.
      noExternal: ['nifti-reader-js', 'pako', 'papaparse', 'valibot'],
      // What is imported on demand is a file of its own.
      splitting: true,
      esbuildOptions: (options) => void (options.chunkNames = `[name].${name}`),
    }),
  ),
  { ...shared, entry: { report: 'src/report/index.ts' }, platform: 'browser' },
  { ...shared, entry: { node: 'src/node.ts', 'report-node': 'src/report/index.node.ts' }, platform: 'node' },
  {
    ...shared,
    entry: { cli: 'src/cli/main.ts' },
    platform: 'node',
    dts: false,
    banner: { js: '#!/usr/bin/env node' },
  },
]);
