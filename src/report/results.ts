/** The report's section on results: means with intervals, box plots, the confusion matrix and every case. */
import { className, digits } from '../format.ts';
import type { PostprocessingChoice } from '../metrics/components.ts';
import type { MetricName } from '../metrics/evaluate.ts';
import type { Estimate, Summary } from '../metrics/summary.ts';
import { foregroundDice } from './cases.ts';
import type { Charts } from './charts.ts';
import { classColor, cssColor } from './colors.ts';
import { fold, html, nothing, section, table, type Html } from './html.ts';
import type { ReportData } from './report-data.ts';
import type { Legend } from './series.ts';

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
export const foregroundEstimate = ({ classes, foreground }: Summary, metric: MetricName): Estimate => ({
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

export function results(
  {
    labels,
    labelValues,
    cases = [],
    summary,
    tolerance = 1,
    evaluated = 'test',
    notes = [],
    postprocessing,
  }: ReportData,
  charts: Charts,
): Html {
  if (!summary) return nothing;
  const rows = [
    ...summary.classes.map((entry, label) => [
      html`${swatch(labelValues?.[label] ?? label)}${className(labels, label)}`,
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
      below (${summary.subjects < summary.cases ? `${summary.subjects} subjects` : 'cases'} resampled). NSD at
      a tolerance of ${tolerance} mm. Distances are not defined where a class is missing from the truth or the
      prediction; such cases are counted and left out of that mean. Excess is the predicted volume minus the
      true one.
    </p>`,
    table(['Class', ...columns.map(({ title }) => title)], rows),
    html`<p>
      Dice of the classes in order, background first:<br />
      <code>[${summary.classes.map(({ dice }) => digits(dice.mean)).join(', ')}]</code>
    </p>`,
    remarks.length > 0 ? remarksBox(remarks) : nothing,
    postprocessing ? cleaning(postprocessing, { labels, labelValues }) : nothing,
    cases.length > 0
      ? html`<h3>Dice per class</h3>
          ${charts.boxes(cases, { labels, labelValues }, 'dice', 'Dice', [0, 1])}
          <h3>HD95 per class</h3>
          ${charts.boxes(cases, { labels, labelValues }, 'hd95', 'HD95 (mm)')}
          <p class="soft">
            Boxes from the first to the third quartile with the median; whiskers to the last case within 1.5
            times that range; each dot is a case.
          </p>`
      : nothing,
    summary.confusion.length > 0
      ? html`<h3>Confusion matrix</h3>
          ${charts.confusion(summary.confusion, labels)}
          <p class="soft">Percent of the voxels of each true class, all cases together.</p>`
      : nothing,
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
  { labels, labelValues }: Legend,
): Html {
  const rows = labels.slice(1).map((name, index) => {
    const label = index + 1;
    const isAdopted = largestComponent.includes(label);
    return [
      html`${swatch(labelValues?.[label] ?? label)}${name}`,
      digits(before[label] ?? NaN, 4),
      digits(after[label] ?? NaN, 4),
      isAdopted ? 'yes' : 'no',
    ];
  });
  const adopted = largestComponent.map((label) => className(labels, label));
  return html`<h3>Post-processing</h3>
    <p>
      ${adopted.length > 0 ? `Only the largest component is kept of: ${adopted.join(', ')}.` : 'Adopted for no class.'}
      A class keeps only its largest component where that raises its mean Dice on the validation cases.
    </p>
    ${table(['Class', 'Validation Dice as predicted', 'Largest component only', 'Adopted'], rows)}`;
}
