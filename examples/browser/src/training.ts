/** How a training goes: what a person can tell it, and what becomes of it when it ends, rests or fails. */
import { Aborted, bestModel, DeviceLost, lastModel, oneCycle, progressOf, UNet3D } from 'unet3d-gpu/worker';
import { augmentationOf } from './augmentation.ts';
import { messageOf } from './dom.ts';
import { KeptModel } from './kept-model.ts';
import { startName } from './kept/run-files.ts';
import { lossOf, networkOf } from './planning.ts';
import { casesOf, exampleOf, prepare, releaseCases } from './prepared-cases.ts';
import type { Run } from './run.ts';
import { stopOpening } from './opening.ts';
import { givesUpQueue, isQueued, restQueue } from './segmenting.ts';
import { openModel, state } from './state.ts';
import { recall, take } from './training-events.ts';

/** Everything before the first step. @throws Aborted where the visitor did not wait for it */
export async function setUp(run: Run): Promise<void> {
  const { signal } = run.interruption;
  await prepare(run, signal);
  if (!signal.aborted) run.network = await newNetwork(run);
  if (signal.aborted) throw new Aborted('stopped while it was prepared');
  const [training, validation] = [run.idsOf('train'), run.idsOf('validation')];
  run.log(`${training.length} training and ${validation.length} validation cases on ${run.network!.adapter}`);
}

/** As the training began, with the weights that it was given. */
async function newNetwork(run: Run): Promise<UNet3D> {
  const { settings, preprocessing, labels, regions, channels, channelNames, from } = run.record;
  takeGpu();
  const start = await startOf(run);
  run.hasLearnt = false;
  const network = await UNet3D.create({
    ...networkOf(channels, run.heads, settings, from?.config),
    labels,
    ...(regions && { regions }),
    ...(channelNames.length === channels && { channels: channelNames }),
    seed: settings.seed,
    preprocessing,
    precision: settings.precision,
    memoryBudget: settings.memory * 2 ** 30,
  });
  if (settings.patch) await network.describe({ patches: true });
  if (!start) return network;
  try {
    const anew = await network.takeWeights(start, { heads: from?.heads ?? 'auto' });
    run.log(
      `It goes on from the weights of ${from?.name ?? 'another network'}${anew.length > 0 ? ', with a new last layer' : ''}`,
    );
  } catch (error) {
    network.dispose();
    throw error;
  }
  return network;
}

/** The weights that a training was given to begin with; undefined where its checkpoint takes their place. */
async function startOf({ record, files }: Run): Promise<Uint8Array | undefined> {
  if (!record.continues || (await files.checkpoint())) return undefined;
  const start = await files.load(startName);
  if (!start)
    throw new Error(
      'the weights that this training began with are no longer kept in this browser: begin a new one',
    );
  return start;
}

/** The GPU is the training's: what segments has to wait. */
function takeGpu(): void {
  stopOpening();
  restQueue();
  state.model?.release();
}

/** @param tune whether kernels are measured; by default where they have not been */
export async function train(run: Run, resume: boolean, tune?: boolean): Promise<void> {
  const { settings, regions } = run.record;
  let begun = true;
  const signal = run.begin();
  try {
    const rested = run.network ?? (await takeBack(run));
    begun = rested === undefined;
    const network = (run.network = rested ?? (await newNetwork(run)));
    takeGpu();
    if (resume) await recall(run);
    await prepare(run, signal);
    run.example ??= await exampleOf(run);
    const validation = await casesOf(run, run.idsOf('validation'));
    const augmentation = augmentationOf(settings.augmentation);
    await network.fit(await casesOf(run, run.idsOf('train')), {
      epochs: settings.epochs,
      batchSize: settings.batchSize,
      seed: settings.seed,
      loss: lossOf(settings, regions),
      schedule: oneCycle({ maxLearningRate: settings.learningRate }),
      checkpointing: settings.checkpointing,
      validation,
      transfer: true,
      signal,
      resume,
      ...(run.record.from?.freeze && { freeze: run.record.from.freeze }),
      onEvent: (event) => {
        begun = true;
        take(run, event);
      },
      ...(tune !== undefined && { tune }),
      ...(settings.patch && { patch: settings.patch }),
      ...(augmentation && { augmentation }),
      checkpoint: run.files,
      ...(validation[0] && { preview: validation[0] }),
    });
    await finish(run, network, await network.save(), 'Training is complete');
  } catch (error) {
    run.tell({ tuning: undefined });
    if (error instanceof Aborted) {
      if (run.afterwards === 'train untuned') return train(run, resume || run.progress.step > 0, false);
      if (run.afterwards === 'stop') return stopNow(run);
      await rest(run);
      run.log(
        error.message.includes('worker was ended')
          ? 'Paused: the GPU did not stop in time, so "Resume" goes on from the last checkpoint.'
          : 'Paused.',
      );
    } else {
      let problem = messageOf(error);
      run.log(`Stopped by an error: ${problem}`);
      if (error instanceof DeviceLost) {
        loseNetwork(run);
        // Lost while it rested: nothing that the visitor has to know.
        if (resume && !begun) return train(run, true, tune);
        const [, why] = /\((.*)\)/s.exec(error.message) ?? [];
        problem = `The GPU was lost${why === undefined ? '' : ` (${why})`}. "Resume" opens it again, and goes on from the last checkpoint.`;
      }
      run.enter('paused', problem);
    }
  }
}

