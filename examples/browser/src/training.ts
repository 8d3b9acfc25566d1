/** The training of this page: start, pause, resume, stop; it goes on while other views are shown. */
import {
  Aborted,
  bestModel,
  checkpointName,
  DeviceLost,
  meanDefined,
  oneCycle,
  UNet3D,
  type LabelledCase,
  type TrainingEvent,
} from 'unet3d-gpu/worker';
import { dataJob } from './data-client.ts';
import { messageOf } from './dom.ts';
import { channelCount, classCount, loss, networkOf } from './planning.ts';
import { checkpoints, forgetSession, keepSession, storedProgress, type Session } from './session.ts';
import { changed, classNames, state } from './state.ts';

export interface Preview {
  readonly epoch: number;
  readonly predicted: Uint8Array;
  readonly dice: readonly number[];
}

/** What the view shows of a running training. */
export const progress = {
  step: 0,
  totalSteps: 0,
  epoch: 0,
  etaMs: NaN,
  loss: NaN,
  gpuBytes: NaN,
  /** Kernels are being measured, so many of so many convolution shapes by now. */
  tuning: undefined as { done: number; passes: number } | undefined,
  preview: undefined as Preview | undefined,
  best: undefined as { epoch: number; dice: number } | undefined,
  problem: '',
  log: [] as string[],
};

let network = { inChannels: 1, classes: 2 };
let controller = new AbortController();
/** What to do when a training has obeyed its abort. */
const wish = { stop: false, skipTuning: false };

export const validationCase = (): LabelledCase | undefined => state.validation[0];

/** Ids of the cases, as they were divided when the training began. */
const used: Record<'train' | 'validation', string[]> = { train: [], validation: [] };

/** Prepared cases; they come from the data worker and may be moved on to that of the network. */
const casesOf = (part: keyof typeof used): Promise<LabelledCase[]> =>
  dataJob('prepared', { ids: used[part] });

function log(line: string): void {
  progress.log.push(`${new Date().toLocaleTimeString()}  ${line}`);
  changed();
}

function newModel(): Promise<UNet3D> {
  const { settings, preprocessing } = state;
  return UNet3D.create({
    ...networkOf(network.inChannels, network.classes),
    labels: classNames(network.classes),
    seed: settings.seed,
    preprocessing,
    precision: settings.precision,
    memoryBudget: settings.memory * 2 ** 30,
  });
}

/** Prepares the cases and trains from the beginning, or goes on with a session that was interrupted. */
export async function start(resumed?: Session): Promise<void> {
  Object.assign(progress, {
    step: 0,
    totalSteps: 0,
    epoch: 0,
    etaMs: NaN,
    loss: NaN,
    preview: undefined,
    best: undefined,
    problem: '',
    log: [],
  });
  state.history = [];
  state.predictions.clear();
  state.training = 'preparing';
  changed();
  try {
    const classes = resumed?.classes ?? classCount();
    const channels = resumed?.channels ?? channelCount();
    const wanted = state.cases.filter(({ part, label }) => part !== 'unused' && label);
    for (const part of ['train', 'validation'] as const)
      used[part] = wanted.filter((item) => item.part === part).map(({ id }) => id);
    const plain = wanted.map(({ part: _part, ...item }) => item);
    await dataJob(
      'prepare',
      { cases: plain, preprocessing: state.preprocessing, classes, ignoreLabel: state.ignoreLabel },
      (loaded, total) => {
        progress.problem = '';
        progress.step = loaded;
        progress.totalSteps = total;
        changed();
      },
    );
    state.validation = await casesOf('validation');
    Object.assign(progress, { step: 0, totalSteps: 0, gpuBytes: NaN });
    state.model?.dispose();
    state.model = undefined;
    network = { inChannels: channels, classes };
    state.model = await newModel();
    state.modelName = `${state.name}, in training`;
    log(
      `${used.train.length} training and ${used.validation.length} validation cases on ${state.model.adapter}`,
    );
    if (!resumed) {
      await forgetSession().catch(() => undefined);
      await keepSession(classes, channels).catch((error: unknown) =>
        log(`${messageOf(error)}. A reload will lose this training.`),
      );
    }
  } catch (error) {
    progress.problem = messageOf(error);
    state.training = 'idle';
    changed();
    return;
  }
  await train(resumed !== undefined);
}

