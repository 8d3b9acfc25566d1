/** The training at hand: begun, opened again, closed, renamed, discarded; one at a time, whatever view is shown. */
import { Aborted } from 'unet3d-gpu/worker';
import type { Given } from './beginning.ts';
import { messageOf } from './dom.ts';
import { KeptModel } from './kept-model.ts';
import type { DataRecord, RunRecord } from './kept/database.ts';
import { claim, dataKey, forget, keptData, keptRun, remember, removeRun, updateRun } from './kept/runs.ts';
import { modelName, startName } from './kept/run-files.ts';
import { keepForGood } from './kept/persistence.ts';
import { channelCount, classCount, rarityWeights } from './planning.ts';
import { openAlone } from './opening.ts';
import { givesUpQueue, stopQueue } from './segmenting.ts';
import { releaseCases } from './prepared-cases.ts';
import { Run, scoredNames } from './run.ts';
import { changed, classNames, inTraining, onChange, openModel, state, takeRun } from './state.ts';
import { setUp, train } from './training.ts';

/** Why the last training did not begin. */
export let refusal = '';

/** Of the training that the open model comes from: other tabs do not delete its weights meanwhile. */
let lock: { readonly id: string | undefined; readonly release: Promise<() => void> } | undefined;
onChange(() => {
  const { modelRun: id } = state;
  if (lock?.id === id) return;
  void lock?.release.then((release) => release());
  const none = (): void => undefined; // as in a pause, where the training has it for itself
  lock = { id, release: id === undefined ? Promise.resolve(none) : claim(id, 'shared').catch(() => none) };
});

/** @throws Error where something in this tab must end first */
function assertFree(): void {
  if (inTraining())
    throw new Error('A training is running in this tab: pause it first, or open this one in another tab.');
}

/** @throws Error where cases and names as they are allow no training */
function assertTrainable(): void {
  if (!state.cases.some(({ part, label }) => part === 'train' && label))
    throw new Error(
      'No case with a label is used for training: set "Used for" of at least one of them to training under "Data".',
    );
  const names = classNames(classCount());
  const twice = names.find((name, value) => names.indexOf(name) < value);
  if (twice !== undefined)
    throw new Error(
      `Two classes are called "${twice}", and tables could not tell them apart: give each a name of its own under "Data".`,
    );
}

/** Lets go of the training at hand: it stays where it is kept. */
export function closeRun(): void {
  assertFree();
  const { run } = state;
  if (run && isOnlyHere(run) && !confirm('This training could not be saved. Close it and lose it?'))
    throw new Error('the training at hand is still open');
  if (run?.phase === 'paused' && state.modelRun === run.id) {
    if (!givesUpQueue('Close it')) throw new Error('the training at hand is still open');
    openModel(undefined);
  }
  if (run) letGo(run);
}

function letGo(run: Run): void {
  run.close();
  releaseCases(run.id);
  takeRun(undefined);
}

/** Whether it would be lost with this tab. */
export const isOnlyHere = (run: Run): boolean => !run.isKept || run.files.onlyInMemory;

/**
 * Begins a training on the data and with the settings of the page as they are now.
 * @param given the network that it begins with; without, with new weights
 * @throws Error where these allow none, or something in this tab must end first
 */
export async function begin(given?: Given): Promise<void> {
  assertTrainable();
  closeRun();
  const { settings, preprocessing, regions, ignoreLabel } = state;
  const features = given?.from.config.features ?? settings.features;
  const used = state.cases.filter(({ part, label }) => part !== 'unused' && label);
  const plain = used.map(({ part: _part, ...item }) => item);
  const data: DataRecord = { id: dataKey(plain), name: state.name, cases: plain };
  const started = new Date();
  const run = new Run(
    {
      id: crypto.randomUUID(),
      name: `${state.name}, ${started.toLocaleTimeString(undefined, { timeStyle: 'short' })}`,
      started,
      data: data.id,
      dataName: state.name,
      cases: used.map(({ id, part }) => ({ id, part: part as 'train' | 'validation' })),
      labels: classNames(classCount()),
      ...(regions && { regions }),
      ignoreLabel,
      channels: channelCount(),
      channelNames: [...state.channels],
      settings: structuredClone({ ...settings, features: [...features], classWeights: rarityWeights() }),
      preprocessing: structuredClone(given?.preprocessing ?? preprocessing),
      ...(given && { continues: true, from: structuredClone(given.from) }),
      history: [],
    },
    data,
  );
  refusal = '';
  takeRun(run);
  try {
    run.hold(await claim(run.id));
    if (given) await run.files.save(startName, given.bytes as Uint8Array<ArrayBuffer>);
    await setUp(run);
    await run
      .keep(data)
      .catch((error: unknown) => run.log(`${messageOf(error)}. Closing this tab will lose this training.`));
    if (run.interruption.signal.aborted) throw new Aborted('stopped before it began');
    keepForGood();
  } catch (error) {
    if (!(error instanceof Aborted)) refusal = messageOf(error);
    await forget(run.id).catch(() => undefined);
    letGo(run);
    return;
  }
  await train(run, false);
}

