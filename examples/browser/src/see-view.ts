/** See: one case at a time in slices and 3-D, its truth beside the prediction. */
import { disagreement } from './agreement.ts';
import { el, fill, lengthy, messageOf, ProgressLine } from './dom.ts';
import { CaseButtons } from './case-buttons.ts';
import { namesOf } from './findings.ts';
import { classCount } from './planning.ts';
import { segmented } from './segmenting.ts';
import {
  classNames,
  inTraining,
  keepPrediction,
  named,
  onChange,
  state,
  type PageCase,
  type VolumeFile,
} from './state.ts';
import { viewOfCases, type View } from './view.ts';
import { viewerControls } from './viewer-controls.ts';
import { Viewer } from './viewer.ts';

const uses = { train: 'training', validation: 'validation', unused: 'not used' };

export const seeView = (): View =>
  viewOfCases('There is nothing to see yet. Add files under "Data", or try it with phantoms.', casesView);

function casesView(): View {
  let current: PageCase | undefined;
  const viewer = new Viewer();
  const list = new CaseButtons(choose);
  const status = new ProgressLine('quiet');
  const controls = el('div');
  let names: readonly string[] = [];
  /** The files that are shown. */
  let shown: readonly unknown[] = [];

  async function show({ id, images, label }: PageCase, prediction: VolumeFile | undefined): Promise<void> {
    const truth = { title: label ? `Truth: ${id}` : id, overlay: label };
    const pictures = prediction ? [truth, { title: 'Prediction', overlay: prediction }] : [truth];
    try {
      await viewer.show(images[0]!, pictures, names, state.ignoreLabel);
    } catch (error) {
      status.tell(`This case cannot be drawn: ${messageOf(error)}`);
    }
  }

  async function segment(signal: AbortSignal): Promise<void> {
    const { model } = state;
    if (!model || !current) return;
    const item = current;
    status.tell(`Segmenting ${item.id}`);
    try {
      const { overlay } = await segmented(model, item.images, `${item.id}_prediction.nii.gz`, {
        signal,
        onProgress: ({ loaded, total }) => status.tell(`Segmenting ${item.id}`, `: ${loaded} of ${total}`),
      });
      const isStill = state.model === model && state.cases.some(({ images }) => images === item.images);
      status.tell('');
      if (isStill) keepPrediction(item.images, overlay);
    } catch (error) {
      status.tell(signal.aborted ? '' : messageOf(error));
    }
  }

  function choose(item: PageCase): void {
    current = item;
    update();
  }

  const segmentButton = lengthy('Segment this case', segment, { className: 'primary' });
  let hint: string | undefined;
  function update(): void {
    // It may have another label, and there may be other cases.
    current =
      state.cases.find(({ images }) => images === current?.images) ??
      state.cases.find(({ part }) => part === 'validation') ??
      state.cases[0];
    list.update(current, ({ part }) => uses[part]);
    const apart = state.model && disagreement(state.model);
    const here = classNames(classCount());
    // The model may find more classes than the labels here hold.
    const namesNow = state.model && apart === '' ? named(here, namesOf(state.model)) : here;
    const isRenamed = namesNow.join('\n') !== names.join('\n');
    if (isRenamed) {
      names = namesNow;
      fill(controls, viewerControls(viewer, names));
    }
    const prediction = current && state.predictions.get(current.images);
    const wanted = [current?.images, current?.label, prediction];
    if (current && (isRenamed || wanted.some((file, index) => file !== shown[index]))) {
      shown = wanted;
      void show(current, prediction);
    }
    const next = inTraining()
      ? 'The network is training; it can segment when that is paused or done.'
      : (apart ?? 'To segment, train a network, or open a model file under "Use".');
    if (next === hint) return;
    hint = next;
    status.tell(hint);
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
      el('div', { className: 'row' }, segmentButton, status.element),
      controls,
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
