/** Keys on the drawing board: which are the page's, and which NiiVue hears. Without a browser. */
import { parseHTML } from 'linkedom';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { listenToKeys } from '../../examples/browser/src/annotate/keyboard.ts';

const { document, HTMLCanvasElement, Element } = parseHTML(
  '<!doctype html><html><body><canvas></canvas><button></button></body></html>',
);
let hear: (event: object) => void;
const accept = vi.fn();

beforeEach(() => {
  vi.stubGlobal('document', document);
  vi.stubGlobal('HTMLCanvasElement', HTMLCanvasElement);
  vi.stubGlobal('Element', Element);
  vi.stubGlobal('addEventListener', (_: string, listener: typeof hear) => (hear = listener));
  const none = (): void => undefined;
  const isOpen = (): boolean => true;
  listenToKeys({ commands: { a: accept }, undo: none, redo: none, isOpen, press: (key) => key === '1' });
});
afterEach(() => vi.unstubAllGlobals());

/** Who hears of a key that is pressed there: NiiVue, or others that listen further in, and the browser. */
function pressed(selector: string, key: string, modifiers: object = {}) {
  const event = { stopPropagation: vi.fn(), preventDefault: vi.fn() };
  hear({ key, target: document.querySelector(selector), ...modifiers, ...event });
  return {
    inside: event.stopPropagation.mock.calls.length === 0,
    browser: event.preventDefault.mock.calls.length === 0,
  };
}

test('no key that is pressed on the picture reaches NiiVue; the browser has those that mean nothing here', () => {
  for (const key of ['m', 'j', 'k', 'l', 'h', 'v', 'c', 'p', '?', 'ArrowLeft', 'ArrowRight', 'Tab'])
    expect(pressed('canvas', key), key).toEqual({ inside: false, browser: true });
  expect(pressed('canvas', 'u', { ctrlKey: true })).toEqual({ inside: false, browser: true });
  expect(accept).not.toHaveBeenCalled();
  for (const key of ['a', '1']) expect(pressed('canvas', key)).toEqual({ inside: false, browser: false });
  expect(accept).toHaveBeenCalledOnce();
  expect(pressed('button', 'm')).toEqual({ inside: true, browser: true });
});
