/** Train: settings with the planned memory, then live curves, a preview that improves, and the controls. */
import { classColor, cssColor, formatBytes, meanDefined, type Alternative } from 'unet3d-gpu/worker';
import { Curves } from './charts.ts';
import { dataJob } from './data-client.ts';
import { device, type DeviceFacts } from './device.ts';
import { button, digits, download, duration, el, field, fill, number, select, swatch } from './dom.ts';
import { adopt, classCount, largestShape, plan } from './planning.ts';
import { classNames, onChange, state } from './state.ts';
import { goOn, historyTable, pause, progress, skipTuning, start, stop, validationCase } from './training.ts';
import { CaseSlices } from './slices.ts';
import { legend, opacitySlider } from './viewer.ts';

const widths: [string, string][] = [
  ['8,16', 'tiny: 8, 16'],
  ['8,16,32', 'very small: 8, 16, 32'],
  ['16,32,64', 'small: 16, 32, 64'],
  ['16,32,64,128', 'standard: 16, 32, 64, 128'],
  ['32,64,128,256', 'large: 32, 64, 128, 256'],
];

/** Ways to take less memory: the key names how volumes are stored and whether parts are computed again. */
const savings: [string, string][] = [
  ['f32,false', 'none'],
  ['f16,false', 'volumes in 16 bits'],
  ['f32,true', 'parts computed again'],
  ['f16,true', '16 bits, parts computed again'],
];
const savingOf = ({ precision = 'f32', checkpointing = false }: Partial<Alternative>): string =>
  `${precision},${checkpointing}`;

function describe(fitting: Alternative): string {
  const { config, size, batch, bytes } = fitting;
  const saving = savings.find(([key]) => key === savingOf(fitting) && key !== 'f32,false')?.[1];
  const parts = [`${batch} × [${size.join(', ')}] voxels`, `features ${config.features.join(', ')}`, saving];
  return `${parts.filter(Boolean).join('; ')}: ${formatBytes(bytes)}`;
}

export function trainView(onModel: () => void): HTMLElement {
  if (!state.cases.some(({ part }) => part === 'train') && state.training === 'idle')
    return el(
      'p',
      { className: 'empty' },
      'There are no cases to train on. Add images with labels under "Data", or try it with phantoms.',
    );
  const page = el('div');
  let drawn = '';
  let stopListening = (): void => undefined;

  const redraw = async (): Promise<void> => {
    if (drawn !== '' && !page.isConnected) return stopListening();
    const kind = state.training === 'idle' ? 'settings' : 'run';
    if (kind === 'settings') {
      if (drawn === 'settings') return;
      drawn = kind;
      fill(page, settingsForm(await device()));
    } else if (drawn !== 'run') {
      drawn = kind;
      fill(page, runPanel(onModel));
    }
  };
  stopListening = onChange(() => void redraw());
  void redraw();
  return page;
}

