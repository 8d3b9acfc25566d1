/** The training at hand: begun, opened again, closed, renamed, discarded; one at a time, whatever view is shown. */
import { Aborted } from 'unet3d-gpu/worker';
import type { Given } from './beginning.ts';
import { messageOf } from './dom.ts';
import { KeptModel } from './kept-model.ts';
import type { DataRecord, RunRecord } from './kept/database.ts';
import {
  claim,
  dataKey,
  forget,
  keepRun,
  keptData,
  keptRun,
  remember,
  removeRun,
  updateRun,
} from './kept/runs.ts';
import { startName } from './kept/run-files.ts';
import { channelCount, classCount } from './planning.ts';
import { releaseCases } from './prepared-cases.ts';
import { Run, scoredNames } from './run.ts';
import { changed, classNames, inTraining, openModel, state, takeRun } from './state.ts';
import { setUp, train } from './training.ts';

/** Why the last training did not begin. */
export let refusal = '';

/** @throws Error where something in this tab must end first */
function assertFree(): void {
  if (inTraining())
    throw new Error('A training is running in this tab: pause it first, or open this one in another tab.');
}

/** Lets go of the training at hand: it stays where it is kept. */
export function closeRun(): void {
  assertFree();
  const { run } = state;
  if (run && isOnlyHere(run) && !confirm('This training could not be saved. Close it and lose it?'))
    throw new Error('the training at hand is still open');
  if (run?.phase === 'paused' && state.modelRun === run.id) openModel(undefined);
  if (run) letGo(run);
}

function letGo(run: Run): void {
  run.close();
  releaseCases(run.id);
  takeRun(undefined);
}

/** Whether it would be lost with this tab. */
export const isOnlyHere = (run: Run): boolean => !run.kept || run.files.onlyInMemory;

/**
 * Begins a training on the data and with the settings of the page as they are now.
 * @param given the network that it begins with; without, with new weights
 */
export async function begin(given?: Given): Promise<void> {
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
      settings: structuredClone({ ...settings, features: [...features] }),
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
    await keepRun(run.record, data).then(
      () => (run.kept = true),
      (error: unknown) => run.log(`${messageOf(error)}. Closing this tab will lose this training.`),
    );
    if (run.interruption.signal.aborted) throw new Aborted('stopped before it began');
    void (navigator as Partial<Navigator>).storage?.persist?.().catch(() => false); // however full the disk gets
  } catch (error) {
    if (!(error instanceof Aborted)) refusal = messageOf(error);
    await forget(run.id).catch(() => undefined);
    letGo(run);
    return;
  }
  await train(run, false);
}

/**
 * Opens a training that is kept: a finished one with its model, another to go on with it.
 * @throws Error where another tab has it, this one is busy, or its files are gone
 */
export async function reopen(id: string): Promise<void> {
  if (state.run?.id === id) return;
  assertFree();
  const known = await keptRun(id);
  const release = await claim(id, known?.finished ? 'shared' : 'exclusive');
  try {
    const record = await keptRun(id); // as it is now that no other tab changes it
    if (!record) throw new Error('this training is no longer kept in this browser');
    const data = await keptData(record.data);
    const run = new Run(record, data);
    if (!record.finished && run.cases.length < record.cases.length)
      throw new Error('the files of this training are no longer kept in this browser: begin a new one');
    run.kept = true;
    const model = record.finished && (await modelOf(run));
    try {
      closeRun();
    } catch (error) {
      model?.dispose();
      throw error;
    }
    if (data) remember(data);
    run.hold(release);
    if (model) {
      openModel(model, record.name, id);
    }
    if (record.finished) run.phase = 'done';
    takeRun(run);
    if (!record.finished) void goOnAfterReload(run);
  } catch (error) {
    release();
    throw error;
  }
}

/** The network of a finished training, to look at it also where no GPU can load it. */
async function modelOf(run: Run): Promise<KeptModel | undefined> {
  try {
    return await KeptModel.open(() => run.files.model());
  } catch (error) {
    run.progress.problem = messageOf(error);
    return undefined;
  }
}

async function goOnAfterReload(run: Run): Promise<void> {
  try {
    await setUp(run);
  } catch (error) {
    run.progress.problem = error instanceof Aborted ? '' : messageOf(error);
    run.phase = 'paused';
    changed();
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
export async function discard({ id, name, finished }: RunRecord): Promise<boolean> {
  const what = finished ? 'its network and its curves' : 'what it has learnt so far';
  if (!confirm(`Delete “${name}”, ${what}?`)) return false;
  const { run } = state;
  if (run?.id === id) {
    assertFree();
    letGo(run);
  }
  await removeRun(id);
  if (state.modelRun === id) openModel(undefined);
  return true;
}

/** history.csv, as the command line writes it. */
export async function historyTable({ record }: Run): Promise<string> {
  const { historyCsv } = await import('unet3d-gpu/report');
  return historyCsv([...record.history], scoredNames(record));
}
