/** The report's other sections: the figures at the top, training, cases, data, machine, and how to repeat the run. */
import { digits, duration, formatBytes } from '../format.ts';
import type { Charts } from './charts.ts';
import { dataUrl, definitions, fold, html, nothing, raw, section, table, type Html } from './html.ts';
import type { ReportData } from './report-data.ts';
import { foregroundEstimate } from './results.ts';

/** The figures at the top. */
export function cards({
  summary,
  cases: all = [],
  history = [],
  adapter,
  evaluated = 'test',
}: ReportData): Html {
  const last = history.at(-1);
  const entries: [string, string][] = [
    ...(summary
      ? ([
          [digits(summary.foreground.dice.mean), `mean Dice on ${evaluated}`],
          [
            `${digits(summary.foreground.hd95.mean, 1)} mm`,
            foregroundEstimate(summary, 'hd95').missing > 0 ? 'mean HD95 where defined' : 'mean HD95',
          ],
          [String(all.length || summary.cases), 'cases scored'],
        ] as [string, string][])
      : []),
    ...(last ? ([[String(history.length), 'epochs']] as [string, string][]) : []),
  ];
  return html`<div class="cards">
      ${entries.map(([value, name]) => html`<div><b>${value}</b><span>${name}</span></div>`)}
    </div>
    ${adapter ? html`<p class="soft">Ran on ${adapter}.</p>` : nothing}`;
}

/** Pictures stop here, in characters, so that the file stays below 15 MB. */
const pictureBudget = 14e6;

export function training({ history = [], labels, labelValues }: ReportData, charts: Charts): Html {
  if (history.length === 0) return nothing;
  const drawn = charts.curves(history, { labels, labelValues }).map(
    ({ title, chart }) =>
      html`<h3>${title}</h3>
        ${chart} `,
  );
  const rows = history.map(({ epoch, trainLoss, validationLoss, dice = [], learningRate }) => [
    epoch,
    digits(trainLoss ?? NaN, 4),
    digits(validationLoss ?? NaN, 4),
    ...labels.slice(1).map((_, index) => digits(dice[index + 1] ?? NaN)),
    learningRate === undefined ? '–' : learningRate.toExponential(2),
  ]);
  const head = [
    'Epoch',
    'Training loss',
    'Validation loss',
    ...labels.slice(1).map((label) => `Dice ${label}`),
    'Learning rate',
  ];
  return section('training', 'Training', ...drawn, fold('Every epoch', table(head, rows)));
}

export function cases({ pictures = [] }: ReportData): Html {
  if (pictures.length === 0) return nothing;
  let spent = 0;
  const image = (bytes: Uint8Array, type: string, alternative: string): Html => {
    const url = dataUrl(bytes, type);
    spent += url.length;
    if (spent <= pictureBudget) return html`<img src="${raw(url)}" alt="${alternative}" />`;
    spent -= url.length;
    return html`<p class="soft">${alternative}: left out, because the report would grow beyond 15 MB.</p>`;
  };
  // All still pictures take their share of the budget before the first GIF.
  const stills = pictures.map(({ png, name }) =>
    image(png, 'image/png', `Image, truth, prediction and difference of ${name}`),
  );
  const walks = pictures.map(({ gif, name }) =>
    gif ? image(gif, 'image/gif', `Walk through the slices of ${name}`) : nothing,
  );
  return section(
    'cases',
    'Cases',
    ...pictures.map(
      ({ title, name, caption }, index) =>
        html`<h3>${title}: ${name}</h3>
          <figure>
            ${stills[index]}
            <figcaption>${caption}</figcaption>
          </figure>
          ${
            walks[index] === nothing
              ? nothing
              : html`<figure>
                  ${walks[index]}
                  <figcaption>
                    Through the slices: truth, prediction, and the prediction in colour over the truth in
                    grey.
                  </figcaption>
                </figure>`
          } `,
    ),
  );
}

export function data({ dataset, split }: ReportData): Html {
  if (!dataset && !split) return nothing;
  const parts = Object.entries(split ?? {});
  return section(
    'data',
    'Data',
    dataset ? definitions(dataset) : nothing,
    parts.length > 0
      ? table(
          ['Part', 'Cases'],
          parts.map(([part, names]) => [part, names.length]),
        )
      : nothing,
    ...parts.map(([part, names]) => fold(`Cases of ${part}`, html`<p>${names.join(', ')}</p>`)),
  );
}

export function machine({ memory, timings = [], adapter }: ReportData, charts: Charts): Html {
  if (!memory && timings.length === 0 && !adapter) return nothing;
  const largest = [...(memory?.tensors ?? [])].sort((a, b) => b.bytes - a.bytes);
  return section(
    'machine',
    'Machine, time and memory',
    adapter ? definitions({ Adapter: adapter }) : nothing,
    timings.length > 0
      ? html`<h3>Time</h3>
          ${table(
            ['Stage', 'Time'],
            timings.map(({ name, seconds }) => [name, duration(seconds)]),
          )}`
      : nothing,
    memory
      ? html`<h3>Memory plan</h3>
          <p>
            ${formatBytes(memory.peakBytes)} of GPU memory for ${memory.tensors.length} tensors, known before
            the first dispatch. Tensors whose lifetimes do not overlap share buffers.
          </p>
          ${charts.lifetimes(memory.tensors)}
          ${fold(
            'Every tensor',
            table(
              ['Tensor', 'Bytes', 'First dispatch', 'Last dispatch'],
              largest.map(({ name, bytes, first, last }) => [name, bytes, first, last]),
            ),
          )}`
      : nothing,
  );
}

const hashTable = (hashes: readonly [string, string][]): Html =>
  table(
    ['File', 'Hash'],
    hashes.map(([name, hash]) => [name, html`<code>${hash}</code>`]),
    { textColumns: 2 },
  );

export function repeat({ command, config, seed, versions = {}, hashes = {} }: ReportData): Html {
  const allHashes = Object.entries(hashes);
  return section(
    'repeat',
    'Repeat it',
    html`<pre>${command}</pre>`,
    definitions({ ...(seed === undefined ? {} : { Seed: seed }), ...versions }),
    allHashes.length > 0
      ? html`<h3>SHA-256</h3>
          ${hashTable(allHashes.slice(0, 2))}
          ${allHashes.length > 2 ? fold('Every file', hashTable(allHashes.slice(2))) : nothing}`
      : nothing,
    html`<h3>Configuration</h3>
      ${definitions(config)}`,
  );
}
