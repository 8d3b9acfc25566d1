/** Live curves of a training: loss, Dice per class and learning rate over the epochs. */
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { classColor, cssColor, meanDefined, type EpochRow } from 'unet3d-gpu/worker';
import { digits, el } from './dom.ts';

interface Line {
  readonly label: string;
  readonly color: string | (() => string);
  readonly width?: number;
  readonly value: (row: EpochRow) => number | undefined;
}

const mean = ({ validationDice }: EpochRow): number => meanDefined(validationDice.slice(1));

/** Of a chart's box, left and right together, in CSS pixels. */
const padding = 20;

export class Curves {
  readonly element: HTMLElement;
  readonly #charts: { readonly plot: uPlot; readonly lines: readonly Line[] }[] = [];
  readonly #resize: ResizeObserver;
  readonly #listening = new AbortController();

  constructor(names: readonly string[]) {
    // Asked for at every drawing: the page may turn dark.
    const ink = (): string => getComputedStyle(document.body).color;
    const rule = ({ root }: uPlot): string => getComputedStyle(root.parentElement ?? root).borderTopColor;
    const classes = names.slice(1).map((label, index): Line => ({
      label,
      color: cssColor(classColor(index + 1)),
      value: (row) => row.validationDice[index + 1],
    }));
    const sets: [title: string, lines: Line[], range?: [number, number]][] = [
      [
        'Loss',
        [
          { label: 'training', color: '#0072b2', value: (row) => row.loss },
          { label: 'validation', color: '#d55e00', value: (row) => row.validationLoss },
        ],
      ],
      ['Dice on validation', [{ label: 'mean', color: ink, width: 3, value: mean }, ...classes], [0, 1]],
      ['Learning rate', [{ label: 'learning rate', color: '#0072b2', value: (row) => row.learningRate }]],
    ];
    this.element = el('div', { className: 'charts' });
    for (const [title, lines, range] of sets) {
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

  update(history: readonly EpochRow[]): void {
    for (const { plot, lines } of this.#charts) {
      const finite = (value: number | undefined): number | null =>
        value === undefined || !Number.isFinite(value) ? null : value;
      plot.setData([
        history.map(({ epoch }) => epoch + 1),
        ...lines.map(({ value }) => history.map((row) => finite(value(row)))),
      ]);
      if (history.length > 0) plot.setLegend({ idx: history.length - 1 });
    }
  }
}
