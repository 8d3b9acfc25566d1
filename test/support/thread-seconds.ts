/** What pages take of the processor. */
import type { Page } from 'playwright';

/**
 * Begins to count what the main thread of a page takes, and gives what asks for it: seconds of the processor in its tasks.
 * While other programs have that, they stand still.
 */
export async function threadSeconds(page: Page): Promise<() => Promise<number>> {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  const now = async (): Promise<number> => {
    const { metrics } = await session.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'TaskDuration')!.value;
  };
  const before = await now();
  return async () => (await now()) - before;
}
