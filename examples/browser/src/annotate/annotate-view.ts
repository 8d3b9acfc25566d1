/** Annotate: draw what is to be learnt, and correct what the network makes of it. */
import { readVolume } from '../label-maps.ts';
import { attempt, button, counted, download, el, fill, messageOf, select } from '../dom.ts';
import { classCount } from '../planning.ts';
import { changed, classNames, onChange, state, type PageCase } from '../state.ts';
import type { View } from '../view.ts';
import { isDone, knownDrawing, labelFile, lookForDrawings } from './annotations.ts';
import { Board, boardPlanes, type BoardPlane } from './board.ts';
import { unknownVoxel, type Acceptance } from './drawing.ts';
import { doubtOf, obstacle, propose, stopProposing, worthAnnotating } from './proposing.ts';
import { proposalPanel } from './proposal-panel.ts';
import { apply, type TakeLabels } from './labels.ts';
import { rounds } from './rounds.ts';
import { Session } from './session.ts';
import { keys, toolbar } from './toolbar.ts';

const planeNames: Record<BoardPlane, string> = {
  axial: 'axial',
  coronal: 'coronal',
  sagittal: 'sagittal',
  all: 'all three',
};

/** What is known of a case, in few words. */
function standing(item: PageCase): string {
  const drawing = knownDrawing(item);
  if (drawing?.marks.whole) return 'complete';
  if (drawing) return `${counted(drawing.drawn, 'slice')} drawn`;
  if (item.label) return 'has a label file';
  return state.predictions.has(item.images) ? 'proposal' : 'nothing yet';
}

/**
 * @param take makes drawings the labels of their cases
 * @param open shows another view
 */
