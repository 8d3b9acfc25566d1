/** Explain: which adapter runs and what it can hold, what to do where there is none, and a block to copy. */
import { formatBytes, version } from 'unet3d-gpu/worker';
import { advice, device } from './device.ts';
import { button, el, fill } from './dom.ts';
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
  void describe().then((content) => fill(page, content));
  return { element: page, dispose: () => undefined };
}

async function describe(): Promise<HTMLElement> {
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
  const block = el('textarea', {
    readOnly: true,
    rows: diagnostics.split('\n').length + 1,
    'aria-label': 'Diagnostics',
    value: diagnostics,
  });
  const said = el('span', { role: 'status' });
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(diagnostics);
      said.textContent = 'Copied.';
    } catch {
      block.select();
      said.textContent = 'Selected; copy it with the keyboard.';
    }
  };
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
      'section',
      { className: 'panel' },
      el('h2', {}, 'Diagnostics'),
      block,
      el('p', { className: 'row' }, button('Copy', copy), said),
    ),
  );
}
