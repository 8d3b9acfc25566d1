/**
 * The report's charts as SVG, by Observable Plot: curves of the training, box plots, the confusion
 * matrix and the lifetimes of the memory plan. Ink follows the page's colour, so dark pages work.
 */
import { className, digits, formatBytes } from '../format.ts';
import type { Plan } from '../gpu/plan.ts';
import type { CaseMetrics, MetricName } from '../metrics/evaluate.ts';
import { classColor, cssColor } from './colors.ts';
import { raw, type Html } from './html.ts';
import { historySeries, ticks, type HistoryRow, type Legend, type Series } from './series.ts';

/** The module `@observablehq/plot`. */
export type Plot = typeof import('@observablehq/plot');

/** The same for callers, whose compilers need not know its types: they lean on d3's, which npm does not install. */
export interface PlotModule {
  /** Draws marks, as an SVG element. */
  readonly plot: (...options: never[]) => unknown;
}

/** One planned tensor: bytes and the first and last dispatch that use it. */
export interface MemoryRow {
  /** Of the tensor. */
  readonly name: string;
  /** That it takes. */
  readonly bytes: number;
  /** Index of the first dispatch that uses it. */
  readonly first: number;
  /** Index of the last one. */
  readonly last: number;
}

/** Pixels of a chart that fills the column. */
const width = 900;

/** Draws charts in a document: the browser's, or any with the same DOM. */
export class Charts {
  private constructor(
    private readonly plot: Plot,
    private readonly document: Document,
  ) {}

  /** Loads the plotting library, which only a report needs, unless it is given. */
  static async load({
    document,
    plot,
  }: {
    document: Document;
    plot?: PlotModule | undefined;
  }): Promise<Charts> {
    return new Charts((plot as Plot | undefined) ?? (await import('@observablehq/plot')), document);
  }

  private draw(label: string, options: import('@observablehq/plot').PlotOptions): Html {
    const node = this.plot.plot({
      document: this.document,
      ariaLabel: label,
      style: { background: 'none', fontSize: '12px', overflow: 'visible' },
      ...options,
    });
    return raw(node.outerHTML);
  }

  private lines(
    label: string,
    series: readonly Series[],
    y: import('@observablehq/plot').ScaleOptions,
  ): Html {
    const { plot } = this;
    const rows = series.flatMap(({ name, x, y: values }) =>
      x.map((epoch, index) => ({ epoch, value: values[index]!, name })),
    );
    const x = series[0]?.x ?? [];
    const epochs = ticks(x[0] ?? 0, x[x.length - 1] ?? 0, 10);
    const isShort = x.length < 15;
    const ink = (color: Series['color']): string =>
      Math.max(...color) < 40 ? 'currentColor' : cssColor(color);
    const channels = { x: 'epoch', y: 'value' } as const;
    return this.draw(label, {
      width,
      height: 260,
      marginLeft: 60,
      marginBottom: 44,
      x: { label: 'epoch', ticks: epochs.filter(Number.isInteger), tickFormat: 'd' },
      y: { grid: true, label: null, ...y },
      color: {
        legend: true,
        domain: series.map(({ name }) => name),
        range: series.map(({ color }) => ink(color)),
      },
      marks: [
        plot.line(rows, { ...channels, stroke: 'name', z: 'name', strokeWidth: 2 }),
        ...(isShort
          ? [
              plot.dot(
                rows.filter(({ value }) => Number.isFinite(value)),
                { ...channels, fill: 'name', r: 3 },
              ),
            ]
          : []),
      ],
    });
  }

  /** Loss, Dice and learning rate over the epochs; what was not recorded is left out. */
  curves(history: readonly HistoryRow[], legend: Legend): { title: string; chart: Html }[] {
    const { loss, dice, learningRate } = historySeries(history, legend);
    return [
      { title: 'Loss', series: loss, y: { zero: true } },
      { title: 'Dice on validation', series: dice, y: { domain: [0, 1] } },
      { title: 'Learning rate', series: learningRate, y: { zero: true, tickFormat: '~g' } },
    ]
      .filter(({ series }) => series.length > 0)
      .map(({ title, series, y }) => ({ title, chart: this.lines(title, series, y) }));
  }

  /** One box per foreground class over the cases, with every case as a dot. */
  boxes(
    cases: readonly CaseMetrics[],
    { labels, labelValues }: Legend,
    metric: MetricName,
    title: string,
    domain?: [number, number],
  ): Html {
    const { plot } = this;
    const names = labels.slice(1);
    const rows = cases.flatMap(({ name, classes }) =>
      names.map((label, index) => ({ case: name, label, value: classes[index + 1]?.[metric] ?? NaN })),
    );
    const defined = rows.filter(({ value }) => Number.isFinite(value));
    return this.draw(title, {
      width,
      height: 70 + 44 * names.length,
      marginBottom: 44,
      marginLeft: 110,
      x: { grid: true, label: title, ...(domain ? { domain } : { zero: true }) },
      y: { label: null, domain: names },
      color: {
        domain: names,
        range: names.map((_, index) => cssColor(classColor(labelValues?.[index + 1] ?? index + 1))),
      },
      marks: [
        plot.boxX(defined, { x: 'value', y: 'label', fill: 'label', fillOpacity: 0.55, r: 0 }),
        plot.dot(defined, {
          x: 'value',
          y: 'label',
          r: 2.5,
          fill: 'currentColor',
          fillOpacity: 0.6,
          title: (row: (typeof rows)[number]) => `${row.case}: ${digits(row.value)}`,
        }),
      ],
    });
  }

