/**
 * The report of a run as one HTML file that needs no network: results, curves, cases in pictures and
 * everything that it takes to repeat the run.
 */
import * as v from 'valibot';
import { InvalidOption } from '../errors.ts';
import { assertOptions } from '../options.ts';
import { list, numberFrom, text, wholeNumber, withParts } from '../schema.ts';
import type { PostprocessingChoice } from '../metrics/components.ts';
import type { CaseMetrics, MetricName } from '../metrics/evaluate.ts';
import type { Estimate, Summary } from '../metrics/summary.ts';
import { foregroundDice, type CasePicture } from './cases.ts';
import { Charts, type MemoryRow, type Plot } from './charts.ts';
import { classColor, cssColor } from './colors.ts';
import type { HistoryRow } from './curves.ts';
import {
  bytesText,
  dataUrl,
  definitions,
  digits,
  durationText,
  html,
  nothing,
  raw,
  table,
  type Html,
} from './html.ts';
import { style } from './style.ts';

/** Everything a report can show; what is left out has no section. */
export interface ReportData {
  /** Stands on top. */
  readonly title: string;
  /** For example an ISO date. */
  readonly created?: string;
  /** The command that repeats the run. */
  readonly command: string;
  /** Names of the label values 0, 1, 2 … */
  readonly labels: readonly string[];
  /** Of network and training, by name. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Facts about the data set, by name. */
  readonly dataset?: Readonly<Record<string, unknown>>;
  /** Names of the cases of each part, for example train, validation, test. */
  readonly split?: Readonly<Record<string, readonly string[]>>;
  /** One row for each epoch. */
  readonly history?: readonly HistoryRow[];
  /** Which part was evaluated. Default 'test'. */
  readonly evaluated?: string;
  /** Metrics of the evaluated cases. */
  readonly cases?: readonly CaseMetrics[];
  /** Of `cases`. */
  readonly summary?: Summary;
  /** Of NSD, mm. Default 1. */
  readonly tolerance?: number;
  /** What validation chose, with its Dice per class before and after. */
  readonly postprocessing?: PostprocessingChoice;
  /** Of single cases. */
  readonly pictures?: readonly CasePicture[];
  /** Of the plan of a step, in bytes. */
  readonly memory?: { readonly peakBytes: number; readonly tensors: readonly MemoryRow[] };
  /** Seconds by phase. */
  readonly timings?: readonly { readonly name: string; readonly seconds: number }[];
  /** The GPU in one line. */
  readonly adapter?: string;
  /** Of software, by name. */
  readonly versions?: Readonly<Record<string, string>>;
  /** Of the run. */
  readonly seed?: number;
  /** SHA-256 of data and model by name; the first two are shown, the others folded. */
  readonly hashes?: Readonly<Record<string, string>>;
  /** What a reader should know, one sentence each. */
  readonly notes?: readonly string[];
}

const record = v.optional(withParts('an object'));
const dataEntries = {
  title: text,
  created: v.optional(text),
  command: text,
  labels: v.array(text, 'a list of names of classes'),
  config: withParts('an object'),
  dataset: record,
  split: v.optional(v.record(text, v.array(text), 'lists of cases by part')),
  history: v.optional(list('a list of epochs')),
  evaluated: v.optional(text),
  cases: v.optional(list('a list of what evaluateCase gives')),
  summary: v.optional(withParts('what summarise gives', 'classes', 'foreground')),
  tolerance: v.optional(numberFrom(0)),
  postprocessing: v.optional(withParts('what choosePostprocessing gives', 'before', 'after')),
  pictures: v.optional(list('a list of what casePicture gives')),
  memory: v.optional(withParts('peakBytes and tensors', 'peakBytes', 'tensors')),
  timings: v.optional(list('a list of names and seconds')),
  adapter: v.optional(text),
  versions: record,
  seed: v.optional(wholeNumber()),
  hashes: record,
  notes: v.optional(v.array(text, 'a list of texts')),
} satisfies Record<keyof ReportData, unknown>;
const drawingEntries = {
  document: v.optional(withParts('a document', 'createElement')),
  plot: v.optional(withParts('Observable Plot', 'plot')),
};

/** Pictures stop here, in characters, so that the file stays below 15 MB. */
const pictureBudget = 14e6;

const section = (id: string, title: string, ...content: readonly Html[]): Html =>
  html`<section id="${id}">
    <h2>${title}</h2>
    ${content}
  </section> `;
const fold = (title: string, content: Html): Html =>
  html`<details>
    <summary>${title}</summary>
    ${content}
  </details>`;
