/** The trainings of this page: begin, pause, go on, stop; one at a time, whatever view is shown. */
import {
  Aborted,
  bestModel,
  DeviceLost,
  meanDefined,
  oneCycle,
  UNet3D,
  type LabelledCase,
  type TrainingEvent,
} from 'unet3d-gpu/worker';
import { dataJob } from './data-client.ts';
import { messageOf } from './dom.ts';
import { KeptModel } from './kept-model.ts';
import type { DataRecord } from './kept/database.ts';
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
import { channelCount, classCount, lossOf, networkOf } from './planning.ts';
import { Run } from './run.ts';
import { changed, classNames, inTraining, openModel, state, takeRun } from './state.ts';

/** Why the last training did not begin. */
export let refusal = '';

let controller = new AbortController();
/** What to do when a training has obeyed its abort. */
const wish = { stop: false, skipTuning: false };

/** The training whose cases the data worker has prepared. */
let prepared: Run | undefined;

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
  run?.close();
  takeRun(undefined);
}

/** Whether it would be lost with this tab. */
export const isOnlyHere = (run: Run): boolean => !run.kept || run.files.onlyInMemory;

/** Begins a training on the data and with the settings of the page as they are now. */
export async function begin(): Promise<void> {
  closeRun();
  const { settings, preprocessing, ignoreLabel } = state;
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
      ignoreLabel,
      channels: channelCount(),
      channelNames: [...state.channels],
      settings: structuredClone(settings),
      preprocessing: structuredClone(preprocessing),
      history: [],
    },
    data,
  );
  refusal = '';
  takeRun(run);
  try {
    run.hold(await claim(run.id));
    await setUp(run);
    await keepRun(run.record, data).then(
      () => (run.kept = true),
      (error: unknown) => run.log(`${messageOf(error)}. Closing this tab will lose this training.`),
    );
    void (navigator as Partial<Navigator>).storage?.persist?.().catch(() => false); // however full the disk gets
  } catch (error) {
    if (!(error instanceof Aborted)) refusal = messageOf(error);
    run.close();
    await forget(run.id).catch(() => undefined);
    takeRun(undefined);
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

/** Everything before the first step. @throws Aborted where the visitor did not wait for it */
async function setUp(run: Run): Promise<void> {
  controller = new AbortController();
  const { signal } = controller;
  await prepare(run);
  if (!signal.aborted) run.network = await newNetwork(run);
  if (signal.aborted) throw new Aborted('stopped while it was prepared');
  const [training, validation] = [run.idsOf('train'), run.idsOf('validation')];
  run.log(`${training.length} training and ${validation.length} validation cases on ${run.network!.adapter}`);
}

/** Reads and prepares the cases of a training, unless the data worker still has them. */
async function prepare(run: Run): Promise<void> {
  const { progress, record } = run;
  if (prepared !== run) {
    prepared = undefined;
    const { signal } = controller;
    const cases = run.cases.map(({ part: _part, ...item }) => item);
    const { preprocessing, ignoreLabel } = record;
    const show = (loaded: number, total: number): void => {
      progress.step = loaded;
      progress.totalSteps = total;
      changed();
    };
    const wanted = { cases, preprocessing, classes: run.classes, ignoreLabel };
    await dataJob('prepare', wanted, show, signal).catch((error: unknown) => {
      throw signal.aborted ? new Aborted('stopped while the cases were prepared') : error;
    });
    prepared = run;
  }
  run.validation = await casesOf(run, 'validation');
  Object.assign(progress, { step: 0, totalSteps: 0 });
}

/** Copies of prepared cases: they come from the data worker and may be moved on to that of the network. */
async function casesOf(run: Run, part: 'train' | 'validation'): Promise<LabelledCase[]> {
  try {
    return await dataJob('prepared', { ids: run.idsOf(part) });
  } catch (error) {
    prepared = undefined;
    throw error;
  }
}

/** The prepared validation cases of a training, also of one that was finished before this visit. */
export async function validationCases(run: Run): Promise<readonly LabelledCase[]> {
  if (run.validation.length === 0 && run.cases.length > 0) await prepare(run);
  return run.validation;
}

function newNetwork({ record, classes }: Run): Promise<UNet3D> {
  const { settings, preprocessing, labels, channels } = record;
  state.model?.release(); // the GPU is the training's
  return UNet3D.create({
    ...networkOf(channels, classes, settings),
    labels,
    seed: settings.seed,
    preprocessing,
    precision: settings.precision,
    memoryBudget: settings.memory * 2 ** 30,
  });
}

async function train(run: Run, resume: boolean, tune?: boolean): Promise<void> {
  const { progress, files } = run;
  const { settings } = run.record;
  let begun = run.network === undefined;
  controller = new AbortController();
  Object.assign(wish, { stop: false, skipTuning: false });
  progress.problem = '';
  run.phase = 'running';
  changed();
  try {
    const network = (run.network ??= await newNetwork(run));
    if (resume) await recall(run);
    await prepare(run);
    const [validation, training] = [await casesOf(run, 'validation'), await casesOf(run, 'train')];
    await network.fit(training, {
      epochs: settings.epochs,
      batchSize: settings.batchSize,
      seed: settings.seed,
      loss: lossOf(settings),
      schedule: oneCycle({ maxLearningRate: settings.learningRate }),
      checkpointing: settings.checkpointing,
      validation,
      transfer: true,
      signal: controller.signal,
      resume,
      onEvent: (event) => {
        begun = true;
        take(run, event);
      },
      ...(tune !== undefined && { tune }),
      ...(settings.patch && { patch: settings.patch }),
      checkpoint: files,
      ...(validation[0] && { preview: validation[0] }),
    });
    await finish(run, network, await network.save(), 'Training is complete');
  } catch (error) {
    progress.tuning = undefined;
    if (error instanceof Aborted) {
      if (wish.skipTuning) return train(run, resume, false);
      if (wish.stop) return stopNow(run);
      await rest(run);
      run.log('Paused.');
    } else {
      progress.problem = messageOf(error);
      run.log(`Stopped by an error: ${progress.problem}`);
      if (error instanceof DeviceLost) {
        // Its worker is dead; to go on, a new one takes up the last checkpoint.
        run.network?.dispose();
        run.network = undefined;
        // Lost while it rested: nothing that the visitor has to know.
        if (resume && !begun) return train(run, true, tune);
        const [what = ''] = progress.problem.split(': ', 1);
        progress.problem = `${what[0]?.toUpperCase()}${what.slice(1)}. "Resume" starts a new one, which goes on from the last checkpoint.`;
      }
      run.phase = 'paused';
    }
  }
  changed();
}

/** Shows the epochs that lie behind the checkpoint. */
async function recall(run: Run): Promise<void> {
  const { history, best } = await run.files.progress();
  await run.update({
    history,
    ...(best && { best: { epoch: best.epoch, dice: meanOf(history[best.epoch]?.validationDice) } }),
  });
  changed();
}

const meanOf = (dice: readonly number[] = []): number => meanDefined(dice.slice(1));

/** Paused: the network as it is can segment meanwhile, unless another is open for that. */
async function rest(run: Run): Promise<void> {
  const { network } = run;
  const weights = state.model ? undefined : await network?.save().catch(() => undefined);
  if (network && weights)
    openModel(
      KeptModel.of(network, () => Promise.resolve(weights)),
      `${run.record.name}, paused`,
    );
  run.phase = 'paused';
}

/** The network that has segmented in the pause is the training's again. */
async function takeBack(run: Run): Promise<void> {
  const { model, modelRun } = state;
  if (!(model instanceof KeptModel) || modelRun !== run.id) return;
  run.network = await model.giveBack();
  openModel(undefined);
}

function take(run: Run, event: TrainingEvent): void {
  const { progress } = run;
  const { history } = run.record;
  switch (event.type) {
    case 'tuning':
      progress.tuning = { done: event.done, passes: event.passes };
      break;
    case 'tuned':
      progress.tuning = undefined;
      run.log(
        `${Object.keys(event.choices).length} of ${event.passes} convolution shapes run with a faster kernel`,
      );
      break;
    case 'warning':
      run.log(event.message);
      break;
    case 'start':
      progress.tuning = undefined;
      progress.gpuBytes = event.gpuBytes;
      progress.step = event.step;
      progress.totalSteps = event.epochs * event.stepsPerEpoch;
      if (event.step > 0) run.log(`Going on from step ${event.step} of ${progress.totalSteps}`);
      break;
    case 'step':
      progress.step = event.step + 1;
      progress.totalSteps = event.totalSteps;
      progress.epoch = event.epoch;
      progress.etaMs = event.etaMs;
      progress.loss = event.loss;
      break;
    case 'epoch': {
      const { epoch, validationDice } = event.row;
      void run.update({
        history: [...history.filter((row) => row.epoch !== epoch), event.row],
        ...(event.best && { best: { epoch, dice: meanOf(validationDice) } }),
      });
      break;
    }
    case 'concessions':
      run.log(`To fit the memory: ${event.taken.join(', ')}; now ${event.step}`);
      break;
    case 'preview':
      progress.preview = { epoch: event.epoch, predicted: event.score.predicted, dice: event.score.dice };
      break;
    case 'recovered':
      run.log(event.message);
      break;
    case 'end':
      void run.update({ history: [...event.result.history] });
      break;
    default:
      return;
  }
  changed();
}

/** The training at hand in one of these phases. @throws Error where there is none, as when another click was faster */
function runIn(...phases: readonly Run['phase'][]): Run {
  const { run } = state;
  if (!run || !phases.includes(run.phase)) throw new Error('the training has gone on meanwhile');
  return run;
}

export function pause(): void {
  wish.stop = false;
  runIn('running').phase = 'pausing';
  controller.abort();
  changed();
}

/** Ends the preparing of cases. */
export function cancel(): void {
  runIn('preparing');
  controller.abort();
}

/** Ends the measuring of kernels: training begins with the default ones. */
export function skipTuning(): void {
  wish.skipTuning = true;
  controller.abort();
  changed();
}

export async function goOn(): Promise<void> {
  const run = runIn('paused');
  run.phase = 'running';
  await takeBack(run);
  await train(run, true);
}

/** Stops for good and keeps the best weights so far. */
export async function stop(): Promise<void> {
  const run = runIn('paused', 'running');
  if (run.phase === 'paused') return stopNow(run);
  wish.stop = true;
  run.phase = 'pausing';
  controller.abort();
  changed();
}

async function stopNow(run: Run): Promise<void> {
  try {
    run.phase = 'pausing';
    changed();
    await takeBack(run);
    const checkpoint = await run.files.checkpoint();
    const known = run.network ?? (await newNetwork(run));
    const last = await known.save();
    const best = checkpoint && (await bestModel(checkpoint, last));
    if (!best && !run.network) {
      known.dispose();
      throw new Error('No epoch was finished, so there are no weights to keep.');
    }
    if (best) known.dispose();
    const kept = best ? await UNet3D.load(best) : known;
    const words = best ? 'the best weights are kept' : 'the last weights are kept';
    await finish(run, kept, best ?? last, `Stopped early; ${words}`);
  } catch (error) {
    run.progress.problem = messageOf(error);
    run.phase = 'paused';
    changed();
  }
}

/** Keeps the model, and only then what says that it is finished. */
async function finish(
  run: Run,
  network: UNet3D,
  weights: Uint8Array<ArrayBuffer>,
  message: string,
): Promise<void> {
  if (await run.files.finish(weights)) await run.update({ finished: new Date() });
  run.network = undefined;
  openModel(
    KeptModel.of(network, () => run.files.model()),
    run.record.name,
    run.id,
  );
  run.phase = 'done';
  run.log(message);
  // Other tabs may use it from now on, but not delete it.
  run.hold(() => undefined);
  run.hold(await claim(run.id, 'shared').catch(() => () => undefined));
}

/** Calls a training, and the network that came of it, by another name. */
export async function rename(id: string, name: string): Promise<void> {
  const { run, model, modelRun } = state;
  if (run?.id === id) await run.update({ name });
  else await updateRun(id, { name });
  if (modelRun === id) openModel(model, name, id);
  changed();
}

/** Forgets a training and what came of it. @throws Error where it is busy, in this tab or in another */
export async function discard(id: string): Promise<void> {
  if (state.run?.id === id) {
    assertFree();
    state.run.close();
    takeRun(undefined);
  }
  await removeRun(id);
  if (state.modelRun === id) openModel(undefined);
}

/** history.csv, as the command line writes it. */
export async function historyTable({ record }: Run): Promise<string> {
  const { historyCsv } = await import('unet3d-gpu/report');
  return historyCsv([...record.history], [...record.labels]);
}