/** Paused: the network as it is can segment meanwhile, unless it has learnt nothing yet or another is open for that. */
async function rest(run: Run): Promise<void> {
  const { network, hasLearnt } = run;
  const weights = state.model || !hasLearnt ? undefined : await network?.save().catch(() => undefined);
  if (network && weights) {
    openModel(
      KeptModel.of(network, () => Promise.resolve(weights)),
      `${run.record.name}, paused`,
      run.id,
    );
    run.network = undefined;
  }
  run.enter('paused');
}

/** The network that has segmented in the pause is the training's again. */
async function takeBack(run: Run): Promise<UNet3D | undefined> {
  const { model, modelRun } = state;
  if (!(model instanceof KeptModel) || modelRun !== run.id) return undefined;
  const network = await model.giveBack().catch(() => undefined);
  openModel(undefined);
  return network;
}

/** The training at hand in one of these phases. @throws Error where there is none, as when another click was faster */
function runIn(...phases: readonly Run['phase'][]): Run {
  const { run } = state;
  if (!run || !phases.includes(run.phase)) throw new Error('the training has gone on meanwhile');
  return run;
}

export function pause(): void {
  runIn('running').interrupt('rest');
}

/** Ends the preparing of cases. */
export function cancel(): void {
  runIn('preparing').interrupt('rest');
}

/** Ends the measuring of kernels: training begins with the default ones. */
export function skipTuning(): void {
  runIn('running').interrupt('train untuned');
}

export async function goOn(): Promise<void> {
  const run = runIn('paused');
  if (givesBack(run, 'Resume the training')) await train(run, true);
}

/** Whether nothing waits for the network that segments in the pause, or the person gives that up. */
const givesBack = (run: Run, what: string): boolean => state.modelRun !== run.id || givesUpQueue(what);

/** Stops for good, if the person is sure of it, and keeps the best weights so far. */
export async function stop(): Promise<void> {
  const { epochs } = runIn('paused', 'running').record.settings;
  const isSure = confirm(
    `End this training before its ${epochs} epochs are over? Its best network is kept, but it cannot be resumed.`,
  );
  if (!isSure) return;
  const run = runIn('paused', 'running');
  if (run.phase === 'paused') {
    if (givesBack(run, 'End the training')) await stopNow(run);
  } else run.interrupt('stop');
}

async function stopNow(run: Run): Promise<void> {
  try {
    run.enter('pausing');
    run.network ??= await takeBack(run);
    const network = (run.network ??= await newNetwork(run));
    const present = await network.save();
    const checkpoint = await run.files.checkpoint();
    const best = checkpoint && (await bestModel(checkpoint, present));
    const last = run.hasLearnt ? present : checkpoint && (await lastOf(checkpoint, present));
    const kept = best ?? last;
    if (!kept) throw new Error('No step was finished, so there are no weights to keep.');
    if (kept !== present) {
      network.dispose();
      run.network = undefined;
    }
    const words = best ? 'the best weights are kept' : 'the last weights are kept';
    await finish(run, run.network ?? (await UNet3D.load(kept)), kept, `Stopped early; ${words}`);
  } catch (error) {
    if (error instanceof DeviceLost) loseNetwork(run);
    run.enter('paused', messageOf(error));
  }
}

/** Its worker is dead; to go on, a new one takes up the last checkpoint. */
function loseNetwork(run: Run): void {
  run.network?.dispose();
  run.network = undefined;
}

/** The weights of a checkpoint that some step has led to. */
const lastOf = (checkpoint: Uint8Array, model: Uint8Array): Promise<Uint8Array<ArrayBuffer> | undefined> =>
  progressOf(checkpoint).step > 0 ? lastModel(checkpoint, model) : Promise.resolve(undefined);

/** Keeps the model, then what says that it is finished. */
async function finish(
  run: Run,
  network: UNet3D,
  weights: Uint8Array<ArrayBuffer>,
  message: string,
): Promise<void> {
  if (await run.files.saveModel(weights)) await run.conclude();
  run.network = undefined;
  releaseCases(run.id);
  run.enter('done');
  run.log(message);
  // A model that the person has opened, or given volumes to, is not this one's to close.
  const { model, modelRun, modelName } = state;
  const isOther = model !== undefined && modelRun !== run.id;
  if (isOther && (isQueued() || (modelRun === undefined && !run.record.continues))) {
    network.dispose();
    run.log(`${modelName} stays open; "Use this network" opens this one in its place`);
  } else
    openModel(
      KeptModel.of(network, () => run.files.model()),
      run.record.name,
      run.id,
    );
  await run.share();
}
