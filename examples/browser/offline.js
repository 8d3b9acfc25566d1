/** The service worker: the page's own files, as they were when it was installed. Vite's configuration fills the list in. */
/* global FILES, VERSION */
const prefix = `unet3d-gpu ${registration.scope} `;
const name = prefix + VERSION;
const anew = (file) => new Request(file, { cache: 'no-cache' });

/** What comes with the page, and is fetched and kept when it is asked for. */
const isForLater = ({ url }) => url.startsWith(`${registration.scope}starter/`);

/** The page itself, by whatever name it is opened: it is kept under that of its folder. */
const isPage = ({ mode, url }) =>
  mode === 'navigate' && /^(index\.html)?([?#]|$)/.test(url.slice(registration.scope.length));

const pagesCaches = async () => (await caches.keys()).filter((other) => other.startsWith(prefix));

/** All that the page needs; and of this version what was asked for in earlier ones. */
async function install() {
  const cache = await caches.open(name);
  await cache.addAll(FILES.map(anew));
  for (const other of await pagesCaches()) {
    const used = (await (await caches.open(other)).keys()).filter(isForLater);
    await Promise.allSettled(used.map(({ url }) => cache.add(anew(url))));
  }
}

async function removeOthers() {
  for (const other of await pagesCaches()) if (other !== name) await caches.delete(other);
  await clients.claim();
}

async function answer(request) {
  const cache = await caches.open(name);
  const kept = await cache.match(isPage(request) ? registration.scope : request, { ignoreVary: true });
  if (kept) return kept;
  const response = await fetch(request);
  // A browser that has no room for it asks again next time.
  if (response.status === 200 && isForLater(request))
    await cache.put(request, response.clone()).catch(() => undefined);
  return response;
}

addEventListener('install', (event) => event.waitUntil(install()));
addEventListener('activate', (event) => event.waitUntil(removeOthers()));
addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || !request.url.startsWith(registration.scope)) return;
  event.respondWith(answer(request));
});
