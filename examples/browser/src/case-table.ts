/** The cases of a data set as a table, of which only the rows in sight are there: a thousand cases scroll like ten. */
import { sourceName, type FileEntry } from 'unet3d-gpu/worker';
import { columnHeads, counted, el, fill, select } from './dom.ts';
import { badCases, state, type PageCase, type VolumeFile } from './state.ts';

/** Pixels of a row, as style.css has them. */
const rowHeight = 36;
/** Rows that are there beyond those in sight, so that focus and scrolling find them. */
const more = 8;

const columns = ['Case', 'Image', 'Label', 'Size (x, y, z)', 'Spacing in mm', 'Used for'];

/** What is told of a case, by its id, that a person has chosen for it. */
interface Choices {
  readonly label: (id: string, label: VolumeFile | undefined) => void;
  readonly part: (id: string, part: PageCase['part']) => void;
}

export class CaseTable {
  readonly element: HTMLElement;
  readonly #caption = el('caption');
  readonly #body = el('tbody');
  readonly #rows = new Map<PageCase, HTMLElement>();
  readonly #choose: Choices;
  readonly #table: HTMLTableElement;
  /** Labels that may be chosen. */
  #labels: readonly FileEntry[] = [];
  #bad: ReadonlySet<string> = new Set();
  #facts: ReadonlyMap<string, { readonly shape: readonly number[]; readonly spacing: readonly number[] }> =
    new Map();
  #shown = '';

  constructor(choose: Choices) {
    this.#choose = choose;
    this.#table = el('table', {}, this.#caption, columnHeads(columns), this.#body);
    this.element = el(
      'div',
      { className: 'scroll cases-table', tabIndex: -1, onscroll: () => this.#draw() },
      this.#table,
    );
    new ResizeObserver(() => this.#draw()).observe(this.element);
  }

  /** Draws the cases of the page anew; who chooses something by keyboard stays there. */
  update(labels: readonly FileEntry[]): void {
    const { activeElement: focused } = document;
    const inFocus = this.#body.contains(focused) ? focused!.getAttribute('aria-label') : null;
    this.#labels = labels;
    const { cases, name, report } = state;
    this.#bad = badCases(report);
    this.#facts = new Map(report?.cases.map((item) => [item.id, item]));
    this.#caption.textContent = `${counted(cases.length, 'case')} of ${name}`;
    this.#table.setAttribute('aria-rowcount', String(cases.length + 1));
    this.#rows.clear();
    this.#shown = '';
    this.#draw();
    const same = [...this.#body.querySelectorAll('select')].find(
      (control) => inFocus !== null && control.getAttribute('aria-label') === inFocus,
    );
    same?.focus({ preventScroll: true });
  }

  #draw(): void {
    const { cases } = state;
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / rowHeight) - more);
    const end = Math.min(cases.length, Math.ceil((scrollTop + (clientHeight || 600)) / rowHeight) + more);
    if (this.#shown === `${first} ${end}`) return;
    this.#shown = `${first} ${end}`;
    const rows = cases.slice(first, end).map((item, index) => {
      const row = this.#rows.get(item) ?? this.#row(item, first + index);
      this.#rows.set(item, row);
      return row;
    });
    const space = (count: number) =>
      count > 0 && el('tr', { 'aria-hidden': 'true', style: `height:${count * rowHeight}px` });
    // Rows that stay are not taken out: what has the focus keeps it.
    const wanted = new Set<Element>(rows);
    for (const row of [...this.#body.children]) if (!wanted.has(row)) row.remove();
    rows.forEach((row, index) => {
      if (this.#body.children[index] !== row)
        this.#body.insertBefore(row, this.#body.children[index] ?? null);
    });
    const [before, after] = [space(first), space(cases.length - end)];
    if (before) this.#body.prepend(before);
    if (after) this.#body.append(after);
  }

  #row(item: PageCase, index: number): HTMLElement {
    const found = this.#facts.get(item.id);
    const images = item.images.map(sourceName).join(', ');
    return el(
      'tr',
      { className: this.#bad.has(item.id) ? 'bad' : '', 'aria-rowindex': String(index + 2) },
      el('th', { scope: 'row', title: item.id }, item.id),
      el('td', { title: images }, images),
      el('td', {}, this.#labelOf(item)),
      el('td', {}, found ? found.shape.join(' × ') : '–'),
      el('td', {}, found ? found.spacing.map((mm) => Number(mm.toFixed(2))).join(' × ') : '–'),
      el(
        'td',
        {},
        select(
          [
            ['train', 'training'],
            ['validation', 'validation'],
            ['unused', 'not used'],
          ],
          item.part,
          (value) => this.#choose.part(item.id, value as PageCase['part']),
          { 'aria-label': `Use of ${item.id}`, disabled: !item.label },
        ),
      ),
    );
  }

  /** All labels are there to choose from once somebody is about to: a thousand of them in each row take long to make. */
  #labelOf(item: PageCase): HTMLElement {
    const none = ['', 'no label'] as const;
    const chosen = item.label ? (['chosen', sourceName(item.label)] as const) : none;
    const control = select(
      chosen === none ? [none] : [none, chosen],
      chosen[0],
      (value) =>
        this.#choose.label(item.id, this.#labels[Number(value || NaN)]?.source as VolumeFile | undefined),
      { 'aria-label': `Label of ${item.id}`, title: chosen[1] },
    );
    const offer = (): void => {
      const at = this.#labels.findIndex(({ source }) => source === item.label);
      fill(
        control,
        el('option', { value: '' }, none[1]),
        this.#labels.map(({ path }, index) => el('option', { value: String(index) }, path)),
      );
      control.value = at < 0 ? '' : String(at);
    };
    for (const event of ['focus', 'pointerdown']) control.addEventListener(event, offer, { once: true });
    return control;
  }
}
