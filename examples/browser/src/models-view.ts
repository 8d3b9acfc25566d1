/** Models: the trainings that this browser keeps, to open, name, download, compare and delete. */
import { classColor, cssColor, formatBytes } from 'unet3d-gpu/worker';
import { comparisonOf, type Charts } from './charts.ts';
import { dataJob } from './data-client.ts';
import {
  attempt,
  button,
  columnHeads,
  digits,
  download,
  el,
  fill,
  lengthy,
  messageOf,
  modelFileName,
  select,
  swatch,
} from './dom.ts';
import type { RunRecord } from './kept/database.ts';
import { RunFiles } from './kept/run-files.ts';
import { claimed, keptRuns, onRunsChange } from './kept/runs.ts';
import { inTraining, state } from './state.ts';
import { scoredNames } from './run.ts';
import { discard, rename } from './run-at-hand.ts';
import { projectPanel, type PageData } from './project-panel.ts';
import type { View } from './view.ts';

const formats = [
  ['model', 'model file of this page'],
  ['safetensors', 'safetensors for PyTorch'],
  ['onnx', 'ONNX'],
] as const;
type Format = (typeof formats)[number][0];

async function downloadAs(format: Format, { id, name }: RunRecord, signal: AbortSignal): Promise<void> {
  const model = await new RunFiles(id).model();
  signal.throwIfAborted();
  if (format === 'model') return download(modelFileName(name), model);
  const transfer = [model.buffer as ArrayBuffer];
  const exported = await dataJob('export', { model, format }, { transfer, signal });
  download(modelFileName(name, format === 'onnx' ? '.onnx' : '_pytorch.safetensors'), exported);
}

/** The Dice of each class at the epoch whose weights are kept. */
const keptDice = ({ history, best }: RunRecord): readonly (number | undefined)[] =>
  (best ? history[best.epoch] : history.at(-1))?.validationDice ?? [];

/**
 * @param openRun opens a kept training and shows it
 * @param data the page's own
 */
