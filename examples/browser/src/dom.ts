/** Small helpers to build the page without a framework. */
import { volumePattern, type FileEntry } from 'unet3d-gpu/worker';
import { inPageWords } from './words.ts';

export type Child = Node | string | number | false | undefined | readonly Child[];
type Properties = Readonly<
  Record<string, string | number | boolean | undefined | ((event: Event) => unknown)>
>;

/** An element: functions become listeners (`onclick`), known properties are set, all others become attributes. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (key in element && !key.startsWith('aria')) Object.assign(element, { [key]: value });
    else if (typeof value !== 'function') element.setAttribute(key, value === true ? '' : String(value));
  }
  append(element, children);
  return element;
}

export function append(parent: Node, children: readonly Child[]): void {
  for (const child of children.flat(9) as (Node | string | number | false | undefined)[])
    if (child !== undefined && child !== false)
      parent.appendChild(child instanceof Node ? child : new Text(String(child)));
}

/** What can have the focus and come again; files are picked with a button. */
const controls = 'button, select, input:not([type="file"])';

/** What a control is called: by its label where it has one, as values and options are no names. */
const nameOf = (control: Element): string | null =>
  control.getAttribute('aria-label') ??
  ((control as HTMLInputElement).labels?.[0] ?? control.closest('label') ?? control).textContent;

/**
 * Replaces what is inside, without taking the focus from who uses a keyboard: it stays with the control of the same name.
 * Of a button that is gone, the next one gets it; any other control would be pressed in place of being set.
 */
export function fill(parent: Element, ...children: readonly Child[]): void {
  const { activeElement } = document;
  const focused = activeElement !== parent && parent.contains(activeElement) ? activeElement : null;
  const name = focused && nameOf(focused); // labels belong to what is in the page
  parent.replaceChildren();
  append(parent, children);
  if (!focused) return;
  const same = [...parent.querySelectorAll<HTMLElement>(controls)].find(
    (element) => element.tagName === focused.tagName && nameOf(element) === name,
  );
  const next =
    focused.tagName === 'BUTTON' ? parent.querySelector<HTMLElement>('button.primary, button') : null;
  (same ?? next ?? parent.closest<HTMLElement>('[tabindex]'))?.focus({ preventScroll: true });
}

const shown = new WeakMap<Element, string>();

/**
 * Replaces what is inside where something else is to be shown: a click that has begun on what is there would be lost.
 * @param shows all that `build` depends on
 */
export function refill(parent: Element, shows: string, build: () => Child): void {
  if (shown.get(parent) === shows) return;
  shown.set(parent, shows);
  fill(parent, build());
}

/** A button; what its action fails with is said on the page, and a second press waits for the first. */
export function button(text: string, action: () => unknown, properties: Properties = {}): HTMLButtonElement {
  let busy = false;
  const press = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    await attempt(text, action);
    busy = false;
  };
  return el('button', { type: 'button', onclick: () => void press(), ...properties }, text);
}

/** Does something; what it fails with is said on the page. */
export async function attempt(what: string, action: () => unknown): Promise<void> {
  try {
    await action();
  } catch (error) {
    complain(`${what}: ${messageOf(error)}`);
  }
}

/** How long something takes before that is said, in milliseconds. */
export const unsaid = 300;

/** A button for what takes its time: where that is longer than one notices, it cancels it. */
export function lengthy(
  text: string,
  action: (signal: AbortSignal) => Promise<unknown>,
  properties: Properties = {},
): HTMLButtonElement {
  let running: AbortController | undefined;
  const isTold = (): boolean => control.textContent !== text;
  const press = async (): Promise<void> => {
    if (running) return isTold() ? running.abort() : undefined; // the second press of a double click
    const controller = new AbortController();
    running = controller;
    const timer = setTimeout(() => (control.textContent = `Cancel: ${text}`), unsaid);
    try {
      await action(controller.signal);
    } catch (error) {
      if (!controller.signal.aborted) complain(`${text}: ${messageOf(error)}`);
    } finally {
      clearTimeout(timer);
      running = undefined;
      control.textContent = text;
    }
  };
  const control = el('button', { type: 'button', onclick: () => void press(), ...properties }, text);
  return control;
}

/** A line that says what is being done, one thing at a time, with a button that cancels it. */
export class BusyLine {
  readonly element = el('p', { className: 'row', role: 'status' });
  #current = new AbortController();

  /** Ends what is being done, for something else. */
  stop(): void {
    this.#current.abort();
  }

