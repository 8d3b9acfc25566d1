/**
 * How Dawn waits in Node. As long as anything is awaited, its binding looks for finished work in every turn of the
 * event loop, by `setImmediate`: one core is always busy, which a software adapter would compute with, and which
 * drains a battery. Here it looks so for about a millisecond, then once per millisecond. The binding has no option for
 * that and asks the process's global object for `setImmediate` anew each time, so that replacing it there, while a GPU
 * is open, is the only way; `setPolling` is the way out.
 */
import { assertOptions } from '../options.ts';
import { oneOf } from '../schema.ts';

/** `calm`: as above; `eager`: as Dawn does it by itself. */
export type Polling = 'calm' | 'eager';

/** Turns of the event loop in a row that Dawn may take at once: some tens of microseconds each. */
const eager = 40;
const pauseMs = 1;
/** Without a look for so long, nothing was awaited. */
const idleMs = 5;

let wish: Polling = 'calm';
let undo: (() => void) | undefined;

/**
 * How this process waits for the GPU. `calm`, the default, replaces `globalThis.setImmediate` from when the first GPU is
 * opened until `releaseNodeGpu`, for Dawn's own calls only: all others are passed on. `eager` leaves it alone, at once,
 * and keeps a processor busy while the GPU works; `calm` holds again from the next GPU that is opened.
 * @throws InvalidOption
 * @example
 * ```js
 * setPolling('eager');
 * ```
 */
export function setPolling(polling: Polling): void {
  assertOptions('setPolling', { polling: oneOf('calm', 'eager') }, { polling });
  wish = polling;
  if (polling === 'eager') pollEagerly();
}

/** Dawn hands over a function of native code without a name; other calls of `setImmediate` go their way. */
const isDawns = (callback: unknown): boolean =>
  typeof callback === 'function' &&
  callback.name === '' &&
  Function.prototype.toString.call(callback).includes('[native code]');

/** Slows down Dawn's waiting in this process, unless that is not wanted, until `pollEagerly`. */
export function pollCalmly(): void {
  if (undo || wish === 'eager') return;
  const immediately = globalThis.setImmediate;
  let [turns, last] = [0, -Infinity];
  const calmly = (callback: () => void, ...rest: unknown[]): unknown => {
    if (rest.length > 0 || !isDawns(callback))
      return Reflect.apply(immediately, globalThis, [callback, ...rest]);
    const now = performance.now();
    turns = now - last > idleMs ? 0 : turns + 1;
    last = now;
    return turns < eager ? immediately(callback) : setTimeout(callback, pauseMs);
  };
  // What else hangs on the function, such as its promisified form.
  Object.defineProperties(calmly, Object.getOwnPropertyDescriptors(immediately));
  globalThis.setImmediate = calmly as typeof setImmediate;
  undo = () => {
    if (globalThis.setImmediate === (calmly as unknown)) globalThis.setImmediate = immediately;
  };
}

/** As Dawn does it by itself. */
export function pollEagerly(): void {
  undo?.();
  undo = undefined;
}
