/** A running piece of work: a promise of its result whose events can be iterated. */

/**
 * A promise of the result, and an iteration over the events of the way there, which throws what the promise rejects
 * with. A rejection is that of any promise: where nobody awaits the run or iterates over it, it is unhandled. Events
 * can be iterated once; beyond ten thousand that wait for it, the oldest are dropped.
 */
export type Run<Event, Result> = Promise<Result> & AsyncIterable<Event>;

/** Events that wait for somebody to iterate, so that a long run does not grow. */
const mostEvents = 10_000;

/**
 * Begins to work, at once.
 * @param work is given what takes its events
 * @param onEvent called with each event, besides the iteration; what it throws, it throws into the work, and what a promise
 *   of its rejects with at the next event
 */
export function startRun<Event, Result>(
  work: (emit: (event: Event) => void) => Promise<Result>,
  onEvent?: (event: Event) => void,
): Run<Event, Result> {
  const events: Event[] = [];
  let wake: (() => void) | undefined;
  let done = false;
  let iterated = false;
  let failure: { readonly reason: unknown } | undefined;
  const assertHeard = (): void => {
    if (failure) throw failure.reason;
  };
  const result = work((event) => {
    assertHeard();
    const heard: unknown = onEvent?.(event);
    if (heard instanceof Promise)
      heard.catch((reason: unknown) => {
        if (done) throw reason; // unhandled
        failure ??= { reason };
      });
    events.push(event);
    keepOnePreview(events);
    if (events.length > mostEvents) events.shift();
    wake?.();
  })
    .then((value) => {
      assertHeard();
      return value;
    })
    .finally(() => {
      done = true;
      wake?.();
    });
  async function* iterate(): AsyncGenerator<Event, void, undefined> {
    if (iterated) throw new Error('the events of a run can be iterated once');
    iterated = true;
    result.catch(() => undefined); // thrown below, after the last event
    for (;;) {
      for (let event = events.shift(); event !== undefined; event = events.shift()) yield event;
      if (done) break;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    await result;
  }
  return Object.assign(result, { [Symbol.asyncIterator]: iterate });
}

/** Of previews, whose label maps are large, only the newest waits. */
function keepOnePreview(events: unknown[]): void {
  const isPreview = (event: unknown) =>
    (event as { readonly type?: unknown } | undefined)?.type === 'preview';
  if (!isPreview(events.at(-1))) return;
  const before = events.findIndex(isPreview);
  if (before < events.length - 1) events.splice(before, 1);
}
