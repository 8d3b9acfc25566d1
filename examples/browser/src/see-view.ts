/** See: one case at a time in slices and 3-D, its truth beside the prediction. */
import { button, el, fill, messageOf } from './dom.ts';
import { classCount } from './planning.ts';
import { changed, classNames, inTraining, onChange, state, type PageCase } from './state.ts';
import type { View } from './view.ts';
import { legend, opacitySlider, Viewer } from './viewer.ts';

export function seeView(): View {
  const viewer = new Viewer();
  const list = el('div', { className: 'cases', role: 'group', 'aria-label': 'Cases' });
  const status = el('p', { role: 'status', className: 'quiet' });
  const names = classNames(classCount());
  let current: PageCase | undefined = state.cases.find(({ part }) => part === 'validation') ?? state.cases[0];

  async function show(): Promise<void> {
    if (!current) return;
    const prediction = state.predictions.get(current.id);
    const truth = { title: current.label ? `Truth: ${current.id}` : current.id, overlay: current.label };
    const pictures = prediction ? [truth, { title: 'Prediction', overlay: prediction }] : [truth];
    try {
      await viewer.show(current.images[0]!, pictures, names, state.ignoreLabel);
    } catch (error) {
      status.textContent = `This case cannot be drawn: ${messageOf(error)}`;
    }
  }

  async function segment(): Promise<void> {
    const { model } = state;
    if (!model || !current) return;
    const item = current;
    status.textContent = `Segmenting ${item.id}`;
    try {
      const result = await model.predict([...item.images], {
        onProgress: ({ loaded, total }) =>
          (status.textContent = `Segmenting ${item.id}: ${loaded} of ${total}`),
      });
      const bytes = (await result.toNifti()) as Uint8Array<ArrayBuffer>;
      state.predictions.set(item.id, new File([bytes], `${item.id}_prediction.nii.gz`));
      status.textContent = '';
      changed();
      draw();
    } catch (error) {
      status.textContent = messageOf(error);
    }
  }

  function draw(): void {
    fill(
      list,
      state.cases.map((item) =>
        el(
          'button',
          {
            type: 'button',
            'aria-current': String(item === current),
            onclick: () => {
              current = item;
              draw();
            },
          },
          item.id,
          el('small', {}, { train: 'training', validation: 'validation', unused: 'not used' }[item.part]),
        ),
      ),
    );
    void show();
  }

  if (!current) {
    const hint = 'There is nothing to see yet. Add files under "Data", or try it with phantoms.';
    return { element: el('p', { className: 'empty' }, hint), dispose: () => undefined };
  }
  const segmentButton = button('Segment this case', segment, { className: 'primary' });
  let hint: string | undefined;
  const update = (): void => {
    const next = inTraining()
      ? 'The network is training; it can segment when that is paused or done.'
      : state.model
        ? ''
        : 'To segment, train a network, or open a model file under "Use".';
    if (next === hint) return;
    status.textContent = hint = next;
    segmentButton.disabled = next !== '';
  };
  update();
  draw();
  const page = el(
    'div',
    { className: 'see' },
    list,
    el(
      'div',
      { className: 'grow' },
      el('div', { className: 'row' }, opacitySlider(viewer), segmentButton, status),
      legend(names),
      viewer.element,
    ),
  );
  return { element: page, dispose: onChange(update) };
}