function settingsForm(gpu: DeviceFacts | undefined): HTMLElement {
  const { settings } = state;
  if (!gpu)
    return el(
      'p',
      { className: 'error' },
      'This browser offers no WebGPU adapter, so nothing can be trained here. "Explain" tells what to do.',
    );
  const planned = el('section', {
    className: 'panel',
    'aria-live': 'polite',
    'aria-label': 'Planned memory',
  });
  const go = button('Start training', () => start(), { className: 'primary' });

  const patchText = (): string => settings.patch?.join(',') ?? '';
  function replan(): void {
    const { size, bytes, flops, problem, alternatives } = plan(gpu);
    const training = state.cases.filter(({ part }) => part === 'train').length;
    const steps = settings.epochs * Math.ceil(training / settings.batchSize);
    go.disabled = problem !== undefined;
    fill(
      planned,
      el('h2', {}, 'Planned before anything is allocated'),
      el(
        'p',
        {},
        el('strong', {}, formatBytes(bytes)),
        ` of GPU memory for a batch of ${settings.batchSize} × [${size.join(', ')}] voxels (x, y, z).`,
      ),
      Number.isFinite(flops) &&
        el(
          'p',
          { className: 'quiet' },
          `${steps} steps in all, ${(flops / 1e9).toFixed(2)} GFLOP each, on ${gpu!.name}.`,
        ),
      gpu!.software &&
        el('p', { className: 'quiet' }, 'This adapter computes on the processor, so the defaults are small.'),
      problem !== undefined && el('p', { className: 'error' }, `It does not fit: it ${problem}.`),
      alternatives.length > 0 &&
        el(
          'div',
          { className: 'row' },
          'These fit:',
          alternatives.map((fitting) =>
            button(describe(fitting), () => {
              adopt(fitting);
              page.replaceWith(settingsForm(gpu));
            }),
          ),
        ),
    );
  }

  const whole = largestShape();
  const patches: [string, string][] = [['', `whole volumes, ${whole.join(' × ')}`]];
  for (const side of [16, 32, 48, 64, 96, 128])
    if (whole.some((length) => length > side))
      patches.push([
        whole.map((length) => Math.min(length, side)).join(','),
        `patches of ${whole.map((length) => Math.min(length, side)).join(' × ')}`,
      ]);
  if (!patches.some(([key]) => key === patchText()))
    patches.push([patchText(), `patches of ${patchText().replaceAll(',', ' × ')}`]);
  if (!widths.some(([key]) => key === settings.features.join()))
    widths.push([settings.features.join(), settings.features.join(', ')]);
  const set =
    <K extends keyof typeof settings>(key: K) =>
    (value: (typeof settings)[K]): void => {
      settings[key] = value;
      replan();
    };
  const numbers = (text: string): number[] => text.split(',').map(Number);
  replan();
  const page = el(
    'div',
    { className: 'columns' },
    el(
      'form',
      { className: 'panel form', onsubmit: (event: Event) => event.preventDefault() },
      el('h2', {}, 'Settings'),
      field(
        'Epochs',
        number(settings.epochs, { min: 1, max: 10000 }, set('epochs')),
        'Times that each case is seen.',
      ),
      field('Batch size', number(settings.batchSize, { min: 1, max: 64 }, set('batchSize'))),
      field(
        'Features per level',
        select(widths, settings.features.join(), (text) => set('features')(numbers(text))),
        'More learn more, and take more memory and time.',
      ),
      field(
        'Volumes',
        select(patches, patchText(), (text) =>
          set('patch')(text === '' ? undefined : (numbers(text) as [number, number, number])),
        ),
      ),
      field(
        'Highest learning rate',
        number(settings.learningRate, { min: 1e-6, max: 1, step: 'any' }, set('learningRate')),
      ),
      field(
        'GPU memory to use, GiB',
        number(settings.memory, { min: 0.1, max: 256, step: 'any' }, set('memory')),
        'No browser tells how much there is; this is an assumption.',
      ),
      field(
        'Saving memory',
        select(savings, savingOf(settings), (key) => {
          settings.precision = key.startsWith('f16') ? 'f16' : 'f32';
          settings.checkpointing = key.endsWith('true');
          replan();
        }),
        'Slower, with nearly the same result.',
      ),
      field(
        'Seed',
        number(settings.seed, { min: 0, max: 1e9 }, set('seed')),
        'The same seed gives the same training.',
      ),
    ),
    el(
      'div',
      {},
      planned,
      el(
        'p',
        { className: 'row' },
        go,
        progress.problem !== '' && el('span', { className: 'error' }, progress.problem),
      ),
    ),
  );
  return page;
}

