/** The cases of the page to choose from, of which only those in sight are there: a thousand are no slower than ten. */
import { el } from './dom.ts';
import { state, type Images, type PageCase } from './state.ts';

/** Pixels from one to the next, as style.css has them: a button and the gap. */
const pitch = 54;
const gap = 4;
/** Buttons that are there beyond those in sight, so that focus and scrolling find them. */
const more = 6;

export class CaseButtons {
  readonly element = el('div', {
    className: 'cases',
    role: 'group',
    'aria-label': 'Cases',
    onscroll: () => this.#draw(),
  });
  readonly #buttons = new Map<Images, HTMLButtonElement>();
  readonly #choose: (item: PageCase) => void;
  #textOf: (item: PageCase) => string = () => '';
  #current: Images | undefined;
  /** Whether the current case has to be brought into sight, once the list is on the page. */
  #isNew = false;

  constructor(choose: (item: PageCase) => void) {
    this.#choose = choose;
    new ResizeObserver(() => this.#draw()).observe(this.element);
  }

  /** @param textOf what is said of a case, in few words; asked for those in sight */
  update(current: PageCase | undefined, textOf: (item: PageCase) => string): void {
    this.#textOf = textOf;
    this.#isNew ||= current?.images !== this.#current;
    this.#current = current?.images;
    this.#draw();
  }

  #draw(): void {
    this.#fill();
    const { scrollTop, clientHeight } = this.element;
    if (!this.#isNew || clientHeight === 0) return;
    this.#isNew = false;
    const top = pitch * state.cases.findIndex(({ images }) => images === this.#current);
    if (top < 0 || (top >= scrollTop && top + pitch <= scrollTop + clientHeight)) return;
    this.element.scrollTop = top - (clientHeight - pitch) / 2;
    this.#fill();
  }

  #fill(): void {
    const { cases } = state;
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.min(cases.length, Math.floor(scrollTop / pitch)) - more);
    const end = Math.min(cases.length, Math.ceil((scrollTop + (clientHeight || 600)) / pitch) + more);
    const space = (count: number): HTMLElement[] =>
      count > 0
        ? [el('div', { 'aria-hidden': 'true', style: `flex:none;height:${count * pitch - gap}px` })]
        : [];
    const buttons = cases.slice(first, end).map((item) => this.#button(item));
    // Buttons that stay are not taken out: what has the focus keeps it, and a click that has begun is not lost.
    const wanted = new Set<Element>(buttons);
    for (const child of [...this.element.children]) if (!wanted.has(child)) child.remove();
    for (const [images, button] of this.#buttons) if (!wanted.has(button)) this.#buttons.delete(images);
    buttons.forEach((button, index) => {
      const there = this.element.children[index];
      if (there !== button) this.element.insertBefore(button, there ?? null);
    });
    this.element.prepend(...space(first));
    this.element.append(...space(cases.length - end));
  }

  #button(item: PageCase): HTMLButtonElement {
    const { images, id } = item;
    const choose = (): void => this.#choose(state.cases.find((other) => other.images === images) ?? item);
    const made = (): HTMLButtonElement =>
      el('button', { type: 'button', title: id, onclick: choose }, el('span', {}, id), el('small'));
    const button = this.#buttons.get(images) ?? made();
    this.#buttons.set(images, button);
    button.setAttribute('aria-current', String(images === this.#current));
    const [text, small] = [this.#textOf(item), button.lastElementChild!];
    if (small.textContent !== text) small.textContent = text;
    return button;
  }
}