export function modelsView(openRun: (id: string) => Promise<void>, data: PageData): View {
  const list = el('section', { 'aria-label': 'Kept trainings' });
  const comparison = el('section', { 'aria-label': 'Comparison' });
  const page = el('div', {}, list, comparison, projectPanel(data));
  const compared = new Set<string>();
  /** What cancels the downloads that are being made, by the trainings' ids. */
  const exporting = new Map<string, HTMLElement>();
  let charts: Charts | undefined;

  function actions(run: RunRecord): HTMLElement[] {
    const { id, name, finished } = run;
    const label = (what: string) => ({ 'aria-label': `${what} ${name}` });
    const verb = state.run?.id === id ? 'Show' : finished ? 'Open' : 'Resume';
    const found: HTMLElement[] = [button(verb, () => openRun(id), label(verb))];
    if (finished)
      found.push(
        exporting.get(id) ??
          select(
            [['', 'Download as …'], ...formats],
            '',
            (format) => save(run, format as Format),
            label('Download'),
          ),
      );
    const busy = state.run?.id === id && inTraining();
    if (!busy) found.push(button('Delete', () => discard(run), label('Delete')));
    return found;
  }

  function save(run: RunRecord, format: Format): void {
    const made = lengthy(`Download ${run.name}`, async (signal) => {
      try {
        await downloadAs(format, run, signal);
      } finally {
        exporting.delete(run.id);
        void draw();
      }
    });
    exporting.set(run.id, made);
    made.click();
    void draw();
  }

  function row(run: RunRecord, elsewhere: boolean): HTMLElement {
    const { id, name, dataName, started, finished, history, best } = run;
    const nameBox = el('input', { type: 'text', value: name, 'aria-label': `Name of ${name}` });
    nameBox.addEventListener('change', () => {
      const wanted = nameBox.value.trim();
      if (wanted !== '') void attempt('Rename', () => rename(id, wanted));
    });
    const check = el('input', {
      type: 'checkbox',
      checked: compared.has(id),
      'aria-label': `Compare ${name}`,
    });
    check.addEventListener('change', () => {
      if (check.checked) compared.add(id);
      else compared.delete(id);
      void draw();
    });
    return el(
      'tr',
      {},
      el('td', {}, check),
      el('th', { scope: 'row' }, nameBox),
      el('td', {}, dataName),
      el('td', {}, started.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' })),
      el('td', {}, `${history.length} of ${run.settings.epochs}${finished ? '' : ', not finished'}`),
      el('td', {}, digits(best?.dice)),
      el(
        'td',
        {},
        elsewhere
          ? el('span', { className: 'quiet' }, 'Open in another tab')
          : el('div', { className: 'row' }, actions(run)),
      ),
    );
  }

  function compare(runs: readonly RunRecord[]): void {
    charts?.dispose();
    charts = undefined;
    if (runs.length < 2) return fill(comparison);
    const names = [...new Set(runs.flatMap((run) => scoredNames(run).slice(1)))];
    charts = comparisonOf(runs.map(({ name }) => name));
    const head = runs.map(({ name }, index) =>
      el('th', { scope: 'col' }, swatch(cssColor(classColor(index + 1))), name),
    );
    const dice = names.map((name) =>
      el(
        'tr',
        {},
        el('th', { scope: 'row' }, name),
        runs.map((run) => {
          const value = scoredNames(run).indexOf(name, 1);
          return el('td', {}, digits(value < 0 ? undefined : keptDice(run)[value]));
        }),
      ),
    );
    fill(
      comparison,
      el('h2', {}, 'Beside each other'),
      el(
        'div',
        { className: 'scroll panel' },
        el(
          'table',
          { className: 'dice' },
          el('caption', {}, 'Dice on validation, with the weights that are kept'),
          el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Class'), head)),
          el('tbody', {}, dice),
        ),
        el(
          'p',
          { className: 'quiet' },
          'These figures compare only where the trainings had the same validation cases.',
        ),
      ),
      charts.element,
    );
    charts.update(...runs.map(({ history }) => history));
  }

  /** The newest drawing wins. */
  let turn = 0;
  async function draw(): Promise<void> {
    const mine = ++turn;
    const busy = await claimed();
    let runs: readonly RunRecord[] = [];
    let nothing = 'Nothing yet. What is trained here stays in this browser until you delete it.';
    try {
      runs = await keptRuns();
    } catch (error) {
      nothing = `What this browser keeps cannot be read, as in some private windows: ${messageOf(error)}.`;
    }
    const storage = await (navigator as Partial<Navigator>).storage?.estimate().catch(() => undefined);
    const isTyping = list.contains(document.activeElement) && document.activeElement?.matches('[type=text]');
    if (mine !== turn || isTyping) return;
    const isElsewhere = ({ id, finished }: RunRecord): boolean =>
      !finished && busy.has(id) && state.run?.id !== id;
    fill(
      list,
      el('h2', {}, 'Kept in this browser'),
      runs.length === 0
        ? el('p', { className: 'empty' }, nothing)
        : el(
            'div',
            { className: 'scroll' },
            el(
              'table',
              {},
              columnHeads(['Compare', 'Name', 'Data', 'Started', 'Epochs', 'Mean Dice', 'Actions']),
              el(
                'tbody',
                {},
                runs.map((run) => row(run, isElsewhere(run))),
              ),
            ),
          ),
      storage?.usage !== undefined &&
        el(
          'p',
          { className: 'quiet' },
          `${formatBytes(storage.usage)} of this disk are taken, images of the trainings included.`,
        ),
    );
    compare(runs.filter(({ id }) => compared.has(id)));
  }

  const stopListening = onRunsChange(() => void draw());
  void draw();
  return {
    element: page,
    dispose() {
      turn++;
      stopListening();
      charts?.dispose();
    },
  };
}
