/** The cases of the page, to choose from, with how far each of them is annotated. */
import { counted, el, refill } from '../dom.ts';
import { state, type PageCase } from '../state.ts';
import { knownDrawing } from './annotations.ts';
import { doubtOf, worthAnnotating } from './proposing.ts';

/** What is known of a case, in few words. */
function standing(item: PageCase): string {
  const drawing = knownDrawing(item);
  if (drawing?.marks.whole) return 'complete';
  if (drawing) return `${counted(drawing.drawn, 'slice')} drawn`;
  if (item.label) return 'has a label file';
  return state.predictions.has(item.images) ? 'proposal' : 'nothing yet';
}

export interface CaseList {
  readonly element: HTMLElement;
  update(current: PageCase | undefined): void;
}

export function caseList(choose: (item: PageCase) => void): CaseList {
  const element = el('div', { className: 'cases', role: 'group', 'aria-label': 'Cases' });
  return {
    element,
    update(current) {
      const next = state.model && worthAnnotating().find((item) => doubtOf(item) !== undefined);
      const entries = state.cases.map((item) => ({
        item,
        isCurrent: item.images === current?.images,
        text: standing(item) + (item === next ? ' · least sure' : ''),
      }));
      const shows = entries.map(({ item, isCurrent, text }) => `${item.id} ${isCurrent} ${text}`).join('\n');
      refill(element, shows, () =>
        entries.map(({ item, isCurrent, text }) =>
          el(
            'button',
            {
              type: 'button',
              title: item.id,
              'aria-current': String(isCurrent),
              onclick: () => choose(state.cases.find(({ images }) => images === item.images) ?? item),
            },
            el('span', {}, item.id),
            el('small', {}, text),
          ),
        ),
      );
    },
  };
}
