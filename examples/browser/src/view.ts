/** What is shown under a tab. */
import { el, fill } from './dom.ts';
import { onChange, state } from './state.ts';

export interface View {
  readonly element: HTMLElement;
  /** Ends its listening and frees what it has; it is not shown again. */
  dispose(): void;
}

/** A view of the cases of the page; until there are some, a word on how to get there. */
export function viewOfCases(hint: string, make: () => View): View {
  const element = el('div', {}, el('p', { className: 'empty' }, hint));
  let view: View | undefined;
  const update = (): void => {
    if (view || state.cases.length === 0) return;
    view = make();
    fill(element, view.element);
  };
  const stopListening = onChange(update);
  update();
  return {
    element,
    dispose() {
      stopListening();
      view?.dispose();
    },
  };
}