  /** @param cancelled is called where the person ends it; what it fails with after it was ended is nothing to be told */
  async during<T>(
    text: string,
    work: (signal: AbortSignal) => Promise<T>,
    cancelled: () => unknown,
  ): Promise<T | undefined> {
    this.stop();
    const mine = (this.#current = new AbortController());
    const { signal } = mine;
    let isUnwanted = false;
    const cancel = (): void => {
      isUnwanted = true;
      mine.abort();
    };
    const timer = setTimeout(() => fill(this.element, text, button('Cancel', cancel)), unsaid);
    try {
      return await work(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
      if (isUnwanted) cancelled();
      return undefined;
    } finally {
      clearTimeout(timer);
      if (this.#current === mine) fill(this.element);
    }
  }
}

/** Says something in an element: what is live is read out again with each text that it is given, also the same. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A line of which one part is read out where it changes; how far something is, which changes often, is seen alone. */
export class ProgressLine {
  readonly #said = el('span', { role: 'status' });
  readonly #seen = el('span');
  readonly element: HTMLElement;

  constructor(className = '') {
    this.element = el('p', { className }, this.#said, this.#seen);
  }

  /** @param progress is seen behind what is read out */
  tell(text: string, progress = ''): void {
    say(this.#said, text);
    say(this.#seen, progress);
  }
}

/** Something to be read above all views: what went wrong, or what there is to decide. */
export function notice(className: '' | 'error', ...content: readonly Child[]): HTMLElement {
  const role = className === 'error' ? 'alert' : undefined;
  const box = el('div', { className: `notice ${className}`, role }, content);
  document.querySelector('#notices')!.append(box);
  return box;
}

/** Says an error, until it is dismissed. */
export function complain(text: string): void {
  const box = notice(
    'error',
    el('p', {}, text),
    button('Dismiss', () => box.remove()),
  );
}

let names = 0;

/** A label with its control below it. */
export function field(label: string, control: HTMLElement, hint?: string): HTMLElement {
  control.id ||= `field-${++names}`;
  const help =
    hint === undefined ? undefined : el('small', { id: `${control.id}-hint`, className: 'quiet' }, hint);
  if (help) control.setAttribute('aria-describedby', help.id);
  return el('div', { className: 'field' }, el('label', { htmlFor: control.id }, label), control, help);
}

export function select(
  options: readonly (readonly [value: string, text: string])[],
  value: string,
  onchange: (value: string) => void,
  properties: Properties = {},
): HTMLSelectElement {
  const control = el(
    'select',
    properties,
    options.map(([key, text]) => el('option', { value: key }, text)),
  );
  control.value = value;
  control.addEventListener('change', () => onchange(control.value));
  return control;
}

export function number(
  value: number,
  limits: { min: number; max: number; step?: number | 'any' },
  onchange: (value: number) => void,
): HTMLInputElement {
  const control = el('input', {
    type: 'number',
    min: String(limits.min),
    max: String(limits.max),
    step: String(limits.step ?? 1),
  });
  control.value = String(value);
  control.addEventListener('change', () => {
    if (control.checkValidity() && control.value !== '') onchange(control.valueAsNumber);
    else control.reportValidity();
  });
  return control;
}

/** A button that opens the file dialog. */
export function picker(
  text: string,
  options: { multiple?: boolean; folder?: boolean; accept?: string },
  take: (files: File[]) => unknown,
): HTMLElement {
  const input = el('input', {
    type: 'file',
    multiple: options.multiple ?? false,
    webkitdirectory: options.folder ?? false,
    accept: options.accept,
    className: 'hidden',
    tabIndex: -1,
    'aria-label': text,
    onchange: () => {
      const files = [...(input.files ?? [])];
      input.value = '';
      if (files.length > 0) void take(files);
    },
  });
  return el(
    'span',
    {},
    input,
    button(text, () => input.click()),
  );
}

/** Hands a file to the browser's downloads. */
export function download(name: string, content: Uint8Array | string | Blob): void {
  const url = URL.createObjectURL(new Blob([content as BlobPart]));
  el('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** What a model file of a training or a model of that name is called. */
export const modelFileName = (name: string, more = '.safetensors'): string =>
  `${name.replace(/\.safetensors$/, '').replace(/[^\p{L}\p{N}-]+/gu, '_')}${more}`;

export const swatch = (color: string): HTMLElement =>
  el('span', { className: 'swatch', style: `background:${color}`, 'aria-hidden': 'true' });

/** Picked or dropped files with their paths, as the library takes them. */
export const entriesOf = (files: readonly File[]): FileEntry[] =>
  files.map((file) => ({ path: file.webkitRelativePath || file.name, source: file }));

/** What is said of files that are no volumes, nor what belongs to them: one line, however many. */
export function leftOut(entries: readonly FileEntry[]): string[] {
  const others = entries
    .map(({ path }) => path)
    .filter(
      (path) => !volumePattern.test(path) && !/\.(img|csv|json|md|tsv|txt)(\.gz)?$|(^|\/)\./i.test(path),
    );
  if (others.length <= 1) return others.map((path) => `${path}: not a NIfTI file (.nii, .nii.gz); left out.`);
  return [
    `${others.length} files are not NIfTI (.nii, .nii.gz) and left out, such as ${others.slice(0, 3).join(', ')}.`,
  ];
}

export const noVolume =
  'There is no volume among these. Give NIfTI files, which end in .nii or .nii.gz, or DICOM series.';

export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (!Number.isFinite(seconds)) return 'unknown';
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** The head of a table of such columns. */
export const columnHeads = (names: readonly string[]): HTMLElement =>
  el(
    'thead',
    {},
    el(
      'tr',
      {},
      names.map((name) => el('th', { scope: 'col' }, name)),
    ),
  );

/** Goes on when the page has answered and drawn what came meanwhile. */
export const nextTask = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

/** Waits for work no longer than until it is cancelled. @throws what the signal is aborted with */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  let abort: () => void;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
  });
  return Promise.race([work, aborted]).finally(() => signal.removeEventListener('abort', abort));
}

/** A number with what is counted, in the plural where there are several. */
export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

export const digits = (value: number | undefined, count = 3): string =>
  value === undefined || !Number.isFinite(value) ? '–' : value.toFixed(count);

/** A file's problem, named once. */
export const problemOf = (name: string, error: unknown): string => {
  const message = messageOf(error);
  return message.startsWith(name) ? message : `${name}: ${message}`;
};

/** What an error says, in words of this page. */
export const messageOf = (error: unknown): string =>
  error instanceof Error ? inPageWords(error.message, error.name) : String(error);
