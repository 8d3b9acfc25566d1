/**
 * Builds dist/ in one go, so that all entries share their chunks and an error of one is `instanceof` the class of
 * another: index.js for browsers, node.js for Node, cli.js for the command, worker.js for pages whose GPU work runs in
 * a worker, which is worker-thread.js, report.js and report-node.js for metrics, pictures and reports. Shaders and WASM
 * come in as generated TypeScript, the code of the shaders as a chunk that is loaded when a kernel is compiled.
 */
import { readFile, rm } from 'node:fs/promises';
import { defineConfig, type Options } from 'tsup';

const entries = {
  index: 'src/index.ts',
  node: 'src/node.ts',
  worker: 'src/worker/index.ts',
  'worker-thread': 'src/worker/thread.ts',
  report: 'src/report/index.ts',
  'report-node': 'src/report/index.node.ts',
};

/**
 * What a program may want without a network. esbuild, under tsup, cannot be told which files make a chunk, and sees
 * no harmless calls across files, as those that make schemas: beside them, a function of ten lines would bring 20 kB
 * along. As entries these files become chunks of their own; the entries themselves are not kept.
 */
const alone = {
  dice: 'src/metrics/dice.ts',
  losses: 'src/model/losses.ts',
  optimizers: 'src/train/optimizers.ts',
  schedules: 'src/train/schedules.ts',
};

/** unzipit can unpack in threads of Node, for which it is never asked here; bundlers of pages look for them all the same. */
const withoutThreads: NonNullable<Options['esbuildPlugins']>[number] = {
  name: 'without threads',
  setup(build) {
    build.onLoad({ filter: /unzipit\.module\.js$/ }, async ({ path }) => {
      const code = await readFile(path, 'utf8');
      const contents = code.replace(
        /const moduleId = 'node:worker_threads';\s*const \{ Worker \} = await import\(moduleId\);/,
        'const Worker = undefined;',
      );
      if (contents === code) throw new Error(`${path} asks for threads in another way: see tsup.config.ts`);
      return { contents, loader: 'js' };
    });
  },
};

export default defineConfig({
  entry: { ...entries, ...alone, cli: 'src/cli/main.ts' },
  format: 'esm',
  target: 'es2022',
  // Of the dependencies that are bundled, the files for browsers; modules of Node stay imports.
  platform: 'browser',
  external: [/^node:/, 'webgpu', 'koffi'],
  esbuildPlugins: [withoutThreads],
  removeNodeProtocol: false,
  // A worker, and a page without a bundler, cannot look up a package by its name.
  noExternal: ['@noble/hashes', 'nifti-reader-js', 'pako', 'papaparse', 'unzipit', 'valibot'],
  splitting: true,
  // Names of functions and classes stay, so that errors of users tell where they come from; with source maps the package
  // were three times as large. Of esbuild's names all would go or none, so terser shortens the others. It moves no
  // function into its callers, who would be named in its place.
  minifyWhitespace: true,
  minifySyntax: true,
  minify: 'terser',
  terserOptions: {
    module: true,
    compress: { inline: false, reduce_funcs: false, passes: 2, ecma: 2020 },
    mangle: { keep_fnames: true, keep_classnames: true },
    format: { max_line_len: 800 },
  },
  // Node shows the line that throws: one line for a whole file would hide what the error says.
  esbuildOptions: (options) => void (options.lineLimit = 800),
  clean: true,
  // tsup hands the declarations to a compiler option that TypeScript 6 only takes when told so.
  dts: { entry: entries, compilerOptions: { ignoreDeprecations: '6.0' } },
  async onSuccess() {
    for (const name of Object.keys(alone)) await rm(`dist/${name}.js`);
  },
});
