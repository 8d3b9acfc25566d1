/** A question that has to be answered before anything goes on. */
import { el } from './dom.ts';

/**
 * Asks in a dialog; undefined if it is closed without an answer.
 * @param answers the first is what Enter gives
 */
export function ask<T extends string>(
  question: string,
  answers: readonly (readonly [value: T, text: string])[],
  explanation = '',
): Promise<T | undefined> {
  return new Promise((resolve) => {
    const dialog: HTMLDialogElement = el(
      'dialog',
      { 'aria-label': question },
      el('h2', {}, question),
      explanation !== '' && el('p', {}, explanation),
      el(
        'div',
        { className: 'row' },
        answers.map(([value, text], index) =>
          el(
            'button',
            {
              type: 'button',
              className: index === 0 ? 'primary' : '',
              onclick: () => {
                resolve(value);
                dialog.close();
              },
            },
            text,
          ),
        ),
        el('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'),
      ),
    );
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(undefined); // unless an answer was given
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
