/** The offer to go on with a training that a reload or a crash has cut off. */
import { button, el, notice } from './dom.ts';
import type { RunRecord } from './kept/database.ts';
import { claimed, keptRun, onRunsChange } from './kept/runs.ts';
import { discard } from './run-at-hand.ts';

/**
 * The training that a reload or a crash has cut off: the one that this tab had, or else the newest.
 * @param runs the newest first
 * @param elsewhere ids of those that tabs have open
 */
export function cutOff(
  runs: readonly RunRecord[],
  elsewhere: ReadonlySet<string>,
  tabs: string | null,
): RunRecord | undefined {
  const open = runs.filter(({ id, finished }) => !finished && !elsewhere.has(id));
  return open.find(({ id }) => id === tabs) ?? open[0];
}

/**
 * Offers it until it is finished or deleted, and not while a tab is at it.
 * @param resume opens the training with this id
 */
export function offerToResume(run: RunRecord, resume: (id: string) => Promise<unknown>): void {
  const { id, dataName, started } = run;
  const box = notice(
    '',
    el('p', {}, `A training on ${dataName}, started ${started.toLocaleString()}, was interrupted.`),
    button('Resume it', () => resume(id), { className: 'primary' }),
    button('Discard it', () => discard(run)),
  );
  const stopListening = onRunsChange(() => void look());
  /** It may be gone on with elsewhere in this tab, or in another. */
  async function look(): Promise<void> {
    const [kept, busy] = [await keptRun(id), await claimed()];
    box.classList.toggle('hidden', busy.has(id));
    if (kept && !kept.finished) return;
    box.remove();
    stopListening();
  }
}