const swatch = (label: number): Html =>
  label === 0
    ? nothing
    : html`<span class="swatch" style="background:${cssColor(classColor(label))}"></span>`;

const columns: readonly { metric: MetricName; title: string; places: number }[] = [
  { metric: 'dice', title: 'Dice', places: 3 },
  { metric: 'iou', title: 'IoU', places: 3 },
  { metric: 'hd95', title: 'HD95 (mm)', places: 2 },
  { metric: 'assd', title: 'ASSD (mm)', places: 2 },
  { metric: 'nsd', title: 'NSD', places: 3 },
  { metric: 'precision', title: 'Precision', places: 3 },
  { metric: 'recall', title: 'Recall', places: 3 },
  { metric: 'volumeDifference', title: 'Excess (ml)', places: 2 },
];

/** The mean over the foreground, counting what is not defined class by class. */
const foregroundEstimate = ({ classes, foreground }: Summary, metric: MetricName): Estimate => ({
  ...foreground[metric],
  missing: classes.slice(1).reduce((sum, entry) => sum + entry[metric].missing, 0),
});

/** Mean with its interval below. */
function estimateCell({ mean, low, high, missing }: Estimate, places: number): Html {
  const interval = Number.isFinite(low)
    ? html`<small>${digits(low, places)} to ${digits(high, places)}</small>`
    : nothing;
  const left = missing > 0 ? html`<small>${missing} not defined</small>` : nothing;
  return html`${digits(mean, places)}${interval}${left}`;
}

function results(
  { labels, cases = [], summary, tolerance = 1, evaluated = 'test', notes = [], postprocessing }: ReportData,
  charts: Charts,
): Html {
  if (!summary) return nothing;
  const rows = [
    ...summary.classes.map((entry, label) => [
      html`${swatch(label)}${labels[label] ?? `class ${label}`}`,
      // The surface of the background is not measured.
      ...columns.map(({ metric, places }) =>
        estimateCell(label === 0 ? { ...entry[metric], missing: 0 } : entry[metric], places),
      ),
    ]),
    [
      html`<b>mean foreground</b>`,
      ...columns.map(({ metric, places }) => estimateCell(foregroundEstimate(summary, metric), places)),
    ],
  ];
  const perCase = cases.map((entry) => [
    entry.name,
    digits(foregroundDice(entry)),
    ...entry.classes
      .slice(1)
      .map(
        ({ dice, hd95 }) =>
          html`${digits(dice)}<small>${digits(hd95, 2)}${Number.isFinite(hd95) ? ' mm' : ''}</small>`,
      ),
  ]);
  const remarks = [...summary.notes, ...notes];
  return section(
    'results',
    `Results on ${evaluated}`,
    html`<p>
      Means over ${summary.cases} ${summary.cases === 1 ? 'case' : 'cases'} with 95 % bootstrap intervals
      below (cases resampled). NSD at a tolerance of ${tolerance} mm. Distances are not defined where a class
      is missing from the truth or the prediction; such cases are counted and left out of that mean. Excess is
      the predicted volume minus the true one.
    </p>`,
    table(['Class', ...columns.map(({ title }) => title)], rows),
    html`<p>
      Dice of the classes in order, background first:<br />
      <code>[${summary.classes.map(({ dice }) => digits(dice.mean)).join(', ')}]</code>
    </p>`,
    remarks.length > 0 ? remarksBox(remarks) : nothing,
    postprocessing ? cleaning(postprocessing, labels) : nothing,
    cases.length > 0
      ? html`<h3>Dice per class</h3>
          ${charts.boxes(cases, labels, 'dice', 'Dice', [0, 1])}
          <h3>HD95 per class</h3>
          ${charts.boxes(cases, labels, 'hd95', 'HD95 (mm)')}
          <p class="soft">
            Boxes from the first to the third quartile with the median; whiskers to the last case within 1.5
            times that range; each dot is a case.
          </p>`
      : nothing,
    html`<h3>Confusion matrix</h3>
      ${charts.confusion(summary.confusion, labels)}
      <p class="soft">Percent of the voxels of each true class, all cases together.</p>`,
    cases.length > 0
      ? fold('Every case: Dice and HD95', table(['Case', 'mean Dice', ...labels.slice(1)], perCase))
      : nothing,
  );
}

/** Remarks on the results; many are folded behind their number. */
function remarksBox(remarks: readonly string[]): Html {
  const lines = remarks.map((note) => html`<div>${note}</div>`);
  return html`<div class="note">
    ${remarks.length > 4 ? fold(`${remarks.length} remarks`, html`${lines}`) : lines}
  </div>`;
}

