/** The opening of models and of kept trainings: one at a time, whatever view is shown. What is asked for last stays. */
import { givesUpQueue } from './segmenting.ts';
import { changed, openModel, type OpenModel } from './state.ts';

/** What is being opened, empty where nothing is; and why a model that was given last could not be. */
export const opening = { name: '', problem: '' };

let current: AbortController | undefined;

/** Ends what is being opened: what is there stays. */
export function stopOpening(): void {
  if (!current) return;
  current.abort();
  current = undefined;
  opening.name = '';
  changed();
}

/** Opens something in the place of what was being opened. @param work looks at the signal before anything takes a place */
export async function openAlone<T>(name: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  stopOpening();
  const mine = (current = new AbortController());
  Object.assign(opening, { name, problem: '' });
  changed();
  try {
    return await work(mine.signal);
  } finally {
    if (current === mine) {
      current = undefined;
      opening.name = '';
      changed();
    }
  }
}

/**
 * Opens a model to segment with; whether it is there now.
 * @param run id of the training that it comes from, if it does
 * @throws Error where it cannot be opened
 */
export async function openToSegment(
  name: string,
  load: (signal: AbortSignal) => Promise<OpenModel | undefined>,
  run?: string,
): Promise<boolean> {
  if (!givesUpQueue('Open another model')) return false;
  return openAlone(name, async (signal) => {
    let model: OpenModel | undefined;
    try {
      model = await load(signal);
    } catch (error) {
      if (signal.aborted) return false;
      throw error;
    }
    if (signal.aborted) model?.dispose();
    else if (model) openModel(model, name, run);
    return model !== undefined && !signal.aborted;
  });
}