/** The training that is being opened: who asks for it again waits for the same. */
let reopening: { readonly id: string; readonly done: Promise<boolean> } | undefined;

/**
 * Opens a training that is kept: a finished one with its model, another to go on with it. Whether it is at hand now: it is
 * not where that was cancelled.
 * @throws Error where another tab has it, this one is busy, or its files are gone
 */
export async function reopen(id: string): Promise<boolean> {
  if (state.run?.id === id) return true;
  if (reopening?.id === id) return reopening.done;
  assertFree();
  const mine = { id, done: openAlone('a kept training', (signal) => openKept(id, signal)) };
  reopening = mine;
  try {
    return await mine.done;
  } finally {
    if (reopening === mine) reopening = undefined;
  }
}

async function openKept(id: string, signal: AbortSignal): Promise<boolean> {
  const known = await keptRun(id);
  const release = await claim(id, known?.finished ? 'shared' : 'exclusive');
  let isTaken = false;
  try {
    const record = await keptRun(id); // as it is now that no other tab changes it
    if (!record) throw new Error('this training is no longer kept in this browser');
    const data = await keptData(record.data);
    const run = new Run(record, data, true);
    // Cut off when its model was there and nothing said so yet.
    const isCutOff = !record.finished && (await run.files.load(modelName)) !== undefined;
    const isFinished = record.finished !== undefined || isCutOff;
    if (!isFinished && run.cases.length < record.cases.length)
      throw new Error('the files of this training are no longer kept in this browser: begin a new one');
    if (signal.aborted) return false;
    if (isCutOff) await run.conclude();
    const model = isFinished && (await modelOf(run));
    try {
      if (signal.aborted) throw new Aborted('it is no longer wanted');
      if (model && !givesUpQueue(`Open ${record.name}`)) throw new Aborted('the open model is wanted');
      if (model) stopQueue('another model was opened');
      closeRun();
    } catch (error) {
      if (model) model.dispose();
      throw error;
    }
    if (data) remember(data);
    isTaken = true;
    run.hold(release);
    if (model) openModel(model, record.name, id);
    if (isFinished) run.enter('done');
    takeRun(run);
    if (isCutOff) await run.share();
    if (!isFinished) void goOnAfterReload(run);
    return true;
  } catch (error) {
    if (error instanceof Aborted) return false;
    throw error;
  } finally {
    if (!isTaken) release();
  }
}

/** The network of a finished training, to look at it also where no GPU can load it. */
async function modelOf(run: Run): Promise<KeptModel | undefined> {
  try {
    return await KeptModel.open(() => run.files.model());
  } catch (error) {
    run.tell({ problem: messageOf(error) });
    return undefined;
  }
}

async function goOnAfterReload(run: Run): Promise<void> {
  try {
    await setUp(run);
  } catch (error) {
    run.enter('paused', error instanceof Aborted ? '' : messageOf(error));
    return;
  }
  await train(run, true);
}

/** Calls a training, and the network that came of it, by another name. */
export async function rename(id: string, name: string): Promise<void> {
  const { run, model, modelRun } = state;
  if (run?.id === id) await run.update({ name });
  else await updateRun(id, { name });
  if (modelRun === id) openModel(model, name, id);
  changed();
}

/**
 * Forgets a training and what came of it, once the visitor has said so; whether they have.
 * @throws Error where it is busy, in this tab or in another
 */
export async function discard({ id }: RunRecord): Promise<boolean> {
  const known = await keptRun(id); // another tab may have finished it
  if (!known) return true;
  const { name, finished } = known;
  const what = finished ? 'its network and its curves' : 'what it has learnt so far';
  if (!confirm(`Delete “${name}”, ${what}?`)) return false;
  const { run } = state;
  if (run?.id === id) {
    assertFree();
    letGo(run);
  }
  if (state.modelRun === id) openModel(undefined);
  await removeRun(id);
  return true;
}

/** history.csv, as the command line writes it. */
export async function historyTable({ record }: Run): Promise<string> {
  const { historyCsv } = await import('unet3d-gpu/report');
  return historyCsv([...record.history], scoredNames(record));
}
