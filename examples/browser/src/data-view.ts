/** Data: files in, images matched with labels, every problem named, and who is trained on. */
import { openDataset, type Region } from 'unet3d-gpu/worker';
import { keepUnsaved } from './annotate/annotations.ts';
import { apply, findDrawings, type TakeLabels } from './annotate/labels.ts';
import { CaseTable } from './case-table.ts';
import { dataJob } from './data-client.ts';
import { device } from './device.ts';
import { attempt, button, counted, el, entriesOf, field, fill, picker } from './dom.ts';
import { drawnScans } from './drawn-scans.ts';
import { dropZone } from './dropped.ts';
import { Intake } from './intake.ts';
import { setMade } from './kept/data.ts';
import { keptRuns, onRunsChange } from './kept/runs.ts';
import { classCount, restoreSettings } from './planning.ts';
import type { AtHand } from './labelled-cases.ts';
import type { Run } from './run.ts';
import { changed, classNames, onChange, state } from './state.ts';
import { valueMap } from './value-map.ts';
import type { View } from './view.ts';
import { inPageWords } from './words.ts';

export interface DataView extends View {
  /** Takes over the data and settings of a training. */
  restore(run: Run): Promise<void>;
  /** Opens the scans that were drawn on. */
  openDrawn(): Promise<void>;
  atHand(): AtHand;
  /** Opens the cases that were at hand when a project was saved. */
  openCases(cases: AtHand): Promise<void>;
  /** Takes over labels that were drawn. */
  annotate: TakeLabels;
  /** Looks for what is drawn on the cases by now, and takes it over. */
  findDrawings: () => Promise<void>;
  /** What a person has done here that no file holds, in words. */
  lost(): readonly string[];
}

