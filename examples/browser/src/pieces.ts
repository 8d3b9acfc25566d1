/** Long work in pieces: between them the page answers, and a worker hears that nobody waits any longer. */

/** Milliseconds that a piece may take. */
const stretch = 10;

/** Lets the thread do what else waits; timers wait for seconds in a hidden tab. */
export const pause = (): Promise<void> =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });

/** To be awaited again and again in long work: pauses where that has held its thread for long enough. */
export type Rest = () => Promise<void>;

/** @throws what the signal is aborted with, at the next pause */
export function restsUntil(signal?: AbortSignal): Rest {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < stretch) return;
    await pause();
    signal?.throwIfAborted();
    since = performance.now();
  };
}
