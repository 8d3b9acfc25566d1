/** What the network proposes for the case at hand, and which case is worth looking at next. */
import { button, counted, el, lengthy, refill } from '../dom.ts';
import { state, type PageCase } from '../state.ts';
import { isDone } from './annotations.ts';
import {
  acceptable,
  doubtOf,
  obstacle,
  propose,
  proposing,
  stopProposing,
  worthAnnotating,
  type Doubt,
} from './proposing.ts';

export interface ProposalActions {
  acceptSlice(): Promise<void>;
  /** Of the class that is drawn with, in this slice. */
  acceptClass(): Promise<void>;
  acceptAll(signal: AbortSignal): Promise<void>;
  /** Opens a case, where the network is least sure if that is known. */
  goTo(item: PageCase, doubt: Doubt | undefined): Promise<void>;
}

export interface ProposalPanel {
  readonly element: HTMLElement;
  /** @param name of the class that is drawn with, undefined for background */
  update(current: PageCase | undefined, name: string | undefined): void;
}

const withoutProposal = (): PageCase[] =>
  state.cases.filter((item) => !isDone(item) && !state.predictions.has(item.images));

export function proposalPanel(actions: ProposalActions): ProposalPanel {
  const status = el('span');
  const work = el('p', {}, status, button('Stop', stopProposing));
  const body = el('div');
  const acceptance = (name: string | undefined): HTMLElement[] => [
    el(
      'div',
      { className: 'row' },
      button('Accept in this slice', () => actions.acceptSlice(), {
        title: 'Where nothing is drawn; the slice is complete then (A)',
      }),
      name !== undefined && button(`Accept ${name} only, in this slice`, () => actions.acceptClass()),
      lengthy('Accept all of it', (signal) => actions.acceptAll(signal), {
        title: 'Where nothing is drawn; the case is complete then',
      }),
    ),
    el('p', { className: 'quiet' }, 'Fainter than what is drawn. What you have drawn stays.'),
  ];

  function update(current: PageCase | undefined, name: string | undefined): void {
    const isAtWork = proposing.status !== '';
    status.textContent = proposing.status;
    work.className = isAtWork ? 'row' : 'hidden';
    const canAccept = current !== undefined && acceptable(current) !== undefined;
    const hurdle = obstacle();
    const open = state.cases.filter((item) => !isDone(item));
    const missing = withoutProposal();
    const next = worthAnnotating().find(({ images }) => images !== current?.images);
    const doubt = next && doubtOf(next);
    const isIdle = hurdle === '' && !isAtWork;
    const what =
      missing.length === open.length
        ? `Propose for ${counted(open.length, 'case')}`
        : `Propose for ${missing.length} more`;
    const where = next && (doubt ? `Next: ${next.id}, where the network is least sure` : `Next: ${next.id}`);
    const shows = [canAccept, name, hurdle, proposing.problem, isIdle, what, where];
    refill(body, shows.join('\n'), () => [
      proposing.problem !== '' && el('p', { className: 'error' }, proposing.problem),
      hurdle !== '' && el('p', { className: 'quiet' }, hurdle),
      canAccept && acceptance(name),
      isIdle &&
        el(
          'div',
          { className: 'row' },
          missing.length > 0 && button(what, () => propose(withoutProposal())),
          next && button(where!, () => actions.goTo(next, doubtOf(next))),
        ),
    ]);
  }

  const heading = el('h3', {}, 'Proposals of the network');
  return { element: el('div', { className: 'panel proposal' }, heading, work, body), update };
}
