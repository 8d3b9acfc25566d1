/** Data: files in, images matched with labels, every problem named, and who is trained on. */
import {
  InvalidDataset,
  looksLikeLabel,
  openDataset,
  pairDataset,
  sourceName,
  stemOf,
  volumesAmong,
  type Case,
  type Dataset,
  type FileEntry,
} from 'unet3d-gpu/worker';
import { dataJob } from './data-client.ts';
import { device } from './device.ts';
import { button, dropZone, el, entriesOf, field, fill, leftOut, messageOf, picker, select } from './dom.ts';
import { chooseDefaults, classCount, divide } from './planning.ts';
import { changed, classNames, state, type PageCase, type VolumeFile } from './state.ts';

export function dataView(next: () => void): HTMLElement {
  let images: FileEntry[] = [];
  let labels: FileEntry[] = [];
  /** Their names, where a dataset.json tells them. */
  let channels: readonly string[] = [];
  /** Names of the classes, where a dataset.json tells them. */
  let classes: readonly string[] = [];
  /** What the data are called where no file tells. */
  let called = 'your data';
  let trouble: string[] = [];
  let working = '';
  const body = el('div');

  async function take(files: readonly FileEntry[], as: 'any' | 'images' | 'labels'): Promise<void> {
    trouble = [];
    called = commonFolder(files) ?? 'your data';
    if (files.some(({ path }) => /(^|\/)dataset\.json$/.test(path))) return adopt(() => openDataset(files));
    trouble.push(...leftOut(files));
    const volumes = volumesAmong(files);
    if (volumes.length === 0) {
      trouble.push('There is no NIfTI file among these. Give files that end in .nii or .nii.gz.');
      return draw();
    }
    if (as === 'any' && images.length + labels.length === 0) {
      const dataset = await openDataset(files).catch((error: unknown) => {
        if (!(error instanceof InvalidDataset)) throw error;
        return undefined; // no layout of folders: perhaps by the names of the files
      });
      if (dataset) return adopt(() => Promise.resolve(dataset));
    }
    const add = (to: FileEntry[], more: readonly FileEntry[]): FileEntry[] => {
      const paths = new Set(more.map(({ path }) => path));
      return [...to.filter(({ path }) => !paths.has(path)), ...more];
    };
    images = add(
      images,
      volumes.filter(({ path }) => as === 'images' || (as === 'any' && !looksLikeLabel(path))),
    );
    labels = add(
      labels,
      volumes.filter(({ path }) => as === 'labels' || (as === 'any' && looksLikeLabel(path))),
    );
    if (labels.length === 0 || images.length === 0) {
      setCases(images.map((entry) => bare(entry)));
      trouble.push(
        images.length === 0
          ? 'Labels only: add their images.'
          : 'Images without labels: add the labels to train, or go to "Use" to segment them.',
      );
      return draw();
    }
    const { ignoreLabel } = state;
    return adopt(() => pairDataset(images, labels, ignoreLabel === undefined ? {} : { ignoreLabel }));
  }

  const bare = ({ path, source }: FileEntry): Case => {
    const id = stemOf(path);
    return { id, subject: id, images: [source] };
  };

  async function adopt(open: () => Promise<Dataset>): Promise<void> {
    try {
      const dataset = await open();
      state.name = dataset.name === 'dataset' ? called : dataset.name;
      classes = dataset.labels;
      state.labels = [...classes];
      labels = dataset.cases.flatMap(({ label }) =>
        label ? [{ path: sourceName(label), source: label }] : [],
      );
      setCases(dataset.cases);
      state.ignoreLabel = dataset.ignoreLabel;
      trouble.push(...dataset.warnings);
      channels = dataset.channels;
      await check();
    } catch (error) {
      if (!(error instanceof InvalidDataset)) throw error;
      trouble.push(error.message, ...(images.length > 0 ? ['Choose the label of each image below.'] : []));
      setCases(
        images.map((entry) => {
          const item = bare(entry);
          const same = labels.find((label) => bare(label).id === item.id);
          return same ? { ...item, label: same.source } : item;
        }),
      );
      draw();
    }
  }

  function setCases(cases: readonly Case[]): void {
    state.cases = cases.map((item): PageCase => {
      const { label, ...rest } = item;
      return {
        ...rest,
        images: item.images as VolumeFile[],
        ...(label ? { label: label as VolumeFile } : {}),
        part: 'unused',
      };
    });
    state.ignoreLabel = undefined;
    state.report = undefined;
    state.decision = undefined;
    state.predictions.clear();
    changed();
  }

  async function check(): Promise<void> {
    const cases = state.cases.filter(({ label }) => label);
    if (cases.length === 0) return draw();
    const plain = cases.map(({ part: _part, ...item }) => item);
    const { name, labels: known, ignoreLabel } = state;
    const dataset: Dataset = {
      name,
      cases: plain,
      labels: known,
      channels,
      warnings: [],
      ...(ignoreLabel !== undefined && { ignoreLabel }),
    };
    try {
      state.report = await dataJob('check', { dataset }, (loaded, total) => {
        working = `Reading ${loaded} of ${total} cases`;
        draw();
      });
      state.labels = classNames(classCount());
      divide();
      chooseDefaults(await device(), channels);
    } catch (error) {
      trouble.push(messageOf(error));
    }
    working = '';
    changed();
    draw();
  }

  async function phantoms(): Promise<void> {
    working = 'Making phantoms';
    draw();
    const software = (await device())?.software ?? true;
    const shape: [number, number, number] = software ? [24, 24, 16] : [64, 64, 32];
    const made = await dataJob('phantoms', { count: 12, shape });
    images = [];
    labels = [];
    trouble = [];
    await adopt(async () => ({
      ...(await openDataset(made.files, { name: 'phantoms' })),
      labels: made.labels,
    }));
  }

  function rows(): HTMLElement {
    const facts = new Map(state.report?.cases.map((item) => [item.id, item]));
    const choices = labels.map(({ path }, index): [string, string] => [
      String(index),
      path.split('/').at(-1) ?? path,
    ]);
    return el(
      'div',
      { className: 'scroll' },
      el(
        'table',
        {},
        el(
          'caption',
          {},
          `${state.cases.length} case${state.cases.length === 1 ? '' : 's'} of ${state.name}`,
        ),
        el(
          'thead',
          {},
          el(
            'tr',
            {},
            ['Case', 'Image', 'Label', 'Size (x, y, z)', 'Spacing in mm', 'Used for'].map((text) =>
              el('th', { scope: 'col' }, text),
            ),
          ),
        ),
        el(
          'tbody',
          {},
          state.cases.map((item) => {
            const found = facts.get(item.id);
            const bad = state.report?.problems.some(
              ({ severity, cases }) => severity === 'error' && cases.includes(item.id),
            );
            const chosen = labels.findIndex(({ source }) => source === item.label);
            return el(
              'tr',
              { className: bad ? 'bad' : '' },
              el('th', { scope: 'row' }, item.id),
              el('td', {}, item.images.map(sourceName).join(', ')),
              el(
                'td',
                {},
                select(
                  [['', 'no label'], ...choices],
                  chosen < 0 ? '' : String(chosen),
                  (value) => {
                    const source =
                      value === '' ? undefined : (labels[Number(value)]?.source as VolumeFile | undefined);
                    const { id, subject, images: files } = item;
                    const changedCase: PageCase = source
                      ? { ...item, label: source }
                      : { id, subject, images: files, part: 'unused' };
                    state.cases[state.cases.indexOf(item)] = changedCase;
                    trouble = []; // what the names said is settled by hand
                    void check();
                  },
                  { 'aria-label': `Label of ${item.id}` },
                ),
              ),
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
                  (value) => {
                    item.part = value as PageCase['part'];
                    changed();
                  },
                  { 'aria-label': `Use of ${item.id}`, disabled: !item.label },
                ),
              ),
            );
          }),
        ),
      ),
    );
  }

  function problems(): HTMLElement | undefined {
    const found = [
      ...trouble.map((message) => ({ severity: 'warning', message })),
      ...(state.report?.problems ?? []),
    ].sort((a, b) => Number(b.severity === 'error') - Number(a.severity === 'error'));
    if (found.length === 0)
      return state.report && el('p', { className: 'good' }, 'No problem was found in these files.');
    return el(
      'section',
      { 'aria-label': 'Problems' },
      el('h2', {}, `${found.length} remark${found.length === 1 ? '' : 's'} on these files`),
      el(
        'ul',
        { className: 'problems' },
        found.map(({ severity, message }) =>
          el('li', { className: severity }, `${severity === 'error' ? 'Error. ' : ''}${message}`),
        ),
      ),
    );
  }

  const preparation = (reasons: readonly string[]): HTMLElement =>
    el(
      'details',
      {},
      el('summary', {}, 'How the volumes will be prepared'),
      el(
        'ul',
        {},
        reasons.map((reason) => el('li', {}, reason)),
      ),
    );

  function names(): HTMLElement {
    return el(
      'fieldset',
      { className: 'names' },
      el('legend', {}, 'Names of the classes'),
      classNames(classCount()).map((name, value) => {
        const input = el('input', { type: 'text', value: name });
        input.addEventListener('change', () => {
          state.labels[value] = input.value;
          changed();
        });
        return field(`Value ${value}`, input);
      }),
    );
  }

  /** Unknown voxels are of no class; what their value was called is forgotten where it was the last. */
  function unknownVoxels(): HTMLElement {
    const input = el('input', { type: 'number', min: '0', max: '255', step: '1' });
    input.value = state.ignoreLabel === undefined ? '' : String(state.ignoreLabel);
    input.addEventListener('change', () => {
      if (!input.reportValidity()) return;
      state.ignoreLabel = input.value === '' ? undefined : input.valueAsNumber;
      state.labels = classes.slice(0, state.ignoreLabel === classes.length - 1 ? -1 : undefined);
      void check();
    });
    const hint = 'They count in no loss, figure or picture. Empty: there are none.';
    return field('Label value of unknown voxels', input, hint);
  }

  const introduction = (): HTMLElement =>
    el(
      'section',
      { className: 'panel' },
      el('h2', {}, 'Train a network that outlines structures in your own volumes'),
      el(
        'ol',
        {},
        [
          'Data: add MR or CT images (.nii, .nii.gz), each with a label volume of the same name, in which every voxel holds the number of its class.',
          'See: look at the cases and their labels in slices and in 3-D.',
          'Train: start, watch it learn, pause, go on after a reload.',
          'Use: segment new volumes, read off millilitres, save the labels.',
        ].map((text) => el('li', {}, text)),
      ),
      el(
        'p',
        { className: 'quiet' },
        'No data at hand? The phantoms are made-up pelves with bones, bladder, rectum and prostate.',
      ),
    );

  function draw(): void {
    const ready = state.cases.some(({ part }) => part === 'train');
    fill(
      body,
      dropZone(
        el(
          'section',
          { className: 'drop', 'aria-label': 'Add files' },
          el('p', {}, 'Drop NIfTI images and labels here, a folder, or a Decathlon or nnU-Net data set.'),
          el(
            'div',
            { className: 'row' },
            picker('Choose images', { multiple: true, accept: '.nii,.gz,.hdr,.img' }, (files) =>
              take(entriesOf(files), 'images'),
            ),
            picker('Choose labels', { multiple: true, accept: '.nii,.gz,.hdr,.img' }, (files) =>
              take(entriesOf(files), 'labels'),
            ),
            picker('Choose a folder', { folder: true }, (files) => take(entriesOf(files), 'any')),
            button('Try it with phantoms', phantoms, { className: state.cases.length > 0 ? '' : 'primary' }),
            state.cases.length > 0 &&
              button('Start over', () => {
                images = [];
                labels = [];
                trouble = [];
                setCases([]);
                draw();
              }),
          ),
        ),
        (files) => take(entriesOf(files), 'any'),
      ),
      state.cases.length === 0 && working === '' && introduction(),
      working !== '' && el('p', { role: 'status', className: 'busy' }, working),
      problems(),
      state.cases.length > 0 && rows(),
      state.decision && preparation(state.decision.reasons),
      state.report && state.report.cases.length > 0 && [names(), unknownVoxels()],
      ready &&
        el('p', { className: 'row' }, button('Next: look at the cases', next, { className: 'primary' })),
    );
  }

  draw();
  return body;
}

/** The folder that all files came in, if they came in one. */
function commonFolder(files: readonly FileEntry[]): string | undefined {
  const tops = new Set(files.map(({ path }) => (path.includes('/') ? path.split('/')[0] : undefined)));
  return tops.size === 1 ? [...tops][0] : undefined;
}
