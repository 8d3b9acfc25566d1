/** Explain: which adapter runs and what it can hold, what to do where there is none, and blocks to copy. */
import { formatBytes, selfTest, version } from 'unet3d-gpu/worker';
import { advice, device } from './device.ts';
import { button, el, fill, lengthy } from './dom.ts';
import { inTraining } from './state.ts';
import type { View } from './view.ts';

/** Limits that matter here, in words; the first ones are in bytes. */
const byteLimits = {
  maxBufferSize: 'Largest buffer',
  maxStorageBufferBindingSize: 'Largest part of a buffer in use at once',
  maxComputeWorkgroupStorageSize: 'Memory of a workgroup',
} as const;
const countLimits = {
  maxStorageBuffersPerShaderStage: 'Buffers per shader',
  maxComputeInvocationsPerWorkgroup: 'Threads of a workgroup',
  maxComputeWorkgroupsPerDimension: 'Workgroups along an axis',
} as const;
const entries = <K extends string>(words: Readonly<Record<K, string>>): [K, string][] =>
  Object.entries(words) as [K, string][];

export function explainView(): View {
  const page = el('div', {}, el('p', { className: 'busy' }, 'Looking for an adapter'));
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
      'The self-test compares every kernel with stored answers, trains a small network against known losses, and measures how fast this GPU is. It takes seconds on a GPU, about a minute on software.',
    ),
    el('p', { className: 'row' }, start),
    status,
    found,
  );
}

async function describe(leaving: AbortSignal): Promise<HTMLElement> {
  const found = await device();
  const storage = await (navigator as Partial<Navigator>).storage?.estimate().catch(() => undefined);
  const limits: [name: string, words: string, value: string][] = found
    ? [
        ...entries(byteLimits).map(([name, words]): [string, string, string] => [
          name,
          words,
          formatBytes(found.adapter.limits[name]),
        ]),
        ...entries(countLimits).map(([name, words]): [string, string, string] => [
          name,
          words,
          String(found.adapter.limits[name]),
        ]),
      ]
    : [];
  const room = storage?.quota === undefined ? 'unknown' : formatBytes(storage.quota - (storage.usage ?? 0));
  const diagnostics = [
    `unet3d-gpu ${version}`,
    `browser: ${navigator.userAgent}`,
    `secure context: ${isSecureContext}; navigator.gpu: ${'gpu' in navigator}`,
    `adapter: ${found?.name ?? 'none'}`,
    ...(found ? [`features: ${[...found.adapter.features].sort().join(', ')}`] : []),
    ...limits.map(([name, , value]) => `${name}: ${value}`),
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
                'This adapter is software: the processor does the work of a GPU, some hundred times slower. Switch hardware acceleration on, if this machine has a GPU.',
              ),
            el(
              'table',
              {},
              el(
                'tbody',
                {},
                limits.map(([name, words, value]) =>
                  el('tr', { title: name }, el('th', { scope: 'row' }, words), el('td', {}, value)),
                ),
              ),
            ),
            el(
              'p',
              { className: 'quiet' },
              `Room for checkpoints on the disk: ${room}. Tensors beyond the largest part are worked on in slabs, with the same result.`,
            ),
          ]
        : [
            el(
              'p',
              {},
              'Training and segmenting need WebGPU, and this browser gives no adapter. What to do here:',
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
        'They are read by this tab and go nowhere else: the page has no server, and its security policy forbids connections to any other site. A training is kept in this browser until it ends, so that a reload can go on with it.',
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
