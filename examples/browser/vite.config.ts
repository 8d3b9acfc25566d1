/**
 * A static page: relative addresses, so that it works from any path; no inlined assets, so that a strict CSP holds; a
 * service worker that keeps all of it for use without a network.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { defineConfig, type Plugin } from 'vite';

/** Tells the service worker the files that were built. */
const offline: Plugin = {
  name: 'offline',
  apply: 'build',
  writeBundle: {
    order: 'post',
    handler({ dir }) {
      const folder = dir!;
      const files = readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => relative(folder, join(parentPath, name)).replaceAll('\\', '/'))
        .sort();
      const hash = createHash('sha256');
      for (const file of files) hash.update(file).update(readFileSync(join(folder, file)));
      const list = files
        .filter((file) => !file.startsWith('starter/')) // fetched when asked for
        .map((file) => (file === 'index.html' ? './' : file));
      const script = readFileSync(join(import.meta.dirname, 'offline.js'), 'utf8')
        .replace('FILES.map', `${JSON.stringify(list)}.map`)
        .replace('+ VERSION', `+ '${hash.digest('hex').slice(0, 16)}'`);
      writeFileSync(join(folder, 'offline.js'), script);
    },
  },
};

export default defineConfig({
  base: './',
  plugins: [offline],
  build: { target: 'es2022', assetsInlineLimit: 0, chunkSizeWarningLimit: 3000 },
  worker: { format: 'es' },
  server: { port: 5173 },
  preview: { port: 4173 },
});
