/** A static web server for tests that drive a real browser: plain files, no headers but their type. */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, resolve } from 'node:path';
import { build } from 'vite';

const types: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.webmanifest': 'application/manifest+json',
  '.wasm': 'application/wasm',
};

/** What a careful host allows a page: nothing from elsewhere, no script of its own making but WASM. */
export const contentPolicy =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; " +
  "img-src 'self' data: blob:; connect-src 'self'";

export interface Site {
  /** With the path at which the folder is served, and a slash at the end. */
  readonly address: string;
  close: () => void;
}

/** Serves a folder below a path such as `/sub/path/`; `policy` is sent as the content security policy of each file. */
export async function serve(folder: string, path = '/', policy?: string): Promise<Site> {
  const server = createServer((request, response) => {
    const wanted = (request.url ?? '').split('?')[0]!;
    try {
      if (!wanted.startsWith(path) || !/^[\w./@-]*$/.test(wanted) || wanted.includes('..'))
        throw new Error('not here');
      const file = join(folder, wanted.slice(path.length) || 'index.html');
      const bytes = readFileSync(file);
      const type = types[extname(file)] ?? 'application/octet-stream';
      const headers = { 'content-type': type, ...(policy && { 'content-security-policy': policy }) };
      response.writeHead(200, headers).end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { address: `http://127.0.0.1:${port}${path}`, close: () => void server.close() };
}

/** Milliseconds for which a build of the example is kept. */
const aDay = 24 * 60 * 60 * 1000;

/** Of what the example is built from: its files, the package's, and the versions of all else. */
function digestOfExample(): string {
  const hash = createHash('sha256');
  const add = (path: string): void => void hash.update(path).update(readFileSync(path));
  for (const folder of ['examples/browser', 'dist'])
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
      if (entry.isFile()) add(join(entry.parentPath, entry.name));
  for (const file of ['package.json', 'package-lock.json']) add(file);
  return hash.digest('hex').slice(0, 16);
}

/** The folder with the browser example, built unless a test before, or beside this one, has built the same. */
async function builtExample(): Promise<string> {
  const built = join('.cache', 'example');
  const folder = join(built, digestOfExample());
  if (existsSync(folder)) return folder;
  mkdirSync(built, { recursive: true });
  for (const name of readdirSync(built)) {
    const older = join(built, name);
    const since = statSync(older, { throwIfNoEntry: false })?.mtimeMs ?? Infinity; // gone meanwhile
    if (Date.now() - since > aDay) rmSync(older, { recursive: true, force: true });
  }
  const outDir = resolve(mkdtempSync(join(built, 'building-')));
  await build({
    root: 'examples/browser',
    configFile: 'examples/browser/vite.config.ts',
    logLevel: 'error',
    build: { outDir, emptyOutDir: true },
  });
  try {
    renameSync(outDir, folder);
  } catch (error) {
    rmSync(outDir, { recursive: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

/** The browser example, built and served from a sub-path with the strict policy. */
export async function serveExample(): Promise<Site> {
  return serve(await builtExample(), '/sub/path/', contentPolicy);
}