  /** Fraction of each true class (row) that was predicted as each class (column). */
  confusion(matrix: readonly (readonly number[])[], labels: readonly string[]): Html {
    const { plot } = this;
    const cells = matrix.flatMap((row, truth) => {
      const total = row.reduce((sum, voxels) => sum + voxels, 0);
      return row.map((voxels, prediction) => ({
        truth: className(labels, truth),
        prediction: className(labels, prediction),
        voxels,
        fraction: total > 0 ? voxels / total : NaN,
      }));
    });
    type Cell = (typeof cells)[number];
    const names = matrix.map((_, label) => className(labels, label));
    const percent = ({ fraction }: Cell): string =>
      fraction > 0 && fraction < 0.0005 ? '<0.1' : digits(fraction * 100, 1);
    return this.draw('Confusion matrix', {
      width: 170 + 84 * names.length,
      height: 80 + 44 * names.length,
      marginLeft: 110,
      marginTop: 50,
      x: { domain: names, axis: 'top', label: 'predicted', tickSize: 0 },
      y: { domain: names, label: 'true', tickSize: 0 },
      color: { type: 'linear', scheme: 'blues', domain: [0, 1] },
      marks: [
        plot.cell(cells, {
          x: 'prediction',
          y: 'truth',
          fill: 'fraction',
          inset: 1,
          title: ({ voxels }: Cell) => `${voxels} voxels`,
        }),
        plot.text(cells, {
          x: 'prediction',
          y: 'truth',
          text: percent,
          fill: ({ fraction }: Cell) => (fraction > 0.55 ? 'white' : 'black'),
        }),
      ],
    });
  }

  /** The largest tensors over the dispatches of a step, from first to last use. */
  lifetimes(rows: readonly MemoryRow[]): Html {
    const { plot } = this;
    const shown = [...rows]
      .sort((a, b) => b.bytes - a.bytes)
      .slice(0, 24)
      .sort((a, b) => a.first - b.first || b.last - a.last);
    const bars = shown.map((row, index) => ({ ...row, end: row.last + 1, key: `${index}` }));
    type Bar = (typeof bars)[number];
    const name = ({ name: text }: Bar): string => (text.length > 30 ? `${text.slice(0, 29)}…` : text);
    return this.draw('Lifetimes of the largest tensors', {
      width,
      height: 60 + 17 * bars.length,
      marginBottom: 44,
      marginLeft: 210,
      marginRight: 76,
      x: { label: 'dispatch of a step', grid: true },
      y: {
        label: null,
        domain: bars.map(({ key }) => key),
        tickFormat: (key: string) => name(bars[Number(key)]!),
        tickSize: 0,
      },
      marks: [
        plot.barX(bars, {
          x1: 'first',
          x2: 'end',
          y: 'key',
          fill: 'rgb(0, 114, 178)',
          fillOpacity: 0.75,
          insetTop: 2,
          insetBottom: 2,
        }),
        plot.text(bars, {
          x: 'end',
          y: 'key',
          text: ({ bytes }: Bar) => formatBytes(bytes),
          textAnchor: 'start',
          dx: 4,
        }),
      ],
    });
  }

  /**
   * The plan's buffers on top of each other, and in each the tensors that live in it, over the dispatches of a
   * step: the height of the picture is the memory.
   */
  memory({ tensors, buffers, dispatches, peakBytes }: Plan): Html {
    const { plot } = this;
    const MiB = 2 ** 20;
    let end = 0;
    const bottoms = buffers.map((bytes) => (end += bytes) - bytes);
    const boxes = tensors
      .filter(({ buffer, first }) => buffer >= 0 && first >= 0)
      .map(({ name, bytes, storage, first, last, buffer }) => ({
        name,
        kind: storage === 'resident' ? 'input' : kindOf(name),
        from: storage === 'resident' ? 0 : first,
        to: storage === 'resident' ? dispatches.length : last + 1,
        low: bottoms[buffer]! / MiB,
        high: (bottoms[buffer]! + bytes) / MiB,
      }));
    type Box = (typeof boxes)[number];
    const large = boxes.filter(
      ({ from, to, low, high }) => high - low > end / MiB / 40 && to - from > dispatches.length / 12,
    );
    return this.draw('Memory over a step', {
      width,
      height: 420,
      marginBottom: 44,
      marginLeft: 60,
      x: { label: 'dispatch of a step', domain: [0, dispatches.length] },
      y: {
        label: `MiB in ${buffers.length} buffers; ${formatBytes(peakBytes)} with weights and parameters`,
        grid: true,
      },
      color: { domain: Object.keys(memoryColors), range: Object.values(memoryColors), legend: false },
      marks: [
        plot.rect(boxes, {
          x1: 'from',
          x2: 'to',
          y1: 'low',
          y2: 'high',
          fill: 'kind',
          fillOpacity: 0.8,
          stroke: 'currentColor',
          strokeWidth: 0.3,
          title: ({ name, low, high }: Box) => `${name}, ${formatBytes((high - low) * MiB)}`,
        }),
        plot.text(large, {
          x: ({ from, to }: Box) => (from + to) / 2,
          y: ({ low, high }: Box) => (low + high) / 2,
          text: 'name',
          fontSize: 10,
        }),
      ],
    });
  }
}

const memoryColors = {
  input: 'rgb(153, 153, 153)',
  activation: 'rgb(86, 180, 233)',
  gradient: 'rgb(230, 159, 0)',
  partial: 'rgb(0, 158, 115)',
} as const;

function kindOf(name: string): keyof typeof memoryColors {
  if (/\.d$/.test(name)) return 'gradient';
  return /^(encoder|decoder)\..*(conv\d*|up|pool|sum)$|^logits$/.test(name) ? 'activation' : 'partial';
}
