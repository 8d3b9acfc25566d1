/** A training as it is watched: live curves, a preview that improves, and the controls. */
import { classColor, cssColor, formatBytes, meanDefined } from 'unet3d-gpu/worker';
import { curvesOf } from './charts.ts';
import {
  button,
  counted,
  digits,
  download,
  duration,
  el,
  fill,
  lengthy,
  modelFileName,
  ProgressLine,
  say,
  swatch,
} from './dom.ts';
import { drawnNames, scoredNames, scoredValues, type Run } from './run.ts';
import { CaseSlices } from './slices.ts';
import { onChange } from './state.ts';
import { historyTable } from './run-at-hand.ts';
import { cancel, goOn, pause, skipTuning, stop } from './training.ts';
import type { View } from './view.ts';
import { legend, opacitySlider } from './viewer.ts';

/** What is told of a training: its phase and epoch, which are read out, and how far it is in these. */
function told({ phase, record, progress }: Run): [text: string, progress?: string] {
  const { history, best } = record;
  const { epochs } = record.settings;
  const { step, totalSteps, loss, etaMs, gpuBytes, tuning } = progress;
  const epoch = `epoch ${Math.min(progress.epoch + 1, epochs)} of ${epochs}`;
  const at = `, step ${step} of ${totalSteps}`;
  switch (phase) {
    case 'preparing':
      return ['Preparing the cases', totalSteps > 0 ? `: ${step} of ${totalSteps}` : ''];
    case 'running':
      if (Number.isFinite(loss))
        return [
          `Training: ${epoch}`,
          `${at}, loss ${digits(loss)}, ${duration(etaMs)} to go, ${formatBytes(gpuBytes)} on the GPU`,
        ];
      return tuning
        ? [
            'Measuring how to compute fastest on this GPU, once, a minute at most',
            `: ${tuning.done} of ${tuning.passes} parts of the network`,
          ]
        : ['Starting: making the GPU ready'];
    case 'pausing':
      return ['Finishing the step and saving'];
    case 'paused':
      return [`Paused at ${epoch}${at}.`];
    case 'done': {
      const kept = best ? ` Kept: epoch ${best.epoch + 1}, mean Dice ${digits(best.dice)}.` : '';
      return [`Done after ${counted(history.length, 'epoch')}.${kept}`];
    }
  }
}

/** @param onModel shows where to segment; `onNew` asks for the settings of another training */
export function runPanel(run: Run, onModel: () => unknown, onNew: () => void): View {
  const { progress } = run;
  const names = scoredNames(run.record);
  const values = scoredValues(run.record);
  const curves = curvesOf(names, values);
  const bar = el('progress', { 'aria-label': 'Progress of the training' });
  const line = new ProgressLine();
  const controls = el('div', {
    className: 'row',
    role: 'group',
    'aria-label': 'Controls of the training',
    tabIndex: -1,
  });
  const table = el('div');
  const log = el('ol', { className: 'log', 'aria-label': 'Log' });
  const problem = el('p', { className: 'error', role: 'alert' });
  const preview = el('div', {}, el('p', { className: 'quiet' }, 'It appears after the first epoch.'));
  const page = el(
    'div',
    { className: 'run' },
    el(
      'section',
      { className: 'panel', 'aria-label': 'Progress' },
      el('h2', {}, run.record.name),
      bar,
      line.element,
      problem,
      controls,
    ),
    curves.element,
    el(
      'div',
      { className: 'columns wide' },
      el('section', { className: 'panel' }, el('h2', {}, 'Dice of the last epoch'), table),
      // What was finished before this visit has none.
      (run.phase !== 'done' || progress.preview) &&
        el(
          'section',
          { className: 'panel' },
          el('h2', {}, 'A validation case, segmented after each epoch'),
          preview,
        ),
    ),
    el('details', { open: true }, el('summary', {}, 'Log'), log),
  );
  let slices: CaseSlices | undefined;
  let shown = -1;
  let epochs = -1;
  let controlsFor = '';

  async function showPreview(): Promise<void> {
    const { example } = run;
    const { preview: found } = progress;
    if (!example || !found || found.epoch === shown) return;
    shown = found.epoch;
    if (!slices) {
      slices = new CaseSlices(example.item, example.survey);
      const colours = legend(drawnNames(run.record));
      fill(preview, el('div', { className: 'row' }, opacitySlider(slices), colours), slices.element);
    }
    const dice = digits(meanDefined(found.dice.slice(1)));
    await slices.show(`Prediction after epoch ${found.epoch + 1}: mean Dice ${dice}`, found.predicted);
  }

  function update(): void {
    const { phase, record } = run;
    const { history } = record;
    bar.max = Math.max(1, progress.totalSteps);
    bar.value = phase === 'done' ? bar.max : progress.step;
    line.tell(...told(run));
    say(problem, progress.problem);
    const wanted = phase === 'running' && progress.tuning ? 'tuning' : phase;
    if (controlsFor !== wanted) {
      const first = controlsFor === '';
      controlsFor = wanted;
      fill(
        controls,
        wanted === 'preparing' && button('Cancel', cancel),
        wanted === 'tuning' && button('Skip measuring', skipTuning, { className: 'primary' }),
        phase === 'running' && [button('Pause', pause), button('Stop early, keep the best', stop)],
        phase === 'paused' && [
          button('Resume', goOn, { className: 'primary' }),
          button('Stop early, keep the best', stop),
          button('Set it aside', onNew, { title: 'It can be resumed later.' }),
        ],
        phase === 'done' && [
          button('Use this network', onModel, { className: 'primary' }),
          button('Download the model', async () =>
            download(modelFileName(run.record.name), await run.files.model()),
          ),
          button('Download the history', async () => download('history.csv', await historyTable(run))),
          lengthy('Download the report', async (signal) => {
            const { trainingReport } = await import('./report.ts');
            download('report.html', await trainingReport(run, signal));
          }),
          button('New training', onNew),
        ],
      );
      // The button that was pressed is gone: its focus waits in this row for the next one.
      const { activeElement } = document;
      const left = first && (activeElement === document.body || activeElement?.id === 'page');
      if (left || activeElement === controls)
        (controls.querySelector('button') ?? controls).focus({ preventScroll: true });
    }
    if (history.length !== epochs) {
      epochs = history.length;
      curves.update(history);
      const row = history.at(-1);
      fill(
        table,
        row && row.validationDice.length > 0
          ? el(
              'table',
              { className: 'dice' },
              el(
                'tbody',
                {},
                names.map((name, index) =>
                  el(
                    'tr',
                    {},
                    el(
                      'th',
                      { scope: 'row' },
                      index > 0 && swatch(cssColor(classColor(values[index]!))),
                      name,
                    ),
                    el('td', {}, digits(row.validationDice[index])),
                  ),
                ),
              ),
            )
          : el(
              'p',
              { className: 'quiet' },
              'It appears after the first epoch, if there are validation cases.',
            ),
      );
    }
    if (log.childElementCount !== progress.log.length)
      fill(
        log,
        progress.log.map((text) => el('li', {}, text)),
      );
    void showPreview();
  }
  const stopListening = onChange(update);
  queueMicrotask(update);
  return {
    element: page,
    dispose() {
      stopListening();
      curves.dispose();
    },
  };
}
