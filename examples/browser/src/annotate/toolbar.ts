/** What one draws with: tools, classes with their colours and names, and the keys for all of it. */
import { classColor, cssColor } from 'unet3d-gpu/worker';
import { button, el, fill, number, swatch } from '../dom.ts';
import { nameClasses } from '../labelled-cases.ts';
import { classCount } from '../planning.ts';
import { changed, classNames, state } from '../state.ts';
import { tools, type Board, type Tool } from './board.ts';
import { drawnBackground } from './drawing.ts';

const toolNames: Record<Tool, readonly [name: string, key: string, title: string]> = {
  pen: ['Pen', 'B', 'Draws where the mouse is dragged'],
  outline: ['Outline, filled', 'O', 'Draws an outline and fills what is inside'],
  fill: ['Fill', 'F', 'Fills the area under the mouse up to what is drawn'],
  eraser: ['Eraser', 'E', 'Makes voxels unknown again'],
};

export const keys: readonly (readonly [key: string, what: string])[] = [
  ...tools.map((tool) => [toolNames[tool][1], toolNames[tool][0].toLowerCase()] as const),
  ['0', 'draw background'],
  ['1 – 9', 'draw a class'],
  ['[ and ]', 'pen width'],
  ['↑ and ↓', 'next and previous slice'],
  ['N and P', 'next and previous drawn slice'],
  ['Ctrl Z', 'undo'],
  ['Ctrl Shift Z', 'redo'],
  ['I', 'fill slices between drawn ones'],
  ['C', 'this slice is complete, or not'],
  ['A', 'accept the proposal in this slice'],
  ['H', 'hide and show what is drawn'],
];

export interface Toolbar {
  readonly element: HTMLElement;
  /** Draws it anew, as when classes have changed. */
  update(): void;
  /** Whether the key chose something. */
  press(key: string): boolean;
  readonly value: number;
}

export function toolbar(board: Board): Toolbar {
  const element = el('div', { className: 'tools' });
  let tool: Tool = 'pen';
  let value = 1;

  function use(nextTool: Tool, nextValue: number): void {
    tool = nextTool;
    value = nextValue;
    board.use(tool, value);
    update();
    changed();
    board.focus();
  }

  function addClass(): void {
    const names = classNames(classCount());
    if (names.length === state.ignoreLabel || names.length >= drawnBackground)
      throw new Error(`the value ${names.length} means something else in these labels`);
    nameClasses([...names, `class ${names.length}`]);
    board.names = state.labels;
    use('pen', names.length);
    element.querySelector<HTMLInputElement>(`input[data-value="${names.length}"]`)?.select();
  }

  function rename(at: number, name: string): void {
    nameClasses(
      classNames(classCount()).map((before, index) => (index === at ? name.trim() || before : before)),
    );
    board.names = state.labels;
    update();
  }

  function classRow(name: string, at: number): HTMLElement {
    const chosen = at === value && tool !== 'eraser';
    const seen = el('input', { type: 'checkbox', checked: board.isVisible(at), title: 'Shown' });
    seen.setAttribute('aria-label', `Show ${name}`);
    seen.addEventListener('change', () => board.setVisible(at, seen.checked));
    const input = el('input', { type: 'text', value: name, 'aria-label': `Name of class ${at}` });
    input.dataset['value'] = String(at);
    input.addEventListener('change', () => rename(at, input.value));
    const pick = button('', () => use(tool === 'eraser' ? 'pen' : tool, at), {
      'aria-pressed': String(chosen),
      'aria-label': `Draw ${name}`,
      title: `Draw ${name} (${at})`,
    });
    const color = at === 0 ? 'rgb(150, 120, 90)' : cssColor(classColor(at));
    pick.append(swatch(color), at < 10 ? String(at) : '');
    return el('li', {}, pick, at === 0 ? el('span', { className: 'fixed' }, name) : input, seen);
  }

  function update(): void {
    fill(
      element,
      el(
        'div',
        { className: 'row', role: 'group', 'aria-label': 'Tools' },
        tools.map((each) => {
          const [name, key, title] = toolNames[each];
          return button(name, () => use(each, value), {
            'aria-pressed': String(each === tool),
            title: `${title} (${key})`,
          });
        }),
      ),
      el(
        'label',
        { className: 'inline' },
        'Pen width ',
        number(board.width, { min: 1, max: 50 }, (width) => (board.width = width)),
      ),
      el(
        'ul',
        { className: 'classes', 'aria-label': 'Classes' },
        classNames(classCount()).map((name, at) => (at === state.ignoreLabel ? [] : classRow(name, at))),
      ),
      button('Add a class', addClass),
    );
  }

  board.use(tool, value);
  update();
  return {
    element,
    update,
    get value() {
      return value;
    },
    press(key) {
      const found = tools.find((each) => toolNames[each][1].toLowerCase() === key);
      if (found) use(found, value);
      else if (/^\d$/.test(key) && Number(key) < classCount() && Number(key) !== state.ignoreLabel)
        use(tool === 'eraser' ? 'pen' : tool, Number(key));
      else if (key === '[' || key === ']') {
        board.width = Math.max(1, Math.min(50, board.width + (key === ']' ? 1 : -1)));
        update();
      } else return false;
      return true;
    },
  };
}
