/** Annotate: draw what is to be learnt, and correct what the network makes of it. */
import { ask } from '../ask.ts';
import {
  attempt,
  BusyLine,
  button,
  counted,
  download,
  el,
  lengthy,
  messageOf,
  refill,
  unlessAborted,
} from '../dom.ts';
import { classCount } from '../planning.ts';
import { changed, classNames, onChange, state, type PageCase } from '../state.ts';
import { viewOfCases, type View } from '../view.ts';
import {
  foundDrawing,
  isDone,
  keepUnsaved,
  knownDrawing,
  labelFile,
  lookForDrawings,
} from './annotations.ts';
import { Board } from './board.ts';
import { caseList } from './case-list.ts';
import { unknownVoxel, type Acceptance } from './drawing.ts';
import type { DrawingRecord } from './kept-drawings.ts';
import { listenToKeys } from './keyboard.ts';
import { apply, type TakeLabels } from './labels.ts';
import { acceptable, obstacle, propose, stopProposing, worthAnnotating } from './proposing.ts';
import { proposalPanel } from './proposal-panel.ts';
import { rounds } from './rounds.ts';
import { DamagedDrawing, discardDrawing, Session, written } from './session.ts';
import { sliceBar } from './slice-bar.ts';
import { keys, toolbar } from './toolbar.ts';

type Open = (view: 'Data' | 'Train' | 'Use') => void;

/**
 * @param take makes drawings the labels of their cases
 * @param open shows another view
 */
export const annotateView = (take: TakeLabels, open: Open): View =>
  viewOfCases('There is nothing to draw on yet. Add scans, which need no labels, under "Data".', () =>
    casesView(take, open),
  );

