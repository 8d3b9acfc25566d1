/**
 * Truth beside prediction: grids of slices as pictures and walks through a volume as GIFs. Images
 * are grey between their 1st and 99th percentile, classes coloured on top with a firm outline.
 */
import * as v from 'valibot';
import { InvalidOption, InvalidVolume } from '../errors.ts';
import { className } from '../format.ts';
import { finite, oneOf, text, wholeNumber } from '../schema.ts';
import { classColor, differenceColors } from './colors.ts';
import { drawText, fitText, textWidth } from './font.ts';
import { encodeGif } from './gif.ts';
import { createPicture, drawPicture, fillRect, type Color, type Picture } from './raster.ts';
import { drawPanel, type Column, type SliceCase } from './panels.ts';
import {
  greyWindow,
  mostTelling,
  planeSchema,
  viewOf,
  type GridVolume,
  type Plane,
  type View,
} from './view.ts';

/** What a picture shows, and how. */
export interface SliceOptions {
  /** Names of the label values 0, 1, 2 … for the legend. Default: "class 1" and so on. */
  readonly labels?: readonly string[];
  /** Default 'axial'. */
  readonly plane?: Plane;
  /** Slice number from 0 along the plane's axis. Default: the one that shows the classes best. */
  readonly slice?: number;
  /** Default: image, then truth and prediction as far as they are there. */
  readonly columns?: readonly Column[];
  /** Width and height that a panel may fill, in pixels. Default 240. */
  readonly panel?: number;
  /** Values that are shown black and white. Default: each image's 1st and 99th percentile. */
  readonly window?: readonly [low: number, high: number];
}

/** What `renderCase` takes for the slices. */
export const sliceEntries = {
  labels: v.optional(v.array(text, 'a list of names of classes')),
  plane: v.optional(planeSchema),
  slice: v.optional(wholeNumber()),
  columns: v.optional(
    v.pipe(
      v.array(oneOf('image', 'truth', 'prediction', 'difference', 'overTruth'), 'a list of columns'),
      v.minLength(1, 'one column at least'),
    ),
  ),
  panel: v.optional(wholeNumber(16, 2000)),
  window: v.optional(v.strictTuple([finite(), finite()], 'the values that are black and white')),
} satisfies Record<keyof SliceOptions, unknown>;

const titles: Readonly<Record<Column, string>> = {
  image: 'Image',
  truth: 'Truth',
  prediction: 'Prediction',
  difference: 'Difference',
  overTruth: 'Prediction over truth',
};
const margin = 12;
const gap = 6;
const grey: Color = [110, 110, 110];

/** Everything that the slices of one case have in common. */
interface Prepared {
  readonly entry: SliceCase;
  readonly view: View;
  readonly window: readonly [number, number];
  readonly columns: readonly Column[];
  readonly width: number;
  readonly height: number;
}

function prepare(entry: SliceCase, options: SliceOptions, wanted?: readonly Column[]): Prepared {
  const view = viewOf(entry.image, options.plane);
  for (const kind of ['truth', 'prediction'] as const) {
    const map = entry[kind];
    if (map && map.length !== entry.image.data.length)
      throw new InvalidVolume(
        `${entry.name}: the ${kind} has ${map.length} voxels, the image ${entry.image.data.length}: ` +
          'bring both to the same grid first.',
      );
  }
  const columns = options.columns ??
    wanted ?? [
      'image',
      ...(entry.truth ? ['truth' as const] : []),
      ...(entry.prediction ? ['prediction' as const] : []),
    ];
  for (const column of columns) {
    const needs =
      column === 'image'
        ? []
        : column === 'truth' || column === 'prediction'
          ? [column]
          : (['truth', 'prediction'] as const);
    for (const need of needs)
      if (!entry[need])
        throw new InvalidOption(
          `${entry.name}: the column "${column}" needs a ${need}, and there is none: pass it or leave the column out.`,
        );
  }
  const [mmWide, mmHigh] = [view.columns * view.pixelWidth, view.rows * view.pixelHeight];
  const scale = (options.panel ?? 240) / Math.max(mmWide, mmHigh);
  const [width, height] = [mmWide, mmHigh].map((mm) => Math.max(8, Math.round(mm * scale))) as [
    number,
    number,
  ];
  return { entry, view, window: options.window ?? greyWindow(entry.image.data), columns, width, height };
}

/** Slice to show: the given one, else the most telling of the truth (or prediction, or the middle). */
function chooseSlice({ entry, view }: Prepared, slice?: number): number {
  if (slice === undefined) return mostTelling(entry.truth ?? entry.prediction ?? [], view);
  if (slice >= view.slices)
    throw new InvalidOption(
      `Slice ${slice} is not in ${entry.name}: choose one from 0 to ${view.slices - 1}.`,
    );
  return slice;
}

/** Panels of one slice side by side, with a letter at the left edge. */
function row(prepared: Prepared, slice: number, pitch = prepared.width + gap): Picture {
  const { entry, columns, width, height } = prepared;
  const picture = createPicture((columns.length - 1) * pitch + width, height);
  columns.forEach((column, index) => {
    drawPicture(picture, drawPanel(entry, column, { ...prepared, slice }), index * pitch, 0);
  });
  drawText(picture, prepared.view.leftEdge, 4, 13, { size: 9, color: [255, 255, 255] });
  return picture;
}