/** @param open shows another view; this one is made once, and shown as often as wanted */
export function dataView(open: (view: 'See' | 'Annotate' | 'Models') => void): DataView {
  const work = el('p', { role: 'status', className: 'busy' });
  const intake = new Intake({
    onChange: drawSoon,
    onWork(text) {
      // Only this line: the cases below it may be a thousand.
      if ((work.textContent === '') !== (text === '')) drawSoon();
      work.textContent = text;
    },
    onCases: () => attempt('Find drawings', findHere),
  });
  const table = new CaseTable({
    label: (id, label) => void intake.cases.choose(id, label),
    part: (id, part) => intake.cases.use(id, part),
  });
  const body = el('div');
  const keptHere = el('div');

  /** What somebody who comes back may look for. */
  async function showKept(): Promise<void> {
    const runs = await keptRuns().catch(() => []); // "Models" says why
    const scans = await drawnScans(() => intake.takeDrawn());
    fill(
      keptHere,
      runs.length > 0 &&
        el(
          'p',
          { className: 'row' },
          `${counted(runs.length, 'training')} ${runs.length === 1 ? 'is' : 'are'} kept here.`,
          button('Show under "Models"', () => open('Models')),
        ),
      scans !== false && el('p', { className: 'row' }, scans),
    );
  }
  void showKept();
  onRunsChange(() => {
    void showKept();
    void keepUnsaved(); // where a training was deleted, there is room
  });

  async function phantoms(): Promise<void> {
    await intake.takeMade('phantoms', async (signal) => {
      const software = (await device())?.software ?? true;
      const shape: [number, number, number] = software ? [24, 24, 16] : [64, 64, 32];
      const made = await dataJob('phantoms', { count: 12, shape }, { signal });
      for (const { source } of made.files) setMade(source as File);
      return { ...(await openDataset(made.files, { name: 'phantoms' })), labels: made.labels };
    });
  }

  function problems(): HTMLElement | undefined {
    const found = [
      ...intake.cases.trouble.map((message) => ({ severity: 'warning', message })),
      ...(state.report?.problems ?? []).map(({ severity, message }) => ({
        severity,
        message: inPageWords(message),
      })),
    ].sort((a, b) => Number(b.severity === 'error') - Number(a.severity === 'error'));
    if (found.length === 0)
      return state.report && el('p', { className: 'good' }, 'No problem was found in these files.');
    return el(
      'section',
      { 'aria-label': 'Problems' },
      el('h2', {}, `${counted(found.length, 'remark')} on these files`),
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

  /** What is learnt where that is not one class for each voxel. */
  const nested = (regions: readonly Region[]): HTMLElement =>
    el(
      'section',
      { className: 'regions', 'aria-label': 'Regions' },
      el('h2', {}, 'Regions that overlap'),
      el(
        'p',
        {},
        'As its dataset.json says, this data set is learnt as regions: each is found by itself, and its voxels may belong to others as well.',
      ),
      el(
        'ul',
        {},
        regions.map(({ name, labels, written }) =>
          el(
            'li',
            {},
            `${name}: the label${labels.length === 1 ? '' : 's'} ${labels.join(', ')}; written as ${written}`,
          ),
        ),
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
          intake.cases.name(value, input.value);
          void attempt('Take over drawings', () => apply(annotate)); // of the class by this name
        });
        return field(`Value ${value}`, input);
      }),
    );
  }

  function unknownVoxels(): HTMLElement {
    const input = el('input', { type: 'number', min: '0', max: '255', step: '1' });
    input.value = state.ignoreLabel === undefined ? '' : String(state.ignoreLabel);
    input.addEventListener('change', () => {
      if (input.reportValidity())
        void attempt('Mark unknown voxels', async () => {
          await intake.cases.ignore(input.value === '' ? undefined : input.valueAsNumber);
          await apply(annotate); // drawings have them, too
        });
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
          'Data: add MR or CT images (.nii, .nii.gz, DICOM series), each with a label volume of the same name, in which every voxel holds the number of its class.',
          'See: look at the cases and their labels in slices and in 3-D.',
          'Annotate: without labels, outline a few slices yourself, and correct what the network makes of the rest.',
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

  let isDue = false;
  /** Draws once, whatever else there is to draw in this task. */
  function drawSoon(): void {
    if (isDue) return;
    isDue = true;
    queueMicrotask(() => {
      isDue = false;
      draw();
    });
  }

  let shown = state.cases;
  onChange(() => {
    if (state.cases !== shown) drawSoon(); // a training that goes on has divided them
  });

  function draw(): void {
    shown = state.cases;
    const isEmpty = state.cases.length === 0;
    const isBusy = work.textContent !== '';
    const ready = state.cases.some(({ part }) => part === 'train');
    const { values, unread } = intake.cases;
    const { scrollTop } = table.element;
    table.update(intake.cases.labels);
    fill(
      body,
      dropZone(
        el(
          'section',
          { className: 'drop', 'aria-label': 'Add files' },
          el(
            'p',
            {},
            'Drop NIfTI images and labels here, DICOM series, a folder, or a Decathlon or nnU-Net data set.',
          ),
          el(
            'div',
            { className: 'row' },
            picker('Choose images', { multiple: true }, (files) => intake.take(entriesOf(files), 'images')),
            picker('Choose labels', { multiple: true, accept: '.nii,.gz,.hdr,.img' }, (files) =>
              intake.take(entriesOf(files), 'labels'),
            ),
            picker('Choose a folder', { folder: true }, (files) => intake.take(entriesOf(files), 'any')),
            button('Try it with phantoms', phantoms, { className: isEmpty ? 'primary' : '' }),
            !isEmpty && button('Start over', () => intake.clear().then(showKept)),
          ),
        ),
        (list) => intake.takeDropped(list),
      ),
      isEmpty && !isBusy && [introduction(), keptHere],
      isBusy &&
        el(
          'div',
          { className: 'row' },
          work,
          button('Cancel', () => intake.cancel()),
        ),
      unread &&
        !isBusy &&
        el(
          'p',
          { className: 'row' },
          'Reading did not come to its end: these cases have not been looked at.',
          button('Go on reading', () => intake.readOn(), { className: 'primary' }),
        ),
      problems(),
      values && !isBusy && valueMap(values, (classes) => intake.cases.map(classes)),
      !isEmpty && table.element,
      state.regions && nested(state.regions),
      state.decision && preparation(state.decision.reasons),
      state.report && state.report.cases.length > 0 && [names(), unknownVoxels()],
      !isEmpty &&
        !isBusy &&
        el(
          'p',
          { className: 'row' },
          ready && button('Next: look at the cases', () => open('See'), { className: 'primary' }),
          state.cases.some(({ label }) => !label) &&
            button(ready ? 'Annotate more of them' : 'No labels: annotate some', () => open('Annotate'), {
              className: ready ? '' : 'primary',
            }),
        ),
    );
    table.element.scrollTop = scrollTop;
  }

  draw();
  async function restore({ cases, record }: Run): Promise<void> {
    const { dataName: name, labels, regions, channelNames: channels, ignoreLabel } = record;
    const plain = cases.map(({ part: _part, ...item }) => item);
    const marked = ignoreLabel === undefined ? {} : { ignoreLabel };
    const isThere = await intake.restore(
      { name, cases: plain, labels, channels, warnings: [], ...marked, ...(regions && { regions }) },
      new Map(record.cases.map(({ id, part }) => [id, part])),
    );
    if (!isThere) return;
    // Of a network that it began with, the preprocessing is not the data's.
    restoreSettings(record.settings, record.from ? undefined : record.preprocessing);
    changed();
  }
  const annotate: DataView['annotate'] = (labels) => intake.cases.annotate(labels, classNames(classCount()));
  const findHere = (): Promise<void> => findDrawings(annotate);
  const openDrawn = (): Promise<void> => intake.takeDrawn();
  const lost = (): readonly string[] => intake.lost();
  const atHand = (): AtHand => intake.cases.atHand();
  const openCases = (cases: AtHand): Promise<void> => intake.takeFrom(cases);
  return {
    element: body,
    dispose: () => undefined,
    restore,
    openDrawn,
    atHand,
    openCases,
    annotate,
    findDrawings: findHere,
    lost,
  };
}
