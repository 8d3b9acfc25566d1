/** The service worker: the page's own files, as they were when it was installed. Vite's configuration fills the list in. */
/* global FILES, VERSION */
const prefix = `unet3d-gpu ${registration.scope} `;
const name = prefix + VERSION;

addEventListener('install', (event) => {
  const files = FILES.map((file) => new Request(file, { cache: 'no-cache' }));
  event.waitUntil(caches.open(name).then((cache) => cache.addAll(files)));
});

addEventListener('activate', (event) => {
  const isOld = (other) => other.startsWith(prefix) && other !== name;
  const removed = caches
    .keys()
    .then((names) => Promise.all(names.filter(isOld).map((old) => caches.delete(old))));
  event.waitUntil(removed.then(() => clients.claim()));
});

addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || !request.url.startsWith(registration.scope)) return;
  const kept = caches
    .open(name)
    .then((cache) => cache.match(request, { ignoreSearch: request.mode === 'navigate', ignoreVary: true }));
  event.respondWith(kept.then((response) => response ?? fetch(request)));
});