function runPanel(onModel: () => void): HTMLElement {
  const names = classNames(classCount());
  const curves = new Curves(names);
  const bar = el('progress', { 'aria-label': 'Progress of the training' });
  const line = el('p', { role: 'status' });
  const controls = el('div', {
    className: 'row',
    role: 'group',
    'aria-label': 'Controls of the training',
    tabIndex: -1,
  });
  const table = el('div');
  const log = el('ol', { className: 'log', 'aria-label': 'Log' });
  const problem = el('p', { className: 'error', role: 'alert' });
  const preview = el('div', {}, el('p', { className: 'quiet' }, 'It appears after the first epoch.'));
  const page = el(
    'div',
    { className: 'run' },
    el('section', { className: 'panel', 'aria-label': 'Progress' }, bar, line, problem, controls),
    curves.element,
    el(
      'div',
      { className: 'columns wide' },
      el('section', { className: 'panel' }, el('h2', {}, 'Dice of the last epoch'), table),
      el(
        'section',
        { className: 'panel' },
        el('h2', {}, 'A validation case, segmented after each epoch'),
        preview,
      ),
    ),
    el('details', { open: true }, el('summary', {}, 'Log'), log),
  );
  let slices: Promise<CaseSlices> | undefined;
  let shown = -1;
  let epochs = -1;
  let controlsFor = '';

  async function showPreview(): Promise<void> {
    const item = validationCase();
    const { preview: found } = progress;
    if (!item || !found || found.epoch === shown) return;
    shown = found.epoch;
    slices ??= dataJob('survey', { id: item.id }).then((survey) => {
      const made = new CaseSlices(item, survey);
      fill(preview, el('div', { className: 'row' }, opacitySlider(made), legend(names)), made.element);
      return made;
    });
    const dice = digits(meanDefined(found.dice.slice(1)));
    await (
      await slices
    ).show(`Prediction after epoch ${found.epoch + 1}: mean Dice ${dice}`, found.predicted);
  }

  function update(): void {
    const { training, history } = state;
    bar.max = Math.max(1, progress.totalSteps);
    bar.value = training === 'done' ? bar.max : progress.step;
    const where = `epoch ${Math.min(progress.epoch + 1, state.settings.epochs)} of ${state.settings.epochs}, step ${progress.step} of ${progress.totalSteps}`;
    line.textContent = {
      idle: '',
      preparing:
        progress.totalSteps > 0
          ? `Preparing: ${progress.step} of ${progress.totalSteps} cases`
          : 'Preparing the cases',
      running: Number.isFinite(progress.loss)
        ? `Training: ${where}, loss ${digits(progress.loss)}, ${duration(progress.etaMs)} to go, ${formatBytes(progress.gpuBytes)} on the GPU`
        : progress.tuning
          ? `Measuring which kernels are fastest on this GPU, once: ${progress.tuning.done} of ${progress.tuning.passes} convolution shapes, a minute at most`
          : 'Starting: compiling shaders and allocating memory',
      pausing: 'Finishing the step and saving',
      paused: `Paused at ${where}.`,
      done: `Done after ${history.length} epochs.${progress.best ? ` Kept: epoch ${progress.best.epoch + 1}, mean Dice ${digits(progress.best.dice)}.` : ''}`,
    }[training];
    problem.textContent = progress.problem;
    const wanted = progress.tuning ? 'tuning' : training;
    if (controlsFor !== wanted) {
      const first = controlsFor === '';
      controlsFor = wanted;
      fill(
        controls,
        wanted === 'tuning' && button('Skip measuring', skipTuning, { className: 'primary' }),
        training === 'running' && [button('Pause', pause), button('Stop early, keep the best', stop)],
        training === 'paused' && [
          button('Resume', () => goOn(), { className: 'primary' }),
          button('Stop early, keep the best', stop),
        ],
        training === 'done' && [
          button('Use this network', onModel, { className: 'primary' }),
          button(
            'Download the model',
            async () => state.model && download('model.safetensors', await state.model.save()),
          ),
          button('Download the history', async () => download('history.csv', await historyTable())),
          button('Download the report', async () => {
            const { trainingReport } = await import('./report.ts');
            download('report.html', await trainingReport());
          }),
          button('New training', () => {
            state.training = 'idle';
            page.replaceWith(trainView(onModel));
          }),
        ],
      );
      // The button that was pressed is gone: its focus waits in this row for the next one.
      const { activeElement } = document;
      const left = first && (activeElement === document.body || activeElement?.id === 'page');
      if (left || activeElement === controls)
        (controls.querySelector('button') ?? controls).focus({ preventScroll: true });
    }
    if (history.length !== epochs) {
      epochs = history.length;
      curves.update(history);
      const row = history.at(-1);
      fill(
        table,
        row && row.validationDice.length > 0
          ? el(
              'table',
              { className: 'dice' },
              el(
                'tbody',
                {},
                names.map((name, value) =>
                  el(
                    'tr',
                    {},
                    el('th', { scope: 'row' }, value > 0 && swatch(cssColor(classColor(value))), name),
                    el('td', {}, digits(row.validationDice[value])),
                  ),
                ),
              ),
            )
          : el(
              'p',
              { className: 'quiet' },
              'It appears after the first epoch, if there are validation cases.',
            ),
      );
    }
    if (log.childElementCount !== progress.log.length)
      fill(
        log,
        progress.log.map((text) => el('li', {}, text)),
      );
    void showPreview();
  }
  const stopListening = onChange(() => {
    if (page.isConnected) update();
    else stopListening();
  });
  queueMicrotask(update);
  return page;
}