function casesView(take: TakeLabels, open: Open): View {
  const board = new Board();
  const tools = toolbar(board);
  const lookup = new AbortController();
  const training = rounds(take, open);
  const list = caseList((item) => void choose(item));
  const status = el('p', { role: 'status', className: 'quiet' });
  const busy = new BusyLine();
  const edit = el('div', { className: 'row', role: 'group', 'aria-label': 'Editing' });
  const bar = sliceBar(board, () => session, update);
  const proposal = proposalPanel({
    acceptSlice,
    acceptClass: () => accept({ slice: board.slice, value: tools.value }),
    acceptAll: (signal) => accept({}, signal),
    goTo: (item, doubt) => choose(item, doubt && (() => board.goToVoxel(session!.toDisplay(doubt.voxel)))),
  });
  let current: PageCase | undefined;
  let session: Session | undefined;
  /** What is kept of the case at hand, where that cannot be opened. */
  let damaged: DrawingRecord | undefined;
  let shownProposal: File | undefined;
  let said = '';
  let turn: Promise<void> = Promise.resolve();

  /** Opens a case after the one that is being opened; of several, the last. */
  async function choose(item: PageCase, goTo?: () => void): Promise<void> {
    if (item.images === current?.images && !goTo && (session || said === '')) return turn;
    current = item;
    list.update(current);
    busy.stop();
    turn = turn.catch(() => undefined).then(() => show(item, goTo));
    return turn;
  }

  async function show(item: PageCase, goTo?: () => void): Promise<void> {
    if (current?.images !== item.images || lookup.signal.aborted) return;
    const before = session;
    session = undefined;
    tools.element.inert = true;
    await before?.close();
    if (current?.images !== item.images || lookup.signal.aborted) return;
    damaged = undefined;
    shownProposal = undefined;
    said = '';
    status.textContent = '';
    try {
      session = await busy.during(
        `Opening ${item.id}`,
        (signal) => Session.open(board, item, signal),
        () => (said = `${item.id} was not opened: choose it again to open it.`),
      );
    } catch (error) {
      if (error instanceof DamagedDrawing) damaged = error.record;
      said = `${item.id} cannot be drawn on: ${messageOf(error)}`;
    }
    if (lookup.signal.aborted) return session?.close();
    if (session) {
      board.names = classNames(classCount());
      goTo?.();
    }
    update();
    if (session && obstacle() === '' && !isDone(item)) void propose([item]);
  }

  /** Tells what has been done, or why not; while something takes its time, nothing else is done. */
  async function act(action: (session: Session) => unknown, signal?: AbortSignal): Promise<void> {
    const its = session;
    if (!its || its.isBusy) return;
    said = '';
    let text: unknown;
    try {
      text = await action(its);
    } catch (error) {
      if (!signal?.aborted) text = `${messageOf(error).replace(/^./, (first) => first.toUpperCase())}.`;
    }
    if (its !== session) return; // what is said is of another case
    if (typeof text === 'string') said = text;
    update();
  }

  /** As `act`, of what may take its time: that is told, and can be cancelled, and then nothing has changed. */
  const lengthily = (
    what: string,
    action: (session: Session, signal: AbortSignal) => Promise<unknown>,
  ): Promise<void> =>
    act((its) =>
      busy.during(
        `${what} ${its.item.id}`,
        (signal) => action(its, signal),
        () => (said = 'That was cancelled: the drawing is as it was.'),
      ),
    );

  const interpolate = (): Promise<void> =>
    lengthily('Filling between slices of', async (it, signal) => {
      const count = await it.interpolate(board.slice.axis, signal);
      return count === 0
        ? 'There are no two drawn slices with empty ones between them that show the same class.'
        : count && `${counted(count, 'slice')} filled between drawn ones. Look at them; they count as drawn.`;
    });
  const grow = (): Promise<void> =>
    lengthily('Growing to edges in', (it, signal) => it.grow(board.slice, signal));
  const undo = (): Promise<void> => lengthily('Undoing a step in', (it, signal) => it.undo(signal));
  const redo = (): Promise<void> => lengthily('Redoing a step in', (it, signal) => it.redo(signal));

  function acceptSlice(): Promise<void> {
    return accept({ slice: board.slice });
  }

  /** Accepts what is proposed for the case at hand, unless that has gone meanwhile. */
  async function accept(what: Acceptance, signal?: AbortSignal): Promise<void> {
    const file = current && acceptable(current);
    if (!file) return;
    await act(async (it) => {
      const labels = await it.labelsOf(file, signal);
      if (it === session && acceptable(it.item) === file) await it.accept(labels, what, signal);
    }, signal);
  }

  async function beginWithLabel(signal: AbortSignal): Promise<void> {
    const label = current?.label;
    if (label)
      await act(async (it) => {
        const made = await it.drawingOf(label, signal);
        if (it === session) await it.take(made, signal);
      }, signal);
  }

  async function beginAnew(): Promise<void> {
    const item = current;
    if (!item || !damaged) return;
    const answer = await ask(
      `Delete the damaged drawing on ${item.id}?`,
      [['delete', 'Delete it and begin a new one']],
      'This browser holds the only copy of it: download it first, if somebody may still read it.',
    );
    if (answer === undefined) return;
    await discardDrawing(item);
    await choose(item);
  }

  async function save(signal: AbortSignal): Promise<void> {
    const item = current;
    if (!item) return;
    await unlessAborted(written(), signal); // the last stroke as well
    const name = `${item.id}_annotation.nii.gz`;
    const drawing = knownDrawing(item);
    if (drawing) download(name, await labelFile(item, drawing, unknownVoxel, name, signal));
  }

  /** What there is to do with a drawing, or with one that cannot be opened. */
  function updateEdit(): void {
    const isEmpty = !session || session.isEmpty;
    const isSaved = !current || !knownDrawing(current);
    const canBegin = current?.label !== undefined && session?.isEmpty === true;
    const { canUndo = false, canRedo = false } = session ?? {};
    const shows = [damaged?.id, canUndo, canRedo, isEmpty, canBegin, isSaved].join();
    refill(edit, shows, () =>
      damaged
        ? [
            button('Download the damaged drawing', () =>
              download(`${current!.id}_drawing.gz`, damaged!.voxels),
            ),
            button('Begin a new one in its place', beginAnew, { className: 'primary' }),
          ]
        : [
            button('Undo', undo, { disabled: !canUndo, title: 'Ctrl Z' }),
            button('Redo', redo, { disabled: !canRedo, title: 'Ctrl Shift Z' }),
            button('Fill between slices', interpolate, {
              disabled: isEmpty,
              title: 'Shapes between drawn slices (I)',
            }),
            button('Grow to edges', grow, {
              disabled: isEmpty,
              title: `Grows strokes of classes and background to the edges in the image${board.isLarge ? ', in this slice' : ''} (GrowCut)`,
            }),
            canBegin && lengthy('Begin with its label file', beginWithLabel),
            lengthy('Save as NIfTI', save, { disabled: isSaved }),
          ],
    );
  }

  function updateStatus(): void {
    const { drawn, complete } = bar.update();
    const first =
      session && session.volumes > 1
        ? ` Shown and drawn on is the first of the ${session.volumes} volumes in its file.`
        : '';
    const standing =
      said ||
      (!session
        ? ''
        : session.isWhole
          ? 'The whole case is complete: what is not drawn is background.'
          : drawn + complete === 0
            ? 'Nothing is drawn here yet. Draw some slices, and mark those as complete in which nothing is missing.'
            : `${counted(drawn, 'slice')} drawn in this plane, ${complete} complete. What is not drawn is unknown, but background in complete slices.`);
    status.textContent = standing + first;
  }

  function updateProposal(): void {
    const file = current && state.predictions.get(current.images);
    if (session && file !== shownProposal) {
      shownProposal = file;
      void board.propose(file).catch((error: unknown) => {
        said = messageOf(error);
        updateStatus();
      });
    }
    const { value } = tools;
    proposal.update(current, value === 0 ? undefined : classNames(classCount())[value]);
  }

  function update(): void {
    tools.element.inert = !session;
    updateEdit();
    updateStatus();
    updateProposal();
    list.update(current);
  }

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
    list.element,
    el(
      'div',
      { className: 'grow' },
      edit,
      el(
        'div',
        { className: 'desk' },
        tools.element,
        el('div', { className: 'grow' }, board.element, bar.element),
      ),
      busy.element,
      status,
      shortcuts,
      el('div', { className: 'columns' }, proposal.element, training.element),
    ),
  );

  const stopKeys = listenToKeys({
    isOpen: () => session !== undefined,
    press: (key) => tools.press(key),
    undo,
    redo,
    commands: {
      arrowup: () => board.goTo({ axis: board.slice.axis, index: board.slice.index + 1 }),
      arrowdown: () => board.goTo({ axis: board.slice.axis, index: board.slice.index - 1 }),
      n: () => bar.toDrawn(1),
      p: () => bar.toDrawn(-1),
      i: interpolate,
      a: acceptSlice,
      h: () => bar.hide(),
      c: () => act((it) => it.markSlice(board.slice, !it.isComplete(board.slice))),
    },
  });

  board.onStroke = () => {
    if (!session?.step()) return;
    said = '';
    update();
  };
  board.onMove = () => bar.move();
  board.onFill = (seed) => void act((it) => it.fill(board.slice.axis, seed, tools.value));

  let names = state.labels;
  const stopListening = onChange(() => {
    if (names !== state.labels) {
      names = state.labels;
      board.names = classNames(classCount());
      tools.update();
      session?.keepNames();
      if (session && foundDrawing(session.item) && !knownDrawing(session.item)) {
        current = undefined;
        void choose(session.item); // which says why it cannot be drawn on
      }
    }
    current = state.cases.find(({ images }) => images === current?.images) ?? current; // it may have another label
    updateEdit();
    updateProposal();
    list.update(current);
  });
  update();
  const first = worthAnnotating()[0] ?? state.cases[0]!;
  void choose(first);
  void attempt('Find drawings', () => lookForDrawings(lookup.signal));
  return {
    element: page,
    dispose() {
      lookup.abort();
      busy.stop();
      stopProposing();
      stopListening();
      stopKeys();
      void session?.close();
      session = undefined;
      training.dispose();
      board.dispose();
      void written().then(keepUnsaved);
      void attempt('Take over what was drawn', () => apply(take).then(changed));
    },
  };
}
