/** See: one case at a time in slices and 3-D, its truth beside the prediction. */
import { el, lengthy, messageOf } from './dom.ts';
import { CaseButtons } from './case-buttons.ts';
import { classCount } from './planning.ts';
import { segmented } from './segmenting.ts';
import { changed, classNames, inTraining, onChange, state, type PageCase } from './state.ts';
import type { View } from './view.ts';
import { viewerControls } from './viewer-controls.ts';
import { Viewer } from './viewer.ts';

const uses = { train: 'training', validation: 'validation', unused: 'not used' };

export function seeView(): View {
  let current: PageCase | undefined = state.cases.find(({ part }) => part === 'validation') ?? state.cases[0];
  if (!current) {
    const hint = 'There is nothing to see yet. Add files under "Data", or try it with phantoms.';
    return { element: el('p', { className: 'empty' }, hint), dispose: () => undefined };
  }
  const viewer = new Viewer();
  const list = new CaseButtons(choose);
  const status = el('p', { role: 'status', className: 'quiet' });
  const names = classNames(classCount());
  let shown = '';

  async function show(): Promise<void> {
    if (!current) return;
    const prediction = state.predictions.get(current.images);
    const truth = { title: current.label ? `Truth: ${current.id}` : current.id, overlay: current.label };
    const pictures = prediction ? [truth, { title: 'Prediction', overlay: prediction }] : [truth];
    shown = `${current.id} ${pictures.length}`;
    try {
      await viewer.show(current.images[0]!, pictures, names, state.ignoreLabel);
    } catch (error) {
      status.textContent = `This case cannot be drawn: ${messageOf(error)}`;
    }
  }

  async function segment(signal: AbortSignal): Promise<void> {
    const { model } = state;
    if (!model || !current) return;
    const item = current;
    status.textContent = `Segmenting ${item.id}`;
    try {
      const { labels } = await segmented(model, item.images, `${item.id}_prediction.nii.gz`, {
        signal,
        onProgress: ({ loaded, total }) =>
          (status.textContent = `Segmenting ${item.id}: ${loaded} of ${total}`),
      });
      const isStill = state.model === model && state.cases.some(({ images }) => images === item.images);
      if (isStill) state.predictions.set(item.images, labels);
      status.textContent = '';
      changed();
    } catch (error) {
      status.textContent = signal.aborted ? '' : messageOf(error);
    }
  }

  function choose(item: PageCase): void {
    current = item;
    update();
  }

  const segmentButton = lengthy('Segment this case', segment, { className: 'primary' });
  let hint: string | undefined;
  function update(): void {
    list.update(current, ({ part }) => uses[part]);
    if (current && shown !== `${current.id} ${state.predictions.has(current.images) ? 2 : 1}`) void show();
    const next = inTraining()
      ? 'The network is training; it can segment when that is paused or done.'
      : state.model
        ? ''
        : 'To segment, train a network, or open a model file under "Use".';
    if (next === hint) return;
    status.textContent = hint = next;
    segmentButton.disabled = next !== '';
  }
  update();
  const page = el(
    'div',
    { className: 'see' },
    list.element,
    el(
      'div',
      { className: 'grow' },
      el('div', { className: 'row' }, segmentButton, status),
      viewerControls(viewer, names),
      viewer.element,
    ),
  );
  const stopListening = onChange(update);
  return {
    element: page,
    dispose() {
      stopListening();
      viewer.dispose();
    },
  };
}
