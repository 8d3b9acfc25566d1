/**
 * The self-test in an installed browser, driven as the W3C's WebDriver says: prints its JSON document, and fails where
 * something is computed wrongly.
 *   npm run test:webdriver -- --driver safaridriver|chromedriver|geckodriver, or where it is
 */
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { chromium } from './chromium.ts';

const { driver } = parseArgs({ options: { driver: { type: 'string', default: 'safaridriver' } } }).values;

/** What browsers have to be told; Safari and Firefox have WebGPU where they have it. */
const found = chromium();
const capabilities: Record<string, object> = {
  chromedriver: {
    'goog:chromeOptions': { args: ['--headless', ...(found?.args ?? [])], binary: found?.executablePath },
  },
  geckodriver: { 'moz:firefoxOptions': { args: ['-headless'] } },
};

const page = `
  import { selfTest } from './src/index.ts';
  selfTest().then(
    (report) => (document.title = JSON.stringify(report, null, 2)),
    (error) => (document.title = String(error)),
  );`;
const { outputFiles } = await build({
  stdin: { contents: page, resolveDir: fileURLToPath(new URL('..', import.meta.url)), sourcefile: 'page.ts' },
  bundle: true,
  format: 'esm',
  target: 'es2022',
  outfile: 'page.js',
  write: false,
  logLevel: 'warning',
});
const html =
  '<!doctype html><meta charset="utf-8"><title></title><script type="module" src="/page.js"></script>';
const site = createServer(({ url }, response) => {
  const [type, body] = url === '/page.js' ? ['text/javascript', outputFiles[0]!.text] : ['text/html', html];
  response.writeHead(200, { 'content-type': type }).end(body);
});
await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
const { port } = site.address() as AddressInfo;

/** For the self-test in the page. */
const patienceMs = 10 * 60_000;
const driverPort = port + 1;
const server = spawn(driver, driver === 'safaridriver' ? ['-p', `${driverPort}`] : [`--port=${driverPort}`], {
  stdio: ['ignore', 'ignore', 'inherit'],
});
const failed = new Promise<never>((_, reject) => server.once('error', reject));

async function call<T>(method: string, path: string, body?: object): Promise<T> {
  const address = `http://127.0.0.1:${driverPort}${path}`;
  const response = await fetch(address, { method, ...(body && { body: JSON.stringify(body) }) });
  const { value } = (await response.json()) as { value: T & { message?: string } };
  if (!response.ok) throw new Error(`${driver}: ${value.message}`);
  return value;
}

async function selfTestReport(): Promise<string> {
  for (let tries = 0; !(await call('GET', '/status').catch(() => undefined)); tries++) {
    if (tries > 100) throw new Error(`${driver} does not answer`);
    await wait(100);
  }
  const wish = { capabilities: { alwaysMatch: capabilities[basename(driver)] ?? {} } };
  const { sessionId } = await call<{ sessionId: string }>('POST', '/session', wish);
  try {
    await call('POST', `/session/${sessionId}/url`, { url: `http://127.0.0.1:${port}/` });
    for (const begun = performance.now(); performance.now() - begun < patienceMs; await wait(500)) {
      const title = await call<string>('GET', `/session/${sessionId}/title`);
      if (title !== '') return title;
    }
    throw new Error(`the page has not finished within ${patienceMs / 60_000} minutes`);
  } finally {
    await call('DELETE', `/session/${sessionId}`);
  }
}

try {
  const report = await Promise.race([selfTestReport(), failed]);
  console.log(report);
  if (!report.startsWith('{') || !(JSON.parse(report) as { right: boolean }).right) process.exitCode = 1;
} finally {
  server.kill();
  site.close();
}
