/** The settings of the next training, with the memory that is planned for it. */
import { formatBytes, type Alternative } from 'unet3d-gpu/worker';
import { describeAugmentation, type AugmentationChoice } from './augmentation.ts';
import { beginningFields } from './beginning-fields.ts';
import { givenNetwork } from './beginning.ts';
import type { DeviceFacts } from './device.ts';
import { button, counted, el, field, fill, lengthy, number, select, unlessAborted } from './dom.ts';
import { choose, largestShape, plan, settingsOf } from './planning.ts';
import { state, type Choices } from './state.ts';
import { begin, refusal } from './run-at-hand.ts';

const widths: [string, string][] = [
  ['8,16', 'tiny: 8, 16'],
  ['8,16,32', 'very small: 8, 16, 32'],
  ['16,32,64', 'small: 16, 32, 64'],
  ['16,32,64,128', 'standard: 16, 32, 64, 128'],
  ['32,64,128,256', 'large: 32, 64, 128, 256'],
];

const augmentations: [string, string][] = [
  ['mirrored', 'as nnU-Net'],
  ['sides kept', 'as nnU-Net, left and right kept apart'],
  ['', 'none'],
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

const volumes = (batch: number, size: readonly number[]): string =>
  `${counted(batch, 'volume')} of ${size.join(' × ')} voxels`;

function describe(fitting: Alternative): string {
  const { config, size, batch, bytes } = fitting;
  const saving = savings.find(([key]) => key === savingOf(fitting) && key !== 'f32,false')?.[1];
  const parts = [volumes(batch, size), `features ${config.features.join(', ')}`, saving];
  return `${parts.filter(Boolean).join('; ')}: ${formatBytes(bytes)}`;
}

/** @param findDrawings makes what is drawn by now the labels of the cases */
export function settingsForm(gpu: DeviceFacts | undefined, findDrawings: () => Promise<void>): HTMLElement {
  const { settings } = state;
  if (!gpu)
    return el(
      'p',
      { className: 'error' },
      'This browser offers no WebGPU, so nothing can be trained here. "Explain" tells what to do.',
    );
  const planned = el('section', {
    className: 'panel',
    'aria-live': 'polite',
    'aria-label': 'Planned memory',
  });
  const start = async (signal: AbortSignal): Promise<void> =>
    begin(await unlessAborted(findDrawings().then(givenNetwork), signal));
  const go = lengthy('Start training', start, {
    className: 'primary',
  });

  const redraw = (): void => page.replaceWith(settingsForm(gpu, findDrawings));
  const patchText = (): string => settings.patch?.join(',') ?? '';
  function replan(): void {
    const { size, bytes, flops, problem, alternatives } = plan(gpu!);
    const training = state.cases.filter(({ part }) => part === 'train').length;
    const steps = settings.epochs * Math.ceil(training / settings.batchSize);
    go.disabled = problem !== undefined;
    fill(
      planned,
      el('h2', {}, 'What it will take'),
      el(
        'p',
        {},
        el('strong', {}, formatBytes(bytes)),
        ` of GPU memory for a batch of ${volumes(settings.batchSize, size)}.`,
      ),
      Number.isFinite(flops) &&
        el(
          'p',
          { className: 'quiet' },
          `${steps} steps in all, ${(flops / 1e9).toFixed(2)} billion operations each, on ${gpu!.name}.`,
        ),
      el('p', { className: 'quiet' }, describeAugmentation(settings.augmentation)),
      gpu!.software &&
        el(
          'p',
          { className: 'quiet' },
          'The processor computes here, in place of a GPU: the defaults are small.',
        ),
      problem !== undefined && el('p', { className: 'error' }, `It does not fit: it ${problem}.`),
      alternatives.length > 0 &&
        el(
          'div',
          { className: 'row' },
          'These fit:',
          alternatives.map((fitting) =>
            button(describe(fitting), () => {
              choose(settingsOf(fitting));
              redraw();
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
    <K extends keyof Choices>(key: K) =>
    (value: Choices[K]): void => {
      choose({ [key]: value });
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
      beginningFields(redraw),
      field(
        'Epochs',
        number(settings.epochs, { min: 1, max: 10000 }, set('epochs')),
        'Times that each case is seen.',
      ),
      field('Batch size', number(settings.batchSize, { min: 1, max: 64 }, set('batchSize'))),
      !state.beginning &&
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
        'Augmentation',
        select(augmentations, settings.augmentation ?? '', (text) =>
          set('augmentation')(text === '' ? undefined : (text as AugmentationChoice)),
        ),
        'More is learnt from few cases. Left and right are kept apart where names of classes tell them.',
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
          choose({
            precision: key.startsWith('f16') ? 'f16' : 'f32',
            checkpointing: key.endsWith('true'),
          });
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
      el('p', { className: 'row' }, go, refusal !== '' && el('span', { className: 'error' }, refusal)),
    ),
  );
  return page;
}