/** Which classes keep only their largest component, and why. */
function cleaning(
  { largestComponent, before, after }: PostprocessingChoice,
  labels: readonly string[],
): Html {
  const rows = labels.slice(1).map((name, index) => {
    const label = index + 1;
    const isAdopted = largestComponent.includes(label);
    return [
      html`${swatch(label)}${name}`,
      digits(before[label] ?? NaN, 4),
      digits(after[label] ?? NaN, 4),
      isAdopted ? 'yes' : 'no',
    ];
  });
  const adopted = largestComponent.map((label) => labels[label] ?? `class ${label}`);
  return html`<h3>Post-processing</h3>
    <p>
      ${adopted.length > 0 ? `Only the largest component is kept of: ${adopted.join(', ')}.` : 'Adopted for no class.'}
      A class keeps only its largest component where that raises its mean Dice on the validation cases.
    </p>
    ${table(['Class', 'Validation Dice as predicted', 'Largest component only', 'Adopted'], rows)}`;
}

function training({ history = [], labels }: ReportData, charts: Charts): Html {
  if (history.length === 0) return nothing;
  const drawn = charts.curves(history, labels).map(
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

function cases({ pictures = [] }: ReportData): Html {
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

function data({ dataset, split }: ReportData): Html {
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

function machine({ memory, timings = [], adapter }: ReportData, charts: Charts): Html {
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
            timings.map(({ name, seconds }) => [name, durationText(seconds)]),
          )}`
      : nothing,
    memory
      ? html`<h3>Memory plan</h3>
          <p>
            ${bytesText(memory.peakBytes)} of GPU memory for ${memory.tensors.length} tensors, known before
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

function repeat({ command, config, seed, versions = {}, hashes = {} }: ReportData): Html {
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

/** The figures at the top. */
function cards({ summary, cases: all = [], history = [], adapter, evaluated = 'test' }: ReportData): Html {
  const last = history.at(-1);
  const entries: [string, string][] = [
    ...(summary
      ? ([
          [digits(summary.foreground.dice.mean), `mean Dice on ${evaluated}`],
          [
            `${digits(summary.foreground.hd95.mean, 1)} mm`,
            foregroundEstimate(summary, 'hd95').missing > 0 ? 'mean HD95 where defined' : 'mean HD95',
          ],
          [String(all.length || summary.cases), `cases in ${evaluated}`],
        ] as [string, string][])
      : []),
    ...(last ? ([[String(history.length), 'epochs']] as [string, string][]) : []),
  ];
  return html`<div class="cards">
      ${entries.map(([value, name]) => html`<div><b>${value}</b><span>${name}</span></div>`)}
    </div>
    ${adapter ? html`<p class="soft">Ran on ${adapter}.</p>` : nothing}`;
}

/**
 * The report as the text of an HTML file, below 15 MB. It loads nothing from anywhere.
 * @param options.document a DOM to draw charts in; default: the browser's. In Node use `reportHtml`
 *   of report.node.ts, which brings one.
 * @param options.plot the library that draws them; default: it is imported
 * @throws InvalidOption where there is no document, and for what is unknown or out of range
 */
export async function reportHtml(
  data_: ReportData,
  options: { readonly document?: Document; readonly plot?: Plot } = {},
): Promise<string> {
  assertOptions('reportHtml', dataEntries, data_);
  assertOptions('reportHtml', drawingEntries, options);
  const document = options.document ?? (globalThis as { document?: Document }).document;
  if (!document)
    throw new InvalidOption(
      'A report needs a document to draw charts in, and there is none here: pass one as an option.',
    );
  const charts = await Charts.load({ document, plot: options.plot });
  const sections: [string, string, Html][] = [
    ['results', 'Results', results(data_, charts)],
    ['cases', 'Cases', cases(data_)],
    ['training', 'Training', training(data_, charts)],
    ['data', 'Data', data(data_)],
    ['machine', 'Machine', machine(data_, charts)],
    ['repeat', 'Repeat it', repeat(data_)],
  ];
  const present = sections.filter(([, , content]) => content !== nothing);
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta
          http-equiv="Content-Security-Policy"
          content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        />
        <title>${data_.title}</title>
        <style>
          ${raw(style)}
        </style>
      </head>
      <body>
        <header>
          <h1>${data_.title}</h1>
          <div class="soft">${data_.created ?? ''}</div>
          <nav>${present.map(([id, title]) => html`<a href="#${id}">${title}</a>`)}</nav>
          ${cards(data_)}
        </header>
        <main>${present.map(([, , content]) => content)}</main>
      </body>
    </html> `.html;
}
