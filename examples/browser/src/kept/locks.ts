/** What one tab holds and others leave alone: locks of the origin, which go with the tab. */

/** How long a lock may take that was let go of just now, in milliseconds. */
const patience = 1000;

const prefix = 'unet3d-gpu-example ';

/**
 * Takes something for this tab: alone, or shared with other tabs that only look at it.
 * @param refusal says that another tab has it
 * @returns how to let it go; where the browser gives no locks, as where it blocks site data, there is nothing to let go
 * @throws Error where another tab has it
 */
export function hold(
  name: string,
  refusal: string,
  { mode = 'exclusive', onRelease }: { readonly mode?: LockMode; readonly onRelease?: () => void } = {},
): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const { locks } = navigator as Partial<Navigator>;
    const unheld = (): void => resolve(() => undefined);
    if (!locks) return unheld();
    const work = (): Promise<void> => new Promise((release) => resolve(release));
    const signal = AbortSignal.timeout(patience);
    locks
      .request(`${prefix}${name}`, { mode, signal }, work)
      .then(onRelease, () => (signal.aborted ? reject(new Error(refusal)) : unheld()));
  });
}

/** The rest of the names that tabs, this one included, hold, of those that begin so; none where there are no locks. */
export async function held(beginning: string): Promise<string[]> {
  const { locks } = navigator as Partial<Navigator>;
  const whole = `${prefix}${beginning}`;
  const found = await locks?.query().catch(() => undefined);
  return (found?.held ?? []).flatMap(({ name }) =>
    name?.startsWith(whole) ? [name.slice(whole.length)] : [],
  );
}
