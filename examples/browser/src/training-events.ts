/** What a training tells of itself, as the page shows and keeps it. */
import { meanDefined, type TrainingEvent } from 'unet3d-gpu/worker';
import type { Run } from './run.ts';
import { inPageWords } from './words.ts';

/** Shows the epochs that lie behind the checkpoint. */
export async function recall(run: Run): Promise<void> {
  const progress = await run.files.progress().catch(() => undefined);
  if (!progress) return; // a damaged one: training goes on from the one before it, and says so
  const { history, best } = progress;
  await run.update({
    history,
    ...(best && { best: { epoch: best.epoch, dice: meanOf(history[best.epoch]?.validationDice) } }),
  });
}

const meanOf = (dice: readonly number[] = []): number => meanDefined(dice.slice(1));

export function take(run: Run, event: TrainingEvent): void {
  const { history } = run.record;
  switch (event.type) {
    case 'tuning':
      run.tell({ tuning: { done: event.done, passes: event.passes } });
      break;
    case 'tuned':
      run.tell({ tuning: undefined });
      run.log(
        `${Object.keys(event.choices).length} of ${event.passes} parts of the network are computed in a faster way`,
      );
      break;
    case 'warning':
    case 'recovered':
      run.log(inPageWords(event.message));
      break;
    case 'start':
      run.hasLearnt ||= event.step > 0;
      run.tell({
        tuning: undefined,
        gpuBytes: event.gpuBytes,
        step: event.step,
        totalSteps: event.epochs * event.stepsPerEpoch,
      });
      if (event.step > 0) run.log(`Going on from step ${event.step} of ${run.progress.totalSteps}`);
      break;
    case 'step':
      run.hasLearnt = true;
      run.tell({
        step: event.step + 1,
        totalSteps: event.totalSteps,
        epoch: event.epoch,
        etaMs: event.etaMs,
        loss: event.loss,
      });
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
      run.tell({
        preview: { epoch: event.epoch, predicted: event.score.predicted, dice: event.score.dice },
      });
      break;
    case 'end':
      void run.update({ history: [...event.result.history] });
      break;
    default:
  }
}
