/** Which slice is drawn on, which others are drawn or complete, and how to get to them. */
import { button, el, fill, select } from '../dom.ts';
import { boardPlanes, type Board, type BoardPlane } from './board.ts';
import type { Session } from './session.ts';

const planeNames: Record<BoardPlane, string> = {
  axial: 'axial',
  coronal: 'coronal',
  sagittal: 'sagittal',
  all: 'all three',
};

export interface SliceBar {
  readonly element: HTMLElement;
  /** After every movement. */
  move(): void;
  /** After every step: returns in how many slices of this plane something is drawn, and how many are complete. */
  update(): { drawn: number; complete: number };
  /** Goes to the next drawn slice, or to the one before. */
  toDrawn(step: 1 | -1): void;
  /** Hides what is drawn, or shows it again. */
  hide(): void;
}

/**
 * @param session the one that is open
 * @param onChange called when the person has marked or chosen something
 */
export function sliceBar(board: Board, session: () => Session | undefined, onChange: () => void): SliceBar {
  const slider = el('input', { type: 'range', min: '0', step: '1', 'aria-label': 'Slice' });
  const text = el('span', { className: 'slice-text' });
  const ticks = el('div', { className: 'ticks', 'aria-hidden': 'true' });
  const complete = el('input', { type: 'checkbox' });
  const whole = el('input', { type: 'checkbox' });
  const opacity = el('input', {
    type: 'range',
    min: '0',
    max: '1',
    step: '0.05',
    value: String(board.opacity),
  });
  let isHidden = false;

  slider.addEventListener('input', () => board.goTo({ axis: board.slice.axis, index: slider.valueAsNumber }));
  complete.addEventListener('change', () => {
    session()?.markSlice(board.slice, complete.checked);
    onChange();
  });
  whole.addEventListener('change', () => {
    session()?.markWhole(whole.checked);
    onChange();
  });
  opacity.addEventListener('input', () => (board.opacity = opacity.valueAsNumber));

  function choosePlane(plane: string): void {
    board.plane = plane as BoardPlane;
    onChange();
  }

  const planes = select(
    boardPlanes.map((plane) => [plane, planeNames[plane]] as const),
    board.plane,
    choosePlane,
  );

  function toDrawn(step: 1 | -1): void {
    const { axis, index } = board.slice;
    const slices = session()?.drawnSlices(axis) ?? [];
    const next = step === 1 ? slices.find((at) => at > index) : slices.findLast((at) => at < index);
    if (next !== undefined) board.goTo({ axis, index: next });
  }

  function move(): void {
    const open = session();
    if (!open) return;
    const { axis, index } = board.slice;
    const count = open.shape[axis];
    slider.max = String(count - 1);
    slider.value = String(index);
    complete.checked = open.isComplete({ axis, index });
    complete.disabled = open.isWhole;
    whole.checked = open.isWhole;
    text.textContent = `Slice ${index + 1} of ${count}`;
    ticks.style.setProperty('--at', String((index + 0.5) / count));
  }

  function update(): { drawn: number; complete: number } {
    const open = session();
    for (const box of [complete, whole]) box.disabled = !open;
    if (!open) return { drawn: 0, complete: 0 };
    planes.value = board.plane;
    for (const option of planes.options) option.disabled = option.value === 'all' && board.isLarge;
    planes.title = board.isLarge ? 'This scan is large: one slice at a time is shown and drawn on' : '';
    move();
    const { axis } = board.slice;
    const drawn = new Set(open.drawnSlices(axis));
    const marks = Array.from({ length: open.shape[axis] }, (_, index) =>
      open.isComplete({ axis, index }) ? 'complete' : drawn.has(index) ? 'drawn' : '',
    );
    fill(
      ticks,
      marks.map((className) => el('i', { className })),
    );
    return { drawn: drawn.size, complete: marks.filter((mark) => mark === 'complete').length };
  }

  const drawnButton = (label: string, step: 1 | -1, name: string, key: string): HTMLElement =>
    button(label, () => toDrawn(step), { title: `${name} (${key})`, 'aria-label': name });
  const element = el(
    'div',
    { className: 'where' },
    el(
      'div',
      { className: 'row' },
      el('label', { className: 'inline' }, 'Plane ', planes),
      drawnButton('‹ drawn', -1, 'Previous drawn slice', 'P'),
      text,
      drawnButton('drawn ›', 1, 'Next drawn slice', 'N'),
      el('label', { className: 'inline' }, complete, 'This slice is complete'),
      el('label', { className: 'inline' }, whole, 'The whole case is complete'),
      el('label', { className: 'inline' }, 'Opacity ', opacity),
    ),
    el('div', { className: 'slider' }, slider, ticks),
  );
  return {
    element,
    move,
    update,
    toDrawn,
    hide() {
      isHidden = !isHidden;
      board.opacity = isHidden ? 0 : opacity.valueAsNumber;
    },
  };
}
