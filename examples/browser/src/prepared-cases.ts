/** The prepared cases of one training, which the data worker holds: the page's thread never copies them all. */
import { Aborted, type LabelledCase } from 'unet3d-gpu/worker';
import { dataJob, whenLost } from './data-client.ts';
import type { Example, Run } from './run.ts';
import { changed } from './state.ts';

/** Id of the training whose cases the data worker has prepared. */
let holder: string | undefined;
whenLost.add(() => (holder = undefined));

/** Reads and prepares the cases of a training, unless the data worker still has them. @throws Aborted */
export async function prepare(run: Run, signal: AbortSignal): Promise<void> {
  const { progress } = run;
  if (holder === run.id) return;
  const onProgress = (loaded: number, total: number): void => {
    Object.assign(progress, { step: loaded, totalSteps: total });
    changed();
  };
  await prepareAs(run.id, run, run.cases, { signal, onProgress });
  Object.assign(progress, { step: 0, totalSteps: 0 });
}

async function prepareAs(
  key: string,
  { record, labels }: Run,
  cases: Run['cases'],
  options: { signal: AbortSignal; onProgress?: (loaded: number, total: number) => void },
): Promise<void> {
  const { preprocessing, ignoreLabel } = record;
  const plain = cases.map(({ part: _part, ...item }) => item);
  holder = undefined;
  const wanted = { run: key, cases: plain, preprocessing, classes: labels.length, ignoreLabel };
  await dataJob('prepare', wanted, options).catch((error: unknown) => {
    throw options.signal.aborted ? new Aborted('stopped while the cases were prepared') : error;
  });
  holder = key;
}

/** Copies of prepared cases: they come from the data worker and may be moved on to that of the network. */
export async function casesOf({ id }: Run, ids: readonly string[]): Promise<LabelledCase[]> {
  try {
    return await dataJob('prepared', { run: id, ids });
  } catch (error) {
    holder = undefined;
    throw error;
  }
}

/** The first validation case, to be shown while it is learnt; undefined where there is none. */
export async function exampleOf(run: Run): Promise<Example | undefined> {
  const [id] = run.idsOf('validation');
  if (id === undefined) return undefined;
  const [item] = await casesOf(run, [id]);
  return { item: item!, survey: await dataJob('survey', { run: run.id, id }) };
}

/** The prepared validation cases of a training that is done, also of one that was finished before this visit. */
export async function validationCases(run: Run, signal: AbortSignal): Promise<LabelledCase[]> {
  const key = `report on ${run.id}`;
  const cases = run.cases.filter(({ part }) => part === 'validation');
  await prepareAs(key, run, cases, { signal });
  try {
    return await dataJob('prepared', { run: key, ids: cases.map(({ id }) => id) });
  } finally {
    releaseCases(key);
  }
}

/** Frees the cases of a training that needs them no more. */
export function releaseCases(id: string): void {
  if (holder !== id) return;
  holder = undefined;
  void dataJob('release', { run: id }).catch(() => undefined); // a worker that has died holds nothing
}
