/** How a training goes: what a person can tell it, and what becomes of it when it ends, rests or fails. */
import { Aborted, bestModel, DeviceLost, oneCycle, UNet3D } from 'unet3d-gpu/worker';
import { augmentationOf } from './augmentation.ts';
import { messageOf } from './dom.ts';
import { KeptModel } from './kept-model.ts';
import { startName } from './kept/run-files.ts';
import { claim } from './kept/runs.ts';
import { lossOf, networkOf } from './planning.ts';
import { casesOf, exampleOf, prepare, releaseCases } from './prepared-cases.ts';
import type { Run } from './run.ts';
import { stopQueue } from './segmenting.ts';
import { changed, openModel, state } from './state.ts';
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
  const { settings, preprocessing, labels, regions, channels, from } = run.record;
  takeGpu();
  const start = await startOf(run);
  const network = await UNet3D.create({
    ...networkOf(channels, run.heads, settings, from?.config),
    labels,
    ...(regions && { regions }),
    seed: settings.seed,
    preprocessing,
    precision: settings.precision,
    memoryBudget: settings.memory * 2 ** 30,
  });
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
  stopQueue('a training has begun');
  state.model?.release();
}

/** @param tune whether kernels are measured; by default where they have not been */
export async function train(run: Run, resume: boolean, tune?: boolean): Promise<void> {
  const { progress, files } = run;
  const { settings, regions } = run.record;
  let begun = true;
  const { signal } = run.begin();
  progress.problem = '';
  run.phase = 'running';
  changed();
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
      checkpoint: files,
      ...(validation[0] && { preview: validation[0] }),
    });
    await finish(run, network, await network.save(), 'Training is complete');
  } catch (error) {
    progress.tuning = undefined;
    if (error instanceof Aborted) {
      if (run.afterwards === 'train untuned') return train(run, resume || progress.step > 0, false);
      if (run.afterwards === 'stop') return stopNow(run);
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

/** Paused: the network as it is can segment meanwhile, unless another is open for that. */
async function rest(run: Run): Promise<void> {
  const { network } = run;
  const weights = state.model ? undefined : await network?.save().catch(() => undefined);
  if (network && weights) {
    openModel(
      KeptModel.of(network, () => Promise.resolve(weights)),
      `${run.record.name}, paused`,
      run.id,
    );
    run.network = undefined;
  }
  run.phase = 'paused';
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
  await train(runIn('paused'), true);
}

/** Stops for good and keeps the best weights so far. */
export async function stop(): Promise<void> {
  const run = runIn('paused', 'running');
  if (run.phase === 'paused') await stopNow(run);
  else run.interrupt('stop');
}

async function stopNow(run: Run): Promise<void> {
  try {
    run.phase = 'pausing';
    changed();
    run.network ??= await takeBack(run);
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
  releaseCases(run.id);
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