async function train(resume: boolean, tune?: boolean): Promise<void> {
  controller = new AbortController();
  Object.assign(wish, { stop: false, skipTuning: false });
  progress.problem = '';
  state.training = 'running';
  changed();
  const store = await checkpoints((problem) =>
    log(`Not saved: ${problem}. Training goes on, but a reload will lose it.`),
  );
  const { settings } = state;
  try {
    const model = (state.model ??= await newModel());
    if (resume) {
      const { history, best } = await storedProgress();
      state.history = history;
      progress.best = best;
      changed();
    }
    const validation = await casesOf('validation');
    await model.fit(await casesOf('train'), {
      epochs: settings.epochs,
      batchSize: settings.batchSize,
      seed: settings.seed,
      loss: loss(),
      schedule: oneCycle({ maxLearningRate: settings.learningRate }),
      checkpointing: settings.checkpointing,
      validation,
      transfer: true,
      signal: controller.signal,
      resume,
      onEvent: take,
      ...(tune !== undefined && { tune }),
      ...(settings.patch && { patch: settings.patch }),
      checkpoint: store,
      ...(validation[0] && { preview: validation[0] }),
    });
    await finish('Training is complete');
  } catch (error) {
    progress.tuning = undefined;
    if (error instanceof Aborted) {
      if (wish.skipTuning) return train(resume, false);
      if (wish.stop) return stopNow();
      state.training = 'paused';
      log(`Paused. ${error.message}`);
    } else {
      progress.problem = messageOf(error);
      state.training = 'paused';
      log(`Stopped by an error: ${progress.problem}`);
      if (error instanceof DeviceLost) {
        // Its worker is dead; to go on, a new one takes up the last checkpoint.
        state.model?.dispose();
        state.model = undefined;
        const [what = ''] = progress.problem.split(': ', 1);
        progress.problem = `${what[0]?.toUpperCase()}${what.slice(1)}. "Resume" starts a new one, which goes on from the last checkpoint.`;
      }
    }
  }
  changed();
}

function take(event: TrainingEvent): void {
  switch (event.type) {
    case 'tuning':
      progress.tuning = { done: event.done, passes: event.passes };
      break;
    case 'tuned':
      progress.tuning = undefined;
      log(
        `${Object.keys(event.choices).length} of ${event.passes} convolution shapes run with a faster kernel`,
      );
      break;
    case 'warning':
      log(event.message);
      break;
    case 'start':
      progress.tuning = undefined;
      progress.gpuBytes = event.gpuBytes;
      progress.step = event.step;
      progress.totalSteps = event.epochs * event.stepsPerEpoch;
      if (event.step > 0) log(`Going on from step ${event.step} of ${progress.totalSteps}`);
      break;
    case 'step':
      progress.step = event.step + 1;
      progress.totalSteps = event.totalSteps;
      progress.epoch = event.epoch;
      progress.etaMs = event.etaMs;
      progress.loss = event.loss;
      break;
    case 'epoch':
      state.history = [...state.history.filter(({ epoch }) => epoch !== event.row.epoch), event.row];
      if (event.best)
        progress.best = { epoch: event.row.epoch, dice: meanDefined(event.row.validationDice.slice(1)) };
      break;
    case 'concessions':
      log(`To fit the memory: ${event.taken.join(', ')}; now ${event.step}`);
      break;
    case 'preview':
      progress.preview = { epoch: event.epoch, predicted: event.score.predicted, dice: event.score.dice };
      break;
    case 'recovered':
      log(event.message);
      break;
    case 'end':
      state.history = [...event.result.history];
      break;
    default:
      return;
  }
  changed();
}

export function pause(): void {
  wish.stop = false;
  state.training = 'pausing';
  controller.abort();
  changed();
}

/** Ends the measuring of kernels: training begins with the default ones. */
export function skipTuning(): void {
  wish.skipTuning = true;
  controller.abort();
  changed();
}

export const goOn = (): Promise<void> => train(true);

/** Stops for good and keeps the best weights so far. */
export async function stop(): Promise<void> {
  if (state.training === 'paused') return stopNow();
  wish.stop = true;
  state.training = 'pausing';
  controller.abort();
  changed();
}

async function stopNow(): Promise<void> {
  try {
    const checkpoint = await (await checkpoints()).load(checkpointName);
    const known = state.model ?? (await newModel());
    const best = checkpoint && (await bestModel(checkpoint, await known.save()));
    if (!best && !state.model) {
      known.dispose();
      throw new Error('No epoch was finished, so there are no weights to keep.');
    }
    if (best) {
      state.model = await UNet3D.load(best);
      known.dispose();
    }
    await finish(
      best ? 'Stopped early; the best weights are kept' : 'Stopped early; the last weights are kept',
    );
  } catch (error) {
    progress.problem = messageOf(error);
    state.training = 'paused';
    changed();
  }
}

async function finish(message: string): Promise<void> {
  state.training = 'done';
  state.modelName = `${state.name}, trained here`;
  log(message);
  await forgetSession().catch(() => undefined);
  changed();
}

/** history.csv, as the command line writes it. */
export async function historyTable(): Promise<string> {
  const { historyCsv } = await import('unet3d-gpu/report');
  return historyCsv(state.history, classNames(classCount()));
}
