/** What segmentations have found: volumes in tables, everything as one archive. */
import { classColor, cssColor } from 'unet3d-gpu/worker';
import { button, counted, digits, download, el, lengthy, swatch } from './dom.ts';
import { forgetResults, markSaved, type Result } from './state.ts';

const cell = (text: string): string => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** Under the names of their labels in an archive. */
type Archived = readonly { readonly file: string; readonly result: Result }[];

/** Labels of one name are numbered. */
export function archived(results: readonly Result[]): Archived {
  const names = new Map<string, number>();
  return results.map((result) => {
    const { name } = result.labels;
    const times = names.get(name) ?? 0;
    names.set(name, times + 1);
    return { result, file: times === 0 ? name : name.replace(/(\.nii(\.gz)?)$/, ` (${times + 1})$1`) };
  });
}

/** What the model of a result is called among these; models of one name are numbered. */
export function modelNames(results: readonly Result[]): (result: Result) => string {
  const models = new Map<string, number[]>();
  for (const { modelName, model } of results)
    models.set(modelName, [...new Set([...(models.get(modelName) ?? []), model])]);
  return ({ modelName, model }) => {
    const at = models.get(modelName)!.indexOf(model);
    return at === 0 ? modelName : `${modelName} (${at + 1})`;
  };
}

/** Volumes in ml, a line per file and class; regions have several values, as in 1+2. */
export function volumesCsv(all: Archived): string {
  const nameOf = modelNames(all.map(({ result }) => result));
  const lines = all.flatMap(({ file, result }) =>
    result.volumes.map(({ name: found, labels, millilitres }) =>
      [result.name, file, nameOf(result), labels.join('+'), found, String(millilitres)].map(cell).join(','),
    ),
  );
  return ['file,labels,model,value,class,ml', ...lines, ''].join('\n');
}

async function downloadAll(results: readonly Result[], signal: AbortSignal): Promise<void> {
  const { downloadZip } = await import('client-zip');
  const all = archived(results); // of those that are there now: more may come meanwhile
  const files = all.map(({ file, result: { labels } }) => ({ name: file, input: labels }));
  const archive = downloadZip([...files, { name: 'volumes.csv', input: volumesCsv(all) }]);
  const stream = archive.body!.pipeThrough(new TransformStream(), { signal });
  download('segmentations.zip', await new Response(stream).blob());
  markSaved(all.map(({ result }) => result));
}

/** Asks where labels would be lost with them. */
function mayForget(results: readonly Result[]): boolean {
  const lost = results.filter(({ saved }) => !saved).length;
  return (
    lost === 0 || confirm(`The labels of ${counted(lost, 'volume')} have not been downloaded. Forget them?`)
  );
}

/** A table per model, as each has its own classes. */
export function resultTables(
  results: readonly Result[],
  current: Result | undefined,
  show: (result: Result | undefined) => void,
): HTMLElement {
  const groups = new Map<number, Result[]>();
  for (const result of results) groups.set(result.model, [...(groups.get(result.model) ?? []), result]);
  const nameOf = modelNames(results);
  return el(
    'section',
    { 'aria-label': 'Segmented volumes' },
    [...groups.values()].map((group) =>
      table(group, groups.size > 1 ? nameOf(group[0]!) : undefined, current, show),
    ),
    el(
      'div',
      { className: 'row' },
      lengthy('Download all with their volumes (zip)', (signal) => downloadAll(results, signal)),
      button('Forget these results', () => {
        if (!mayForget(results)) return;
        forgetResults();
        show(undefined);
      }),
    ),
  );
}

function table(
  results: readonly Result[],
  model: string | undefined,
  current: Result | undefined,
  show: (result: Result) => void,
): HTMLElement {
  const { volumes } = results[0]!;
  return el(
    'div',
    { className: 'scroll' },
    el(
      'table',
      {},
      el('caption', {}, model === undefined ? 'Volumes in ml' : `Volumes in ml, found by ${model}`),
      el(
        'thead',
        {},
        el(
          'tr',
          {},
          el('th', { scope: 'col' }, 'File'),
          volumes.map(({ name, written }) =>
            el('th', { scope: 'col' }, swatch(cssColor(classColor(written))), name),
          ),
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
  const { name, volumes, seconds, labels } = result;
  return el(
    'tr',
    { className: isShown ? 'chosen' : '' },
    el(
      'th',
      { scope: 'row', className: 'name' },
      button(name, () => show(result), { className: 'link', title: `Show ${name}` }),
    ),
    volumes.map(({ millilitres: ml }) => el('td', {}, digits(ml, ml < 10 ? 2 : 1))),
    el('td', {}, digits(seconds, 1)),
    el(
      'td',
      {},
      button(
        'Download',
        () => {
          download(labels.name, labels);
          markSaved([result]);
        },
        { 'aria-label': `Download the labels of ${name}` },
      ),
    ),
  );
}
