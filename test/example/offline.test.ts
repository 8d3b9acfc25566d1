/** The service worker of the page: what it keeps when it is installed, and what once it was asked for. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { parseHTML } from 'linkedom';
import { expect, test, vi } from 'vitest';
import { workOffline } from '../../examples/browser/src/offline.ts';

const script = readFileSync(join(import.meta.dirname, '../../examples/browser/offline.js'), 'utf8');
const scope = 'https://site.test/page/';
const model = `${scope}starter/model.safetensors`;

type Listener = (event: Record<string, unknown>) => void;

/** The browser: what it keeps outlives the workers. */
function browser() {
  const kept = new Map<string, Map<string, string>>();
  const site = { isThere: true, asked: [] as string[] };
  const fetch = ({ url }: { url: string }) => {
    if (!site.isThere) return Promise.reject(new TypeError('no network'));
    site.asked.push(url);
    const body = `content of ${url}`;
    return Promise.resolve({ status: url.includes('missing') ? 404 : 200, body, clone: () => ({ body }) });
  };
  const cacheOf = (name: string) => {
    const files = kept.get(name) ?? new Map<string, string>();
    kept.set(name, files);
    const put = ({ url }: { url: string }, { body }: { body: string }) => {
      files.set(url, body);
      return Promise.resolve();
    };
    const add = async (request: { url: string }) => put(request, await fetch(request));
    return {
      put,
      add,
      addAll: (requests: { url: string }[]) => Promise.all(requests.map(add)),
      keys: () => Promise.resolve([...files.keys()].map((url) => ({ url }))),
      match: (asked: string | { url: string }) =>
        Promise.resolve(files.get(typeof asked === 'string' ? asked : asked.url)),
    };
  };
  /** A worker of some version takes the place of the one before. */
  async function worker(version: string, files: readonly string[]) {
    const listeners = new Map<string, Listener>();
    runInNewContext(script, {
      FILES: files,
      VERSION: version,
      registration: { scope },
      addEventListener: (type: string, listener: Listener) => listeners.set(type, listener),
      clients: { claim: () => Promise.resolve() },
      Request: class {
        url: string;
        constructor(file: string) {
          this.url = new URL(file, scope).href;
        }
      },
      caches: {
        open: (name: string) => Promise.resolve(cacheOf(name)),
        keys: () => Promise.resolve([...kept.keys()]),
        delete: (name: string) => Promise.resolve(kept.delete(name)),
      },
      fetch,
    });
    const hears = (type: string, event: Record<string, unknown> = {}): unknown => {
      let done: unknown;
      const wait = (promise: unknown): void => void (done = promise);
      listeners.get(type)!({ ...event, waitUntil: wait, respondWith: wait });
      return done;
    };
    await hears('install');
    await hears('activate');
    return (url: string, mode = 'cors') => hears('fetch', { request: { method: 'GET', mode, url } });
  }
  return { kept, site, worker };
}

test('what comes with the page is kept once it was asked for, also by the next version; nothing else is', async () => {
  const { kept, site, worker } = browser();
  const first = await worker('1', ['./', 'a.js']);
  expect(site.asked).toEqual([scope, `${scope}a.js`]);
  await first(model);
  await first(`${scope}starter/missing.nii`);
  await first(`${scope}other.json`);
  site.isThere = false;
  expect(await first(model)).toBe(`content of ${model}`);
  expect(await first(scope)).toBe(`content of ${scope}`);
  for (const other of ['starter/missing.nii', 'other.json'])
    await expect(first(scope + other)).rejects.toThrow('no network');
  expect(await first('https://elsewhere.test/')).toBe(undefined);

  site.isThere = true;
  const second = await worker('2', ['./', 'b.js']);
  site.isThere = false;
  expect([...kept.values()].map((files) => [...files.keys()])).toEqual([[scope, `${scope}b.js`, model]]);
  expect(await second(model)).toBe(`content of ${model}`);
});

test('the page opens without a network by whatever name it is called', async () => {
  const { site, worker } = browser();
  const fetched = await worker('1', ['./', 'a.js']);
  site.isThere = false;
  for (const name of ['', '?from=mail', 'index.html', 'index.html?from=mail#top'])
    expect(await fetched(scope + name, 'navigate'), name).toBe(`content of ${scope}`);
  for (const [name, mode] of [
    ['index.html', 'cors'],
    ['other.html', 'navigate'],
  ] as const)
    await expect(fetched(scope + name, mode), name).rejects.toThrow('no network');
});

test('a newer version is told of once all of it is kept, and one whose installation failed never', async () => {
  const { document, Node } = parseHTML('<!doctype html><html><body><div id="notices"></div></body></html>');
  Object.defineProperty(document, 'baseURI', { value: scope });
  for (const [name, value] of Object.entries({ document, Node })) vi.stubGlobal(name, value);
  vi.stubGlobal('Text', function (text: string) {
    return document.createTextNode(text);
  });
  const registration = Object.assign(new EventTarget(), {
    active: undefined as object | undefined,
    installing: Object.assign(new EventTarget(), { state: 'installing' }),
  });
  vi.stubGlobal('navigator', { serviceWorker: { register: () => Promise.resolve(registration) } });
  await workOffline();
  const said = () => document.querySelector('#notices')!.textContent;
  const install = (...states: string[]): void => {
    const worker = (registration.installing = Object.assign(new EventTarget(), { state: 'installing' }));
    registration.dispatchEvent(new Event('updatefound'));
    expect(said()).toBe('');
    for (const state of states) {
      worker.state = state;
      worker.dispatchEvent(new Event('statechange'));
    }
  };
  install('installed', 'activating', 'activated'); // the first visit
  registration.active = {};
  install('redundant');
  expect(said()).toBe('');
  install('installed');
  expect(said()).toMatch(/^A newer version of this page is ready\./);
  vi.unstubAllGlobals();
});
