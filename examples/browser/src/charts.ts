/** Curves of trainings over their epochs. */
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { classColor, cssColor, meanDefined, type EpochRow } from 'unet3d-gpu/worker';
import { digits, el } from './dom.ts';

interface Line {
  readonly label: string;
  readonly color: string | (() => string);
  readonly width?: number;
  /** Which of the trainings, if there are several. */
  readonly run?: number;
  readonly value: (row: EpochRow) => number | undefined;
}

interface Chart {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly range?: [number, number];
}

const mean = ({ validationDice }: EpochRow): number => meanDefined(validationDice.slice(1));

/** Of a chart's box, left and right together, in CSS pixels. */
const padding = 20;

// Asked for at every drawing: the page may turn dark.
const ink = (): string => getComputedStyle(document.body).color;
const rule = ({ root }: uPlot): string => getComputedStyle(root.parentElement ?? root).borderTopColor;

/**
 * Loss, Dice per class and learning rate of one training.
 * @param values label values in whose colours the classes are drawn
 */
export function curvesOf(names: readonly string[], values: readonly number[]): Charts {
  const classes = names.slice(1).map((label, index): Line => ({
    label,
    color: cssColor(classColor(values[index + 1]!)),
    value: (row) => row.validationDice[index + 1],
  }));
  return new Charts([
    {
      title: 'Loss',
      lines: [
        { label: 'training', color: '#0072b2', value: (row) => row.loss },
        { label: 'validation', color: '#d55e00', value: (row) => row.validationLoss },
      ],
    },
    {
      title: 'Dice on validation',
      lines: [{ label: 'mean', color: ink, width: 3, value: mean }, ...classes],
      range: [0, 1],
    },
    {
      title: 'Learning rate',
      lines: [{ label: 'learning rate', color: '#0072b2', value: (row) => row.learningRate }],
    },
  ]);
}

/** Loss and mean Dice of several trainings beside each other. */
export function comparisonOf(names: readonly string[]): Charts {
  const lines = (value: Line['value']): Line[] =>
    names.map((label, run) => ({ label, color: cssColor(classColor(run + 1)), run, value }));
  return new Charts([
    { title: 'Loss in training', lines: lines((row) => row.loss) },
    { title: 'Loss on validation', lines: lines((row) => row.validationLoss) },
    { title: 'Mean Dice on validation', lines: lines(mean), range: [0, 1] },
  ]);
}

/** Curves over epochs. */
export class Charts {
  readonly element: HTMLElement;
  readonly #charts: { readonly plot: uPlot; readonly lines: readonly Line[] }[] = [];
  readonly #resize: ResizeObserver;
  readonly #listening = new AbortController();

  constructor(charts: readonly Chart[]) {
    this.element = el('div', { className: 'charts' });
    for (const { title, lines, range } of charts) {
      const box = el('figure', { className: 'chart' }, el('figcaption', {}, title));
      this.element.append(box);
      const axis = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 } };
      const plot = new uPlot(
        {
          width: 340,
          height: 190,
          cursor: { drag: { x: false, y: false } },
          legend: {
            markers: {
              stroke: (_, index) => {
                const color = lines[index - 1]?.color;
                return typeof color === 'string' ? color : 'currentColor';
              },
            },
          },
          scales: { x: { time: false }, ...(range && { y: { range } }) },
          axes: [
            { ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200] },
            {
              ...axis,
              size: 56,
              values: (_, ticks) => ticks.map((tick) => String(Number(tick.toPrecision(3)))),
            },
          ],
          series: [
            { label: 'epoch' },
            ...lines.map(({ label, color, width = 2 }) => ({
              label,
              stroke: color,
              width,
              points: { show: true, size: 5, fill: color },
              value: (_: uPlot, value: number | null) =>
                value === null
                  ? '–'
                  : value !== 0 && Math.abs(value) < 0.001
                    ? value.toExponential(1)
                    : digits(value),
            })),
          ],
        },
        [[], ...lines.map(() => [])],
        box,
      );
      this.#charts.push({ plot, lines });
    }
    this.#resize = new ResizeObserver(() => {
      for (const { plot } of this.#charts) {
        const width = (plot.root.parentElement?.clientWidth ?? 0) - padding;
        if (width > 50 && Math.abs(width - plot.width) > 1) plot.setSize({ width, height: 190 });
        this.#showLast(plot);
      }
    });
    this.#resize.observe(this.element);
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    const repaint = (): void => {
      for (const { plot } of this.#charts) plot.redraw(false);
    };
    scheme.addEventListener('change', repaint, { signal: this.#listening.signal });
  }

  dispose(): void {
    this.#listening.abort();
    this.#resize.disconnect();
    for (const { plot } of this.#charts) plot.destroy();
  }

  /** @param histories one for each training */
  update(...histories: readonly (readonly EpochRow[])[]): void {
    const finite = (value: number | undefined): number | null =>
      value === undefined || !Number.isFinite(value) ? null : value;
    const epochs = Array.from({ length: Math.max(...histories.map(({ length }) => length)) }, (_, at) => at);
    for (const { plot, lines } of this.#charts) {
      plot.setData([
        epochs.map((epoch) => epoch + 1),
        ...lines.map(({ value, run = 0 }) =>
          epochs.map((epoch) => {
            const row = histories[run]?.[epoch];
            return finite(row && value(row));
          }),
        ),
      ]);
      this.#showLast(plot);
    }
  }

  /** Where no mouse is over a chart, its legend has the figures of the last epoch. */
  #showLast(plot: uPlot): void {
    const epochs = plot.data[0].length;
    if (epochs > 0) plot.setLegend({ idx: epochs - 1 });
  }
}
