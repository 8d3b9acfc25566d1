/** From annotations to a network and back: what training is given, and how much better it gets. */
import type { Case } from 'unet3d-gpu/worker';
import { beginWith, givenNetwork, openStart } from '../beginning.ts';
import { button, columnHeads, counted, digits, el, lengthy, refill, unlessAborted } from '../dom.ts';
import type { RunRecord } from '../kept/database.ts';
import { keptData, keptRuns, onRunsChange } from '../kept/runs.ts';
import { inTraining, onChange, state, type Images, type PageCase } from '../state.ts';
import { begin, closeRun } from '../run-at-hand.ts';
import type { View } from '../view.ts';
import { knownDrawing } from './annotations.ts';
import { filesOf } from './kept-drawings.ts';
import { apply, findDrawings, type TakeLabels } from './labels.ts';

/** Held-back cases from which on a mean says something about other cases. */
const enough = 3;
/** Trainings that are listed. */
const mostRuns = 8;

const isAnnotated = (item: PageCase): boolean => knownDrawing(item) !== undefined || item.label !== undefined;

const casesOf = ({ cases }: RunRecord, part: 'train' | 'validation'): string[] =>
  cases.filter((item) => item.part === part).map(({ id }) => id);

/** What the Dice of the last training is worth, the newest first. */
export function verdict(runs: readonly RunRecord[]): string {
  const [last, before] = runs;
  if (!last) return '';
  const held = casesOf(last, 'validation');
  if (held.length === 0)
    return 'No annotated case is held back, so nothing tells how good this network is. Annotate a second case: of several, a fifth is held back.';
  if (held.length < enough)
    return `Dice on ${held.length === 1 ? 'one held-back case is' : `${held.length} held-back cases is`} too few to tell whether a network is better than another: from ${enough} on it says something. Set more of the annotated cases to validation under "Data".`;
  const trainedOn = new Set(runs.flatMap((run) => casesOf(run, 'train')));
  const seen = held.filter((id) => trainedOn.has(id)).length;
  if (seen > 0)
    return `${seen} of the ${held.length} held-back cases ${seen === 1 ? 'was' : 'were'} trained on in another of these trainings: a network that goes on from it knows ${seen === 1 ? 'it' : 'them'}, and its Dice is too high.`;
  if (before && casesOf(before, 'validation').join() !== held.join())
    return 'The last two trainings were measured on different held-back cases: their Dice cannot be compared.';
  return `Dice is the mean over classes on ${held.length} held-back cases, which none of these trainings was trained on. The epoch that is kept is the one that does best on them: expect a little less on new cases. Trainings before and after their labels were corrected cannot be compared.`;
}

function table(runs: readonly RunRecord[]): HTMLElement {
  return el(
    'div',
    { className: 'scroll' },
    el(
      'table',
      {},
      el('caption', {}, 'Trainings on these cases, the newest first'),
      columnHeads(['Training', 'Trained on', 'Held back', 'Dice of held back']),
      el(
        'tbody',
        {},
        runs.map((run) =>
          el(
            'tr',
            {},
            el('th', { scope: 'row' }, run.name),
            el('td', {}, casesOf(run, 'train').length),
            el('td', {}, casesOf(run, 'validation').length),
            el('td', {}, digits(run.best?.dice)),
          ),
        ),
      ),
    ),
  );
}

/** What tells the files of a case from those of others with its name. */
const keyOf = ({ id, images }: Case): string =>
  [id, ...filesOf(images as Images).map(({ name, size }) => `${name} ${size}`)].join('\n');

/** @param open shows another view */
export function rounds(take: TakeLabels, open: (view: 'Train' | 'Use') => void): View {
  const body = el('section', { className: 'panel', 'aria-label': 'Training on annotations' });
  let runs: RunRecord[] = [];

  async function train(signal: AbortSignal): Promise<void> {
    await unlessAborted(apply(take), signal);
    if (state.run?.phase === 'done') closeRun();
    open('Train');
  }

  /** Another training from the weights that the open model has now. */
  async function goOn(signal: AbortSignal): Promise<void> {
    await unlessAborted(findDrawings(take), signal);
    await beginWith({ heads: 'auto' });
    const training = begin(await unlessAborted(givenNetwork(), signal));
    open('Train');
    await training;
  }

  function draw(): void {
    const count = state.cases.filter(isAnnotated).length;
    const start = openStart();
    const goesOn = typeof start === 'object' && count > 0;
    const isBusy = inTraining();
    const shows = [
      count,
      goesOn,
      state.modelName,
      isBusy,
      ...runs.map(({ id, name, best }) => `${id} ${name} ${best?.dice}`),
    ];
    refill(body, shows.join('\n'), () => [
      el('h3', {}, 'Train, then correct'),
      el(
        'p',
        { className: 'quiet' },
        count === 0
          ? 'Draw a few slices in a few cases first. Every fifth annotated case or so is held back to measure the network.'
          : 'Voxels of which nothing is said count in no loss and no figure.',
      ),
      el(
        'p',
        { className: 'row' },
        isBusy ? button('See the training', () => open('Train')) : starters(count, goesOn),
      ),
      typeof start === 'string' &&
        el('p', { className: 'quiet' }, `No training can begin with ${state.modelName}: ${start}.`),
      runs.length > 0 && table(runs),
      runs.length > 0 && el('p', {}, verdict(runs)),
    ]);
  }

  const starters = (count: number, goesOn: boolean): (HTMLElement | false)[] => [
    goesOn && lengthy('Go on training from the present network', goOn, { className: 'primary' }),
    lengthy(count === 0 ? 'Train' : `Train on ${counted(count, 'annotated case')}`, train, {
      className: goesOn || count === 0 ? '' : 'primary',
      disabled: count === 0,
    }),
  ];

  async function refresh(): Promise<void> {
    const here = new Set(state.cases.map(keyOf));
    const found: RunRecord[] = [];
    const kept = await keptRuns().catch(() => []); // "Models" says why
    for (const run of kept) {
      if (!run.finished || found.length === mostRuns) continue;
      const cases = (await keptData(run.data))?.cases.filter(({ id }) =>
        run.cases.some((its) => its.id === id),
      );
      if (cases?.every((item) => here.has(keyOf(item)))) found.push(run);
    }
    runs = found;
    draw();
  }

  const stops = [onChange(draw), onRunsChange(() => void refresh())];
  draw();
  void refresh();
  return { element: body, dispose: () => stops.forEach((stop) => stop()) };
}
