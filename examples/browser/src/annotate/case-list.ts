/** The cases of the page, to choose from, with how far each of them is annotated. */
import { CaseButtons } from '../case-buttons.ts';
import { counted } from '../dom.ts';
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
  const buttons = new CaseButtons(choose);
  return {
    element: buttons.element,
    update(current) {
      const next = state.model && worthAnnotating().find((item) => doubtOf(item) !== undefined);
      buttons.update(current, (item) => standing(item) + (item === next ? ' · least sure' : ''));
    },
  };
}