/** Legend entries for the labels that occur and, where shown, for the differences. */
function legendOf(all: readonly Prepared[], labels: readonly string[] | undefined): [string, Color][] {
  const found = new Set<number>();
  for (const { entry } of all)
    for (const map of [entry.truth, entry.prediction])
      if (map) for (let at = 0; at < map.length; at++) if (map[at]! > 0) found.add(map[at]!);
  const isMissing = all.some(({ columns }) => columns.includes('difference'));
  return [
    ...[...found]
      .sort((a, b) => a - b)
      .map((label): [string, Color] => [className(labels ?? [], label), classColor(label)]),
    ...(isMissing
      ? (['missed', 'added', 'confused'] as const).map((kind): [string, Color] => [
          `difference: ${kind === 'confused' ? 'other class' : kind}`,
          differenceColors[kind].rgb,
        ])
      : []),
  ];
}

const legendItem = (name: string): number => textWidth(name) + 36;

/** Draws the legend from `top` down, wrapped to the picture; returns its height. Without a picture: measures. */
function legend(items: readonly [string, Color][], width: number, top: number, picture?: Picture): number {
  let [x, y] = [margin, top];
  for (const [name, color] of items) {
    if (x > margin && x + legendItem(name) > width - margin + 20) [x, y] = [margin, y + 20];
    if (picture) {
      fillRect(picture, { x: Math.round(x), y, width: 12, height: 12 }, color);
      drawText(picture, name, x + 17, y + 11);
    }
    x += legendItem(name);
  }
  return items.length === 0 ? 0 : y + 20 - top;
}

/**
 * One row per case with a caption, one column per thing to show, and a legend. Pixels keep the
 * spacing's proportions; the patient's right is at the left, as radiologists read.
 * @throws InvalidOption without cases, for a column whose map is missing, or a slice outside
 */
export function sliceGrid(cases: readonly SliceCase[], options: SliceOptions = {}): Picture {
  if (cases.length === 0) throw new InvalidOption('A grid of slices needs at least one case, got none.');
  const all = cases.map((entry) => prepare(entry, options));
  const slices = all.map((prepared) => chooseSlice(prepared, options.slice));
  const pitch = Math.max(...all.map((prepared) => prepared.width)) + gap;
  const most = Math.max(...all.map(({ columns }) => columns.length));
  const width = Math.max(320, most * pitch - gap + 2 * margin);
  const items = legendOf(all, options.labels);
  const legendHeight = legend(items, width, 0);
  const rowsHeight = all.reduce((sum, { height }) => sum + height + 48, 0);
  const picture = createPicture(width, margin + rowsHeight + legendHeight);
  let y = margin;
  all.forEach((prepared, index) => {
    const { entry, view, columns, width: panelWidth, height } = prepared;
    const place = `${options.plane ?? 'axial'} slice ${slices[index]! + 1} of ${view.slices}`;
    const caption = [entry.name, place, ...(entry.caption ? [entry.caption] : [])].join('  ·  ');
    drawText(picture, fitText(caption, width - 2 * margin), margin, y + 10);
    columns.forEach((column, at) => {
      drawText(picture, fitText(titles[column], panelWidth, 9), margin + at * pitch, y + 27, {
        size: 9,
        color: grey,
      });
    });
    drawPicture(picture, row(prepared, slices[index]!, pitch), margin, y + 34);
    y += height + 48;
  });
  legend(items, width, y, picture);
  return picture;
}

/** How a GIF walks through a volume. */
export interface GifOptions extends Pick<SliceOptions, 'labels' | 'plane' | 'panel' | 'columns'> {
  /** Milliseconds per slice. Default 120. */
  readonly delay?: number;
  /** At most this many slices, taken evenly. Default 48. */
  readonly frames?: number;
}

/**
 * A GIF through the slices: truth and prediction as coloured labels side by side, and the
 * prediction in colour over the truth in grey.
 * @returns the bytes of the file
 */
export function sliceGif(
  image: GridVolume,
  truth: ArrayLike<number> | undefined,
  prediction: ArrayLike<number> | undefined,
  options: GifOptions = {},
): Uint8Array<ArrayBuffer> {
  const entry: SliceCase = {
    name: 'The volume',
    image,
    ...(truth && { truth }),
    ...(prediction && { prediction }),
  };
  const wanted = truth && prediction ? (['truth', 'prediction', 'overTruth'] as const) : undefined;
  const prepared = prepare(entry, { ...options, panel: options.panel ?? 200 }, wanted);
  const items = legendOf([prepared], options.labels);
  const { columns, view, width: panelWidth, height } = prepared;
  const width = Math.max(260, columns.length * (panelWidth + gap) - gap + 2 * margin);
  const legendWidth = width - 70; // the slice number stands at the right
  const legendHeight = legend(items, legendWidth, 0);
  const count = Math.min(view.slices, Math.max(1, options.frames ?? 48));
  const frames = Array.from({ length: count }, (_, index) => {
    const slice = count === 1 ? 0 : Math.round((index * (view.slices - 1)) / (count - 1));
    const picture = createPicture(width, height + legendHeight + 50);
    columns.forEach((column, at) => {
      drawText(picture, fitText(titles[column], panelWidth, 9), margin + at * (panelWidth + gap), 20, {
        size: 9,
        color: grey,
      });
    });
    drawPicture(picture, row(prepared, slice), margin, 28);
    drawText(picture, `${slice + 1} / ${view.slices}`, width - margin, height + 42, {
      size: 9,
      color: grey,
      align: 'right',
    });
    legend(items, legendWidth, height + 34, picture);
    return picture;
  });
  return encodeGif(frames, { delay: options.delay ?? 120 });
}