export function annotateView(take: TakeLabels, open: (view: 'Data' | 'Train' | 'Use') => void): View {
  if (state.cases.length === 0)
    return {
      element: el(
        'p',
        { className: 'empty' },
        'There is nothing to draw on yet. Add scans, which need no labels, under "Data".',
      ),
      dispose: () => undefined,
    };
  const board = new Board();
  const tools = toolbar(board);
  const lookup = new AbortController();
  const training = rounds(take, open);
  const list = el('div', { className: 'cases', role: 'group', 'aria-label': 'Cases' });
  const status = el('p', { role: 'status', className: 'quiet' });
  const edit = el('div', { className: 'row', role: 'group', 'aria-label': 'Editing' });
  const where = el('div', { className: 'where' });
  const proposal = el('div', { className: 'panel proposal' });
  let current: PageCase | undefined;
  let session: Session | undefined;
  let shownProposal: File | undefined;
  let isHidden = false;
  let said = '';
  let turn: Promise<void> = Promise.resolve();

  const slider = el('input', { type: 'range', min: '0', step: '1', 'aria-label': 'Slice' });
  slider.addEventListener('input', () => board.goTo({ axis: board.slice.axis, index: slider.valueAsNumber }));
  const sliceText = el('span', { className: 'slice-text' });
  const ticks = el('div', { className: 'ticks', 'aria-hidden': 'true' });
  const complete = el('input', { type: 'checkbox' });
  complete.addEventListener('change', () => session?.markSlice(board.slice, complete.checked));
  complete.addEventListener('change', update);
  const whole = el('input', { type: 'checkbox' });
  whole.addEventListener('change', () => session?.markWhole(whole.checked));
  whole.addEventListener('change', update);

  /** Opens a case after the one that is being opened; of several, the last. */
  async function choose(item: PageCase, goTo?: () => void): Promise<void> {
    if (item.id === current?.id && !goTo && said === '') return turn;
    current = item;
    drawList();
    turn = turn
      .catch(() => undefined)
      .then(async () => {
        if (current !== item || lookup.signal.aborted) return;
        session?.close();
        session = undefined;
        shownProposal = undefined;
        status.textContent = `Opening ${item.id}`;
        try {
          session = await Session.open(board, item);
          said = '';
        } catch (error) {
          said = `${item.id} cannot be drawn on: ${messageOf(error)}`;
        }
        if (lookup.signal.aborted) return session?.close();
        if (session) {
          board.names = classNames(classCount());
          goTo?.();
        }
        update();
        if (session && obstacle() === '' && !isDone(item)) void propose([item]);
      });
    return turn;
  }

  /** Tells what has been done, or why not. */
  async function act(action: (session: Session) => unknown): Promise<void> {
    if (!session) return;
    said = '';
    try {
      const text = await action(session);
      if (typeof text === 'string') said = text;
    } catch (error) {
      said = `${messageOf(error).replace(/^./, (first) => first.toUpperCase())}.`;
    }
    update();
  }

  const interpolate = (): Promise<void> =>
    act((it) => {
      const count = it.interpolate(board.slice.axis);
      return count === 0
        ? 'There are no two drawn slices with empty ones between them that show the same class.'
        : `${counted(count, 'slice')} filled between drawn ones. Look at them; they count as drawn.`;
    });
  const acceptSlice = (): Promise<void> => accept({ slice: board.slice });

  /** Accepts what is proposed for the case at hand, unless that has gone meanwhile. */
  async function accept(what: Acceptance): Promise<void> {
    const file = current && state.predictions.get(current.images);
    if (!file) return;
    await act(async (it) => {
      const { data } = await readVolume(file);
      if (it === session && state.predictions.get(it.item.images) === file) it.accept(data, what);
    });
  }

  async function beginWithLabel(): Promise<void> {
    const label = current?.label;
    if (label)
      await act(async (it) => {
        const { data } = await readVolume(label);
        if (it === session) it.take(data, state.ignoreLabel);
      });
  }

  function toDrawn(step: 1 | -1): void {
    const { axis, index } = board.slice;
    const slices = session?.drawnSlices(axis) ?? [];
    const next = step === 1 ? slices.find((at) => at > index) : slices.findLast((at) => at < index);
    if (next !== undefined) board.goTo({ axis, index: next });
  }

  function hide(): void {
    isHidden = !isHidden;
    board.opacity = isHidden ? 0 : opacity.valueAsNumber;
  }

  async function save(): Promise<void> {
    if (!current) return;
    const name = `${current.id}_annotation.nii.gz`;
    const drawing = knownDrawing(current);
    if (drawing) download(name, await labelFile(current, drawing, unknownVoxel, name));
  }

  function drawList(): void {
    const order = state.model ? worthAnnotating() : [];
    const next = order.find((item) => doubtOf(item) !== undefined);
    fill(
      list,
      state.cases.map((item) =>
        el(
          'button',
          {
            type: 'button',
            title: item.id,
            'aria-current': String(item.id === current?.id),
            onclick: () => void choose(item),
          },
          el('span', {}, item.id),
          el('small', {}, standing(item), item === next && ' · least sure'),
        ),
      ),
    );
  }

  /** The line about the slice; called with every movement. */
  function updateWhere(): void {
    if (!session) return;
    const { axis, index } = board.slice;
    const count = session.shape[axis];
    slider.max = String(count - 1);
    slider.value = String(index);
    complete.checked = session.isComplete({ axis, index });
    complete.disabled = session.isWhole;
    whole.checked = session.isWhole;
    sliceText.textContent = `Slice ${index + 1} of ${count}`;
    ticks.style.setProperty('--at', String((index + 0.5) / count));
  }

  /** Which slices are drawn, and complete. */
  function updateTicks(): void {
    if (!session) return;
    const { axis } = board.slice;
    const count = session.shape[axis];
    const drawn = new Set(session.drawnSlices(axis));
    const marks = Array.from({ length: count }, (_, index) =>
      session!.isComplete({ axis, index }) ? 'complete' : drawn.has(index) ? 'drawn' : '',
    );
    fill(
      ticks,
      marks.map((className) => el('i', { className })),
    );
    const done = marks.filter((mark) => mark === 'complete').length;
    status.textContent =
      said ||
      (session.isWhole
        ? 'The whole case is complete: what is not drawn is background.'
        : drawn.size + done === 0
          ? 'Nothing is drawn here yet. Draw some slices, and mark those as complete in which nothing is missing.'
          : `${counted(drawn.size, 'slice')} drawn in this plane, ${done} complete. What is not drawn is unknown, but background in complete slices.`);
  }

  function updateProposal(): void {
    const file = current && state.predictions.get(current.images);
    if (session && file !== shownProposal) {
      shownProposal = file;
      void board.propose(file).catch((error: unknown) => {
        said = messageOf(error);
        updateTicks();
      });
    }
    const { value } = tools;
    const name = value === 0 ? undefined : classNames(classCount())[value];
    fill(
      proposal,
      proposalPanel(current, name, {
        acceptSlice,
        acceptClass: () => accept({ slice: board.slice, value }),
        acceptAll: () => accept({}),
        goTo: (item, doubt) =>
          choose(item, doubt && (() => board.goToVoxel(session!.toDisplay(doubt.voxel)))),
      }),
    );
  }

  function update(): void {
    tools.element.inert = !session;
    fill(
      edit,
      button('Undo', () => act((it) => it.undo()), { disabled: !session?.canUndo, title: 'Ctrl Z' }),
      button('Redo', () => act((it) => it.redo()), { disabled: !session?.canRedo, title: 'Ctrl Shift Z' }),
      button('Fill between slices', interpolate, {
        disabled: !session || session.isEmpty,
        title: 'Shapes between drawn slices (I)',
      }),
      button('Grow to edges', () => act((it) => it.grow(board.slice.axis)), {
        disabled: !session || session.isEmpty,
        title: 'Grows strokes of classes and background to the edges in the image (GrowCut)',
      }),
      current?.label && session?.isEmpty && button('Begin with its label file', beginWithLabel),
      button('Save as NIfTI', save, { disabled: !current || !knownDrawing(current) }),
    );
    if (session) {
      updateWhere();
      updateTicks();
    } else status.textContent = said;
    updateProposal();
    drawList();
  }

  const opacity = el('input', {
    type: 'range',
    min: '0',
    max: '1',
    step: '0.05',
    value: String(board.opacity),
  });
  opacity.addEventListener('input', () => (board.opacity = opacity.valueAsNumber));

  fill(
    where,
    el(
      'div',
      { className: 'row' },
      el(
        'label',
        { className: 'inline' },
        'Plane ',
        select(
          boardPlanes.map((plane) => [plane, planeNames[plane]] as const),
          board.plane,
          (plane) => {
            board.plane = plane as BoardPlane;
            update();
          },
        ),
      ),
      button('‹ drawn', () => toDrawn(-1), {
        title: 'Previous drawn slice (P)',
        'aria-label': 'Previous drawn slice',
      }),
      sliceText,
      button('drawn ›', () => toDrawn(1), {
        title: 'Next drawn slice (N)',
        'aria-label': 'Next drawn slice',
      }),
      el('label', { className: 'inline' }, complete, 'This slice is complete'),
      el('label', { className: 'inline' }, whole, 'The whole case is complete'),
      el('label', { className: 'inline' }, 'Opacity ', opacity),
    ),
    el('div', { className: 'slider' }, slider, ticks),
  );

  const shortcuts = el(
    'details',
    {},
    el('summary', {}, 'Keys'),
    el(
      'dl',
      { className: 'keys' },
      keys.map(([key, what]) => [el('dt', {}, el('kbd', {}, key)), el('dd', {}, what)]),
    ),
  );

  const page = el(
    'div',
    { className: 'see annotate' },
    list,
    el(
      'div',
      { className: 'grow' },
      edit,
      el('div', { className: 'desk' }, tools.element, el('div', { className: 'grow' }, board.element, where)),
      status,
      shortcuts,
      el('div', { className: 'columns' }, proposal, training.element),
    ),
  );

  const commands: Record<string, () => unknown> = {
    arrowup: () => board.goTo({ axis: board.slice.axis, index: board.slice.index + 1 }),
    arrowdown: () => board.goTo({ axis: board.slice.axis, index: board.slice.index - 1 }),
    n: () => toDrawn(1),
    p: () => toDrawn(-1),
    i: interpolate,
    a: acceptSlice,
    h: hide,
    c: () => act((it) => it.markSlice(board.slice, !it.isComplete(board.slice))),
  };
  // Before NiiVue, whose keys are others.
  const onKey = (event: KeyboardEvent): void => {
    const { target } = event;
    if (!session || event.altKey || document.querySelector('dialog[open]')) return;
    const key = event.key.toLowerCase();
    const own = key.startsWith('arrow')
      ? 'input, select, [role="tab"]'
      : 'input:not([type="range"], [type="checkbox"]), select';
    if (target instanceof Element && target.matches(own)) return; // it has that key itself
    const isStep = event.ctrlKey || event.metaKey;
    const command = isStep
      ? key === 'z'
        ? () => act((it) => (event.shiftKey ? it.redo() : it.undo()))
        : key === 'y'
          ? () => act((it) => it.redo())
          : undefined
      : commands[key];
    if (command) void attempt('This', command);
    else if (isStep || !tools.press(key)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  addEventListener('keydown', onKey, true);

  board.onStroke = () => {
    if (!session?.step()) return;
    said = '';
    update();
  };
  board.onMove = updateWhere;
  board.onFill = (seed) => void act((it) => it.fill(board.slice.axis, seed, tools.value));

  let names = state.labels;
  const stopListening = onChange(() => {
    if (names !== state.labels) {
      names = state.labels;
      board.names = classNames(classCount());
      tools.update();
    }
    updateProposal();
    drawList();
  });
  update();
  const first = worthAnnotating()[0] ?? state.cases[0]!;
  void choose(first);
  void attempt('Find drawings', () => lookForDrawings(lookup.signal));
  return {
    element: page,
    dispose() {
      lookup.abort();
      stopProposing();
      stopListening();
      removeEventListener('keydown', onKey, true);
      session?.close();
      session = undefined;
      training.dispose();
      board.dispose();
      void attempt('Take over what was drawn', () => apply(take).then(changed));
    },
  };
}
