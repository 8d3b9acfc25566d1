/**
 * The course of a training as one picture: losses, Dice per class and the learning rate over the
 * epochs. Rewritten after every epoch it serves as progress.png.
 */
import { InvalidOption } from '../errors.ts';
import { drawText, fitText } from './font.ts';
import { createPicture, fillRect, polyline, type Color, type Picture } from './raster.ts';
import { historySeries, ticks, type HistoryRow, type Series } from './series.ts';

interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

const ink: Color = [30, 30, 30];
const grey: Color = [110, 110, 110];
const rule: Color = [226, 226, 226];

/** A number as an axis writes it: no more digits than it needs. */
export function axisNumber(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e5) return value.toExponential(1).replace('.0e', 'e').replace('e+', 'e');
  return String(Number(value.toPrecision(3)));
}

/** Lowest and highest finite value; [0, 1] without any. */
function extent(values: readonly number[]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values.filter(Number.isFinite))
    [low, high] = [Math.min(low, value), Math.max(high, value)];
  return low > high ? [0, 1] : [low, high];
}

/** Draws axes, grid, lines and, at the right, the legend with each line's last value. */
export function lineChart(
  picture: Picture,
  box: Box,
  title: string,
  series: readonly Series[],
  options: { readonly range?: readonly [number, number]; readonly xLabel?: string } = {},
): void {
  const [xLow, xHigh] = extent(series.flatMap(({ x }) => x));
  const [found0, found1] = extent(series.flatMap(({ y }) => y));
  const padding = (found1 - found0) * 0.05 || Math.abs(found1) * 0.1 || 1;
  const low = options.range?.[0] ?? (found0 >= 0 ? Math.max(0, found0 - padding) : found0 - padding);
  const high = options.range?.[1] ?? found1 + padding;
  const plot = {
    left: box.left + 56,
    top: box.top + 26,
    width: box.width - 56 - 190,
    height: box.height - 26 - 34,
  };
  const px = (x: number): number =>
    plot.left + (xHigh > xLow ? (x - xLow) / (xHigh - xLow) : 0.5) * plot.width;
  const py = (y: number): number => plot.top + (1 - (y - low) / (high - low)) * plot.height;

  drawText(picture, title, box.left, box.top + 13, { size: 12, weight: 1.7 });
  for (const value of ticks(low, high, 5)) {
    fillRect(picture, { x: plot.left, y: Math.round(py(value)), width: plot.width, height: 1 }, rule);
    drawText(picture, axisNumber(value), plot.left - 8, Math.round(py(value)) + 4, {
      size: 9,
      color: grey,
      align: 'right',
    });
  }
  const bottom = plot.top + plot.height;
  for (const value of ticks(xLow, xHigh, 10).filter(Number.isInteger)) {
    fillRect(picture, { x: Math.round(px(value)), y: bottom, width: 1, height: 4 }, grey);
    drawText(picture, String(value), px(value), bottom + 16, { size: 9, color: grey, align: 'center' });
  }
  fillRect(picture, { x: plot.left, y: bottom, width: plot.width, height: 1 }, grey);
  drawText(picture, options.xLabel ?? 'epoch', plot.left + plot.width + 8, bottom + 4, {
    size: 9,
    color: grey,
  });

  for (const { x, y, color, width = 2 } of series)
    polyline(
      picture,
      x.map((value, index) => [px(value), py(y[index]!)] as const),
      width,
      color,
    );
  const legendLeft = plot.left + plot.width + 16;
  series.forEach(({ name, color, y }, index) => {
    const top = plot.top + index * 18;
    if (top > bottom - 20) return;
    const last = y.findLast(Number.isFinite);
    fillRect(picture, { x: legendLeft, y: top + 3, width: 14, height: 4 }, color);
    drawText(picture, fitText(name, 96), legendLeft + 20, top + 9, { color: ink });
    if (last !== undefined)
      drawText(
        picture,
        Math.abs(last) >= 0.05 ? last.toFixed(3) : axisNumber(last),
        box.left + box.width,
        top + 9,
        { color: grey, align: 'right' },
      );
  });
}

/**
 * Training and validation loss, validation Dice per foreground class and their mean, and the
 * learning rate, one under the other.
 * @throws InvalidOption without any epoch
 */
export function curves(
  history: readonly HistoryRow[],
  options: {
    readonly labels?: readonly string[];
    readonly labelValues?: readonly number[] | undefined;
    readonly title?: string;
    readonly width?: number;
  } = {},
): Picture {
  if (history.length === 0) throw new InvalidOption('Curves need at least one epoch, got none: train first.');
  const { loss, dice, learningRate } = historySeries(history, { ...options, labels: options.labels ?? [] });
  const panels = [
    { title: 'Loss', series: loss },
    { title: 'Dice on validation', series: dice, range: [0, 1] as const },
    { title: 'Learning rate', series: learningRate },
  ].filter(({ series }) => series.length > 0);
  const [width, panelHeight, head] = [options.width ?? 880, 230, options.title ? 42 : 10];
  const picture = createPicture(width, head + Math.max(1, panels.length) * (panelHeight + 10));
  if (options.title)
    drawText(picture, fitText(options.title, width - 40, 13), 20, 24, { size: 13, weight: 1.8 });
  panels.forEach(({ title, series, ...rest }, index) => {
    const box = { left: 20, top: head + index * (panelHeight + 10), width: width - 40, height: panelHeight };
    lineChart(picture, box, title, series, rest);
  });
  return picture;
}
