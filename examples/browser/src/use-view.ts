/** Use: a model, volumes to segment, what they hold in ml, and labels to download on the volumes' own grids. */
import type { FileEntry } from 'unet3d-gpu/worker';
import {
  button,
  download,
  el,
  entriesOf,
  fill,
  messageOf,
  modelFileName,
  picker,
  ProgressLine,
} from './dom.ts';
import { dropZone, type Listing } from './dropped.ts';
import { ForeignModel } from './foreign-model.ts';
import { KeptModel } from './kept-model.ts';
import { modelAmong } from './given-model.ts';
import { resultTables } from './results.ts';
import { findingsOf } from './findings.ts';
import { enqueue, filesOf, queue, stopQueue } from './segmenting.ts';
import { openToSegment, opening } from './opening.ts';
import { changed, inTraining, onChange, state, type OpenModel, type Result } from './state.ts';
import { starterOffer } from './starter.ts';
import type { View } from './view.ts';
import { viewerControls } from './viewer-controls.ts';
import { Viewer } from './viewer.ts';

const images = (count: number): string => (count === 1 ? 'one image' : `${count} images of a case`);

export function useView(): View {
  const viewer = new Viewer();
  const page = el('div');
  const status = new ProgressLine('busy');
  let current: Result | undefined = state.results.at(-1);
  let drawn: readonly unknown[] = [];
  let count = state.results.length;

  /** Opens a model; whether it is there now. What it fails with is said here. */
  async function open(
    name: string,
    load: (signal: AbortSignal) => Promise<OpenModel | undefined>,
  ): Promise<boolean> {
    try {
      return await openToSegment(name, load);
    } catch (error) {
      const message = messageOf(error);
      opening.problem = message.includes(name) ? message : `${name}: ${message}`;
      changed();
      return false;
    }
  }

  /** Opens the model among some files, if there is one, and segments the volumes. */
  async function take(entries: readonly FileEntry[]): Promise<void> {
    const model = modelAmong(entries);
    if (model && !(await open(model.name, model.load))) return;
    const volumes = model ? model.others : entries;
    if (volumes.length > 0) await enqueue(volumes);
  }

  async function takeDropped(list: Listing): Promise<void> {
    const files = await filesOf(list);
    if (files) await take(entriesOf(files));
  }

  function about(model: OpenModel): string {
    const kind = model instanceof ForeignModel ? ` (${model.kind})` : '';
    const names = findingsOf(model).map(({ name }) => name);
    const more = names.length > 12 ? ` and ${names.length - 12} more` : '';
    return `${state.modelName}${kind}. It reads ${images(model.config.inChannels)} and finds ${names.slice(0, 12).join(', ')}${more}.`;
  }

  function draw(): void {
    const { model, results } = state;
    const locked = inTraining();
    drawn = signature();
    count = results.length;
    status.tell(queue.status, queue.progress);
    fill(
      page,
      dropZone(
        el(
          'section',
          { className: 'panel', 'aria-label': 'Model' },
          el('h2', {}, 'Model'),
          el(
            'p',
            {},
            model
              ? about(model)
              : 'None yet. Open a model.safetensors, a model folder or zip of nnU-Net, or a bundle of MONAI; or train a network under "Train".',
          ),
          el(
            'div',
            { className: 'row' },
            locked
              ? el(
                  'span',
                  { className: 'quiet' },
                  'The network is training; it can be used when that is done.',
                )
              : [
                  picker(
                    'Open a model file',
                    { multiple: true, accept: '.safetensors,.zip,.pt,.pth,.json' },
                    (files) => take(entriesOf(files)),
                  ),
                  picker('Open a model folder', { folder: true }, (files) => take(entriesOf(files))),
                  model instanceof KeptModel &&
                    button('Download the model', async () =>
                      download(modelFileName(state.modelName), await model.save()),
                    ),
                ],
          ),
          !model && !locked && starterOffer(open),
        ),
        (list) => !locked && takeDropped(list),
      ),
      !locked &&
        dropZone(
          el(
            'section',
            { className: 'drop', 'aria-label': 'Volumes to segment' },
            el('p', {}, 'Drop volumes here, NIfTI files, DICOM series or folders of them, to segment them.'),
            el(
              'div',
              { className: 'row' },
              picker('Choose volumes', { multiple: true }, (files) => take(entriesOf(files))),
              picker('Choose a folder of volumes', { folder: true }, (files) => take(entriesOf(files))),
              queue.status !== '' && button('Stop', () => stopQueue('it was stopped')),
            ),
          ),
          takeDropped,
        ),
      queue.status !== '' && status.element,
      [opening.problem, ...queue.problems]
        .filter((text) => text !== '')
        .map((text) => el('p', { className: 'error', role: 'alert' }, text)),
      [...queue.notes, ...(current?.warnings ?? [])].map((text) => el('p', { className: 'quiet' }, text)),
      results.length > 0 && resultTables(results, current, show),
      current && [viewerControls(viewer, current.classes), viewer.element],
    );
  }

  function show(result: Result | undefined): void {
    current = result;
    draw();
    if (result)
      void viewer.show(result.source, [{ title: result.name, overlay: result.overlay }], result.classes);
  }

  /** What a redraw is for; progress changes a line alone. */
  const signature = (): readonly unknown[] => [
    inTraining(),
    state.model,
    state.modelName,
    state.results.length,
    opening.problem,
    [...queue.problems, ...queue.notes].join('\n'),
    queue.status === '',
  ];

  show(current);
  const stopListening = onChange(() => {
    status.tell(queue.status, queue.progress);
    if (signature().every((part, index) => part === drawn[index])) return;
    if (state.results.length > count) show(state.results.at(-1));
    else draw();
  });
  return {
    element: page,
    dispose() {
      stopListening();
      viewer.dispose();
    },
  };
}
