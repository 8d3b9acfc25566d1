/**
 * How Dawn waits in Node. As long as anything is awaited, its binding looks for finished work in every turn of the
 * event loop, by `setImmediate`: one core is always busy, which a software adapter would compute with, and which
 * drains a battery. Here it looks so for about a millisecond, then once per millisecond.
 */

/** Turns of the event loop in a row that Dawn may take at once: some tens of microseconds each. */
const eager = 40;
const pauseMs = 1;
/** Without a look for so long, nothing was awaited. */
const idleMs = 5;

let undo: (() => void) | undefined;

/** Dawn hands over a function of native code without a name; other calls of `setImmediate` go their way. */
const isDawns = (callback: unknown): boolean =>
  typeof callback === 'function' &&
  callback.name === '' &&
  Function.prototype.toString.call(callback).includes('[native code]');

/** Slows down Dawn's waiting in this process, until `pollAlways`. */
export function pollCalmly(): void {
  if (undo) return;
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
export function pollAlways(): void {
  undo?.();
  undo = undefined;
}
