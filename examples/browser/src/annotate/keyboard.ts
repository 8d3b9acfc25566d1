/** The keys of the view, in place of NiiVue's, and after those of the control with the focus. */
import { attempt } from '../dom.ts';

export interface KeyActions {
  /** By key in lower case. */
  readonly commands: Readonly<Record<string, () => unknown>>;
  readonly undo: () => unknown;
  readonly redo: () => unknown;
  /** Whether keys mean something now. */
  readonly isOpen: () => boolean;
  /** Whether a key that is no command chose a tool or a class. */
  readonly press: (key: string) => boolean;
}

/** Listens to keys; returns how to stop that. */
export function listenToKeys({ commands, undo, redo, isOpen, press }: KeyActions): () => void {
  const commandOf = (event: KeyboardEvent, key: string): (() => unknown) | undefined => {
    if (!event.ctrlKey && !event.metaKey) return commands[key];
    if (key === 'z') return event.shiftKey ? redo : undo;
    return key === 'y' ? redo : undefined;
  };
  const onKey = (event: KeyboardEvent): void => {
    const { target } = event;
    if (!isOpen() || event.altKey || document.querySelector('dialog[open]')) return;
    const key = event.key.toLowerCase();
    const own = key.startsWith('arrow')
      ? 'input, select, [role="tab"]'
      : 'input:not([type="range"], [type="checkbox"]), select';
    if (target instanceof Element && target.matches(own)) return; // it has that key itself
    // NiiVue's own would change the picture behind the page's back: other volumes, other ways of dragging.
    if (target instanceof HTMLCanvasElement) event.stopPropagation();
    const command = commandOf(event, key);
    if (command) void attempt('This', command);
    else if (event.ctrlKey || event.metaKey || !press(key)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  addEventListener('keydown', onKey, true);
  return () => removeEventListener('keydown', onKey, true);
}
