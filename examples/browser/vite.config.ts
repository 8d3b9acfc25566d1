/** A static page: relative addresses, so that it works from any path; no inlined assets, so that a strict CSP holds. */
import { defineConfig } from 'vite';

export default defineConfig({
  base: './',
  build: { target: 'es2022', assetsInlineLimit: 0, chunkSizeWarningLimit: 3000 },
  worker: { format: 'es' },
  server: { port: 5173 },
  preview: { port: 4173 },
});
