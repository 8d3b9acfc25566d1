/** What the network proposes for the case at hand, and which case is worth looking at next. */
import { button, counted, el } from '../dom.ts';
import { state, type PageCase } from '../state.ts';
import { isDone } from './annotations.ts';
import {
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
  acceptAll(): Promise<void>;
  /** Opens a case, where the network is least sure if that is known. */
  goTo(item: PageCase, doubt: Doubt | undefined): Promise<void>;
}

/** @param name of the class that is drawn with, undefined for background */
export function proposalPanel(
  current: PageCase | undefined,
  name: string | undefined,
  actions: ProposalActions,
): (HTMLElement | false)[] {
  const hasProposal = current !== undefined && state.predictions.has(current.images);
  const hurdle = obstacle();
  const open = state.cases.filter((item) => !isDone(item));
  const missing = open.filter(({ images }) => !state.predictions.has(images));
  const [next] = worthAnnotating().filter(({ images }) => images !== current?.images);
  const doubt = next && doubtOf(next);
  return [
    el('h3', {}, 'Proposals of the network'),
    proposing.status !== '' && el('p', { className: 'row' }, proposing.status, button('Stop', stopProposing)),
    proposing.problem !== '' && el('p', { className: 'error' }, proposing.problem),
    hurdle !== '' && el('p', { className: 'quiet' }, hurdle),
    hasProposal &&
      el(
        'div',
        { className: 'row' },
        button('Accept in this slice', () => actions.acceptSlice(), {
          title: 'Where nothing is drawn; the slice is complete then (A)',
        }),
        name !== undefined && button(`Accept ${name} only, in this slice`, () => actions.acceptClass()),
        button('Accept all of it', () => actions.acceptAll(), {
          title: 'Where nothing is drawn; the case is complete then',
        }),
      ),
    hasProposal && el('p', { className: 'quiet' }, 'Fainter than what is drawn. What you have drawn stays.'),
    hurdle === '' &&
      proposing.status === '' &&
      el(
        'div',
        { className: 'row' },
        missing.length > 0 &&
          button(
            missing.length === open.length
              ? `Propose for ${counted(open.length, 'case')}`
              : `Propose for ${missing.length} more`,
            () => propose(missing),
          ),
        next &&
          button(doubt ? `Next: ${next.id}, where the network is least sure` : `Next: ${next.id}`, () =>
            actions.goTo(next, doubt),
          ),
      ),
  ];
}
