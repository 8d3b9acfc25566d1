/** Keeps the page itself in the browser, so that it opens without a network. */
import { el, notice } from './dom.ts';

export async function workOffline(): Promise<void> {
  try {
    const { serviceWorker } = navigator as Partial<Navigator>;
    // There is none where pages are served as they are written.
    const registration = await serviceWorker?.register(new URL('./offline.js', document.baseURI));
    registration?.addEventListener('updatefound', () => {
      const { active, installing } = registration;
      if (!active) return; // the first visit
      installing?.addEventListener('statechange', () => {
        if (installing.state === 'installed') tellOfNewer(); // all its files are here
      });
    });
  } catch {
    // The page works all the same, with a network.
  }
}

function tellOfNewer(): void {
  const text = 'A newer version of this page is ready. It opens when all tabs of this one are closed.';
  notice('', el('p', {}, text));
}
