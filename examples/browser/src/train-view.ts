/** Train: the settings of a training, then the training itself. */
import { device } from './device.ts';
import { el, fill } from './dom.ts';
import { runPanel } from './run-panel.ts';
import type { Run } from './run.ts';
import { settingsForm } from './settings-form.ts';
import { openToSegment } from './opening.ts';
import { onChange, state } from './state.ts';
import { closeRun } from './run-at-hand.ts';
import type { View } from './view.ts';
import { KeptModel } from './kept-model.ts';

/** @param findDrawings as in `settingsForm` */
export function trainView(toUse: () => void, findDrawings: () => Promise<void>): View {
  const page = el('div');
  let shown: Run | 'nothing' | 'settings' | undefined;
  let panel: View | undefined;
  let { report, model, settings } = state;

  function draw(): void {
    const ready = state.cases.some(({ part }) => part === 'train');
    const next = state.run ?? (ready ? 'settings' : 'nothing');
    // Labels that were drawn, a model that is being opened, and settings of a training may come when these are shown.
    const isNew = report !== state.report || model !== state.model || settings !== state.settings;
    if (next === shown && !(next === 'settings' && isNew)) return;
    shown = next;
    ({ report, model, settings } = state);
    panel?.dispose();
    panel = undefined;
    if (next === 'nothing')
      fill(
        page,
        el(
          'p',
          { className: 'empty' },
          'There are no cases to train on. Add images with labels under "Data" and use some of them for training, draw some under "Annotate", or try it with phantoms.',
        ),
      );
    else if (next === 'settings')
      void device().then((gpu) => {
        if (shown === next) fill(page, settingsForm(gpu, findDrawings));
      });
    else {
      panel = runPanel(next, () => use(next), closeRun);
      fill(page, panel.element);
    }
  }

  /** Another model may have been opened since. */
  async function use(run: Run): Promise<void> {
    const load = () => KeptModel.open(() => run.files.model());
    if (state.modelRun === run.id || (await openToSegment(run.record.name, load, run.id))) toUse();
  }

  const stopListening = onChange(draw);
  draw();
  return {
    element: page,
    dispose() {
      stopListening();
      panel?.dispose();
    },
  };
}
