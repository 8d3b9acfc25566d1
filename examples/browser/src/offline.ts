/** Keeps the page itself in the browser, so that it opens without a network. */
import { el, notice } from './dom.ts';

export async function workOffline(): Promise<void> {
  const { serviceWorker } = navigator as Partial<Navigator>;
  try {
    // There is none where pages are served as they are written.
    const registration = await serviceWorker?.register(new URL('./offline.js', document.baseURI));
    registration?.addEventListener('updatefound', () => {
      if (!registration.active) return; // the first visit
      notice(
        '',
        el('p', {}, 'A newer version of this page is ready. It opens when all tabs of this one are closed.'),
      );
    });
  } catch {
    // The page works all the same, with a network.
  }
}
