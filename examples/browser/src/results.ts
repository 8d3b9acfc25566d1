/** What segmentations have found: volumes in tables, everything as one archive. */
import { classColor, cssColor } from 'unet3d-gpu/worker';
import { button, digits, download, el, swatch } from './dom.ts';
import { state, type Result } from './state.ts';

const cell = (text: string): string => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** Volumes in ml, a line per file and class. */
function volumesCsv(results: readonly Result[]): string {
  const lines = results.flatMap(({ name, modelName, classes, millilitres, labels }) =>
    classes
      .slice(1)
      .map((found, index) =>
        [name, labels.name, modelName, String(index + 1), found, String(millilitres[index + 1] ?? 0)]
          .map(cell)
          .join(','),
      ),
  );
  return ['file,labels,model,value,class,ml', ...lines, ''].join('\n');
}

async function downloadAll(results: readonly Result[]): Promise<void> {
  const { downloadZip } = await import('client-zip');
  const names = new Map<string, number>();
  const files = results.map(({ labels }) => {
    const times = names.get(labels.name) ?? 0;
    names.set(labels.name, times + 1);
    const name = times === 0 ? labels.name : labels.name.replace(/(\.nii(\.gz)?)$/, ` (${times + 1})$1`);
    return { name, input: labels };
  });
  const archive = downloadZip([...files, { name: 'volumes.csv', input: volumesCsv(results) }]);
  download('segmentations.zip', await archive.blob());
  for (const result of results) result.saved = true;
}

/** A table per model, as each has its own classes. */
export function resultTables(
  results: readonly Result[],
  current: Result | undefined,
  show: (result: Result | undefined) => void,
): HTMLElement {
  const groups = new Map<string, Result[]>();
  for (const result of results) {
    const key = [result.modelName, ...result.classes].join('\n');
    groups.set(key, [...(groups.get(key) ?? []), result]);
  }
  return el(
    'section',
    { 'aria-label': 'Segmented volumes' },
    [...groups.values()].map((group) => table(group, groups.size > 1, current, show)),
    el(
      'div',
      { className: 'row' },
      button('Download all with their volumes (zip)', () => downloadAll(results)),
      button('Forget these results', () => {
        state.results = [];
        show(undefined);
      }),
    ),
  );
}

function table(
  results: readonly Result[],
  isNamed: boolean,
  current: Result | undefined,
  show: (result: Result) => void,
): HTMLElement {
  const { classes, modelName } = results[0]!;
  return el(
    'div',
    { className: 'scroll' },
    el(
      'table',
      {},
      el('caption', {}, isNamed ? `Volumes in ml, found by ${modelName}` : 'Volumes in ml'),
      el(
        'thead',
        {},
        el(
          'tr',
          {},
          el('th', { scope: 'col' }, 'File'),
          classes
            .slice(1)
            .map((name, index) => el('th', { scope: 'col' }, swatch(cssColor(classColor(index + 1))), name)),
          el('th', { scope: 'col' }, 'Seconds'),
          el('th', { scope: 'col' }, 'Labels'),
        ),
      ),
      el(
        'tbody',
        {},
        results.map((result) => row(result, result === current, show)),
      ),
    ),
  );
}

function row(result: Result, isShown: boolean, show: (result: Result) => void): HTMLElement {
  const { name, millilitres, classes, seconds, labels } = result;
  return el(
    'tr',
    { className: isShown ? 'chosen' : '' },
    el(
      'th',
      { scope: 'row', className: 'name' },
      button(name, () => show(result), { className: 'link', title: `Show ${name}` }),
    ),
    classes
      .slice(1)
      .map((_, index) => millilitres[index + 1] ?? 0)
      .map((value) => el('td', {}, digits(value, value < 10 ? 2 : 1))),
    el('td', {}, digits(seconds, 1)),
    el(
      'td',
      {},
      button(
        'Download',
        () => {
          download(labels.name, labels);
          result.saved = true;
        },
        { 'aria-label': `Download the labels of ${name}` },
      ),
    ),
  );
}
