/** Use: a model, volumes to segment, what they hold in ml, and labels to download on the volumes' own grids. */
import {
  classColor,
  cssColor,
  imagesByCase,
  InvalidDataset,
  sourceName,
  volumesAmong,
  type NamedVolume,
} from 'unet3d-gpu/worker';
import {
  button,
  digits,
  download,
  dropZone,
  el,
  entriesOf,
  fileProblem,
  fill,
  leftOut,
  picker,
  swatch,
} from './dom.ts';
import { KeptModel } from './kept-model.ts';
import { inTraining, onChange, openModel, state, type Result, type VolumeFile } from './state.ts';
import type { View } from './view.ts';
import { legend, opacitySlider, Viewer } from './viewer.ts';

export function useView(): View {
  const viewer = new Viewer();
  const page = el('div');
  let busy: AbortController | undefined;
  let status = '';
  let problems: string[] = [];
  /** Of the model that is open now: others know other classes. */
  const results = (): Result[] => state.results.filter(({ model }) => model === state.model);
  let current: Result | undefined = results().at(-1);
  let locked: boolean | undefined;

  const names = (): string[] => {
    const { model } = state;
    const known = model?.description.labels ?? [];
    return Array.from(
      { length: model?.config.classes ?? 0 },
      (_, value) => known[value] ?? (value === 0 ? 'background' : `class ${value}`),
    );
  };

  const images = (count: number): string => (count === 1 ? 'one image' : `${count} images of a case`);

  async function openFile([file]: File[]): Promise<void> {
    if (!file) return;
    problems = [];
    try {
      const weights = async () => new Uint8Array(await file.arrayBuffer());
      openModel(await KeptModel.open(weights), file.name);
      current = undefined;
    } catch (error) {
      problems.push(fileProblem(file, error));
    }
    draw();
  }

  async function segment(files: readonly File[]): Promise<void> {
    const { model } = state;
    problems = [];
    const model3d = files.find(({ name }) => name.endsWith('.safetensors'));
    if (model3d) return openFile([model3d]);
    if (!model) {
      problems.push('Open a model file first, or train a network here.');
      return draw();
    }
    const entries = volumesAmong(entriesOf(files));
    problems.push(...leftOut(entriesOf(files)));
    let volumes: readonly NamedVolume[] = [];
    try {
      const found = await imagesByCase(entries, model.config.inChannels);
      volumes = found.volumes;
      if (found.labels.length > 0)
        problems.push(`${found.labels.length} files are named as labels and left out.`);
    } catch (error) {
      if (!(error instanceof InvalidDataset)) throw error;
      problems.push(error.message);
    }
    busy = new AbortController();
    for (const volume of volumes) {
      const group = volume.files.map(({ source }) => source as VolumeFile);
      const [file] = group as [VolumeFile, ...VolumeFile[]];
      const name = sourceName(file);
      status = `Segmenting ${name}`;
      draw();
      const begun = performance.now();
      try {
        const found = await model.predict(group, {
          signal: busy.signal,
          onProgress: ({ loaded, total }) => {
            status = `Segmenting ${name}: window ${loaded} of ${total}`;
            const line = page.querySelector('.busy');
            if (line) line.textContent = status;
          },
        });
        const { data, spacing } = found.labels;
        const counts = new Array<number>(model.config.classes).fill(0);
        for (const value of data) counts[value]! += 1;
        const perVoxel = (spacing[0] * spacing[1] * spacing[2]) / 1000;
        const bytes = (await found.toNifti()) as Uint8Array<ArrayBuffer>;
        current = {
          model,
          name,
          source: file,
          labels: new File([bytes], `${volume.name}_labels.nii.gz`),
          millilitres: counts.map((count) => count * perVoxel),
          seconds: (performance.now() - begun) / 1000,
          warnings: found.warnings,
          saved: false,
        };
        state.results.push(current);
      } catch (error) {
        problems.push(fileProblem(file, error));
        if (busy.signal.aborted) break;
      }
    }
    busy = undefined;
    status = '';
    draw();
  }

  function table(): HTMLElement {
    const classes = names();
    return el(
      'div',
      { className: 'scroll' },
      el(
        'table',
        {},
        el('caption', {}, 'Volumes in ml'),
        el(
          'thead',
          {},
          el(
            'tr',
            {},
            el('th', { scope: 'col' }, 'File'),
            classes
              .slice(1)
              .map((name, index) =>
                el('th', { scope: 'col' }, swatch(cssColor(classColor(index + 1))), name),
              ),
            el('th', { scope: 'col' }, 'Seconds'),
            el('th', { scope: 'col' }, 'Labels'),
          ),
        ),
        el(
          'tbody',
          {},
          results().map((result) =>
            el(
              'tr',
              { className: result === current ? 'chosen' : '' },
              el(
                'th',
                { scope: 'row' },
                button(
                  result.name,
                  () => {
                    current = result;
                    draw();
                  },
                  { className: 'link', title: 'Show it' },
                ),
              ),
              result.millilitres.slice(1).map((value) => el('td', {}, digits(value, value < 10 ? 2 : 1))),
              el('td', {}, digits(result.seconds, 1)),
              el(
                'td',
                {},
                button(
                  'Download',
                  async () => {
                    download(result.labels.name, new Uint8Array(await result.labels.arrayBuffer()));
                    result.saved = true;
                  },
                  { 'aria-label': `Download the labels of ${result.name}` },
                ),
              ),
            ),
          ),
        ),
      ),
    );
  }

  function draw(): void {
    const { model } = state;
    locked = inTraining();
    fill(
      page,
      el(
        'section',
        { className: 'panel', 'aria-label': 'Model' },
        el('h2', {}, 'Model'),
        el(
          'p',
          {},
          model
            ? `${state.modelName}. It reads ${images(model.config.inChannels)} and finds ${names().slice(1).join(', ')}.`
            : 'None yet. Open a model.safetensors, or train a network under "Train".',
        ),
        el(
          'div',
          { className: 'row' },
          locked
            ? el('span', { className: 'quiet' }, 'The network is training; it can be used when that is done.')
            : [
                picker('Open a model file', { accept: '.safetensors' }, openFile),
                model &&
                  button('Download the model', async () => download('model.safetensors', await model.save())),
              ],
        ),
      ),
      !locked &&
        dropZone(
          el(
            'section',
            { className: 'drop', 'aria-label': 'Volumes to segment' },
            el('p', {}, 'Drop NIfTI volumes here to segment them.'),
            el(
              'div',
              { className: 'row' },
              picker('Choose volumes', { multiple: true, accept: '.nii,.gz,.hdr,.img' }, segment),
              busy && button('Stop', () => busy?.abort()),
            ),
          ),
          segment,
        ),
      status !== '' && el('p', { className: 'busy', role: 'status' }, status),
      problems.map((text) => el('p', { className: 'error', role: 'alert' }, text)),
      current?.warnings.map((text) => el('p', { className: 'quiet' }, text)),
      results().length > 0 && table(),
      current && [el('div', { className: 'row' }, opacitySlider(viewer), legend(names())), viewer.element],
    );
    if (current)
      void viewer.show(current.source, [{ title: current.name, overlay: current.labels }], names());
  }

  draw();
  const stopListening = onChange(() => {
    if (inTraining() !== locked) draw();
  });
  return { element: page, dispose: stopListening };
}
