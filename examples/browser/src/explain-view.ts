/** Explain: which GPU computes and what it can hold, what to do where there is none, and blocks to copy. */
import { formatBytes, selfTest, version } from 'unet3d-gpu/worker';
import { advice, device } from './device.ts';
import { button, el, fill, lengthy } from './dom.ts';
import { inTraining } from './state.ts';
import type { View } from './view.ts';

/** What the table tells, in bytes. */
const shownLimits = [
  ['maxBufferSize', 'Largest block of memory'],
  ['maxStorageBufferBindingSize', 'Largest part of it in use at once'],
] as const;
/** Limits that matter here. */
const limitNames = [
  ...shownLimits.map(([name]) => name),
  'maxComputeWorkgroupStorageSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupsPerDimension',
] as const;

export function explainView(): View {
  const page = el('div', {}, el('p', { className: 'busy' }, 'Looking for a GPU'));
  const leaving = new AbortController();
  void describe(leaving.signal).then((content) => fill(page, content));
  return { element: page, dispose: () => leaving.abort() };
}

/** A text to be handed on. */
function copyable(name: string, text: string): HTMLElement {
  const rows = Math.min(30, text.split('\n').length + 1);
  const block = el('textarea', { readOnly: true, rows, 'aria-label': name, value: text });
  const said = el('span', { role: 'status' });
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = 'Copied.';
    } catch {
      block.select();
      said.textContent = 'Selected; copy it with the keyboard.';
    }
  };
  return el('div', {}, block, el('p', { className: 'row' }, button(`Copy the ${name}`, copy), said));
}

/** @param leaving ends the test */
function selfTestPanel(leaving: AbortSignal): HTMLElement {
  const status = el('p', { role: 'status' });
  const found = el('div');
  const start = lengthy('Run the self-test', async (cancel) => {
    if (inTraining()) throw new Error('the network is training: do this when that is paused or done');
    fill(found);
    const signal = AbortSignal.any([cancel, leaving]);
    const onProgress = (part: string, done: number, parts: number): void => {
      status.textContent = `${part} (${done} of ${parts} parts are done)`;
    };
    try {
      const report = await selfTest({ signal, onProgress });
      status.textContent = report.right
        ? 'Everything is computed rightly here.'
        : 'Not everything is computed rightly here: report it, with the text below.';
      const versions = { browser: navigator.userAgent };
      fill(found, copyable('result of the self-test', JSON.stringify({ ...report, versions }, null, 1)));
    } catch (error) {
      status.textContent = '';
      if (!signal.aborted) throw error;
    }
  });
  return el(
    'section',
    { className: 'panel', 'aria-label': 'Self-test' },
    el('h2', {}, 'Is it right on this GPU?'),
    el(
      'p',
      {},
      'The self-test compares all that is computed here with stored answers, trains a small network against known losses, and measures how fast this GPU is. It takes seconds on a GPU, about a minute without one.',
    ),
    el('p', { className: 'row' }, start),
    status,
    found,
  );
}

async function describe(leaving: AbortSignal): Promise<HTMLElement> {
  const found = await device();
  const storage = await (navigator as Partial<Navigator>).storage?.estimate().catch(() => undefined);
  const room = storage?.quota === undefined ? 'unknown' : formatBytes(storage.quota - (storage.usage ?? 0));
  const diagnostics = [
    `unet3d-gpu ${version}`,
    `browser: ${navigator.userAgent}`,
    `secure context: ${isSecureContext}; navigator.gpu: ${'gpu' in navigator}`,
    `adapter: ${found?.name ?? 'none'}`,
    ...(found
      ? [
          `features: ${[...found.adapter.features].sort().join(', ')}`,
          ...limitNames.map((name) => `${name}: ${found.adapter.limits[name]}`),
        ]
      : []),
    `processor threads: ${navigator.hardwareConcurrency}; room for checkpoints: ${room}`,
  ].join('\n');
  return el(
    'div',
    { className: 'columns' },
    el(
      'section',
      { className: 'panel' },
      el('h2', {}, found ? 'Your GPU' : 'No WebGPU in this browser'),
      found
        ? [
            el('p', {}, el('strong', {}, found.name)),
            found.software &&
              el(
                'p',
                { className: 'warning' },
                'The processor does the work of a GPU here, some hundred times slower. Switch hardware acceleration on, if this machine has a GPU.',
              ),
            el(
              'table',
              {},
              el(
                'tbody',
                {},
                shownLimits.map(([name, words]) =>
                  el(
                    'tr',
                    {},
                    el('th', { scope: 'row' }, words),
                    el('td', {}, formatBytes(found.adapter.limits[name])),
                  ),
                ),
              ),
            ),
            el(
              'p',
              { className: 'quiet' },
              `Room on the disk for what is kept: ${room}. What is larger than such a part is computed piece by piece, with the same result.`,
            ),
          ]
        : [
            el(
              'p',
              {},
              'Training and segmenting need WebGPU, and this browser offers none. What to do here:',
            ),
            el(
              'ol',
              { id: 'advice' },
              advice().map((step) => el('li', {}, step)),
            ),
          ],
      el('h2', {}, 'What happens with your files'),
      el(
        'p',
        {},
        'They are read by this tab and go nowhere else: the page has no server, and its security policy forbids connections to any other site. Trainings and their networks are kept in this browser until you delete them under "Models".',
      ),
    ),
    el(
      'div',
      {},
      found && selfTestPanel(leaving),
      el(
        'section',
        { className: 'panel' },
        el('h2', {}, 'Diagnostics'),
        copyable('diagnostics', diagnostics),
      ),
    ),
  );
}
