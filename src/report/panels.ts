/**
 * One panel of a slice picture: the image in grey with the classes in colour and a firm outline, the
 * difference between two maps, or one map over the other.
 */
import { colorOf, differenceColors } from './colors.ts';
import { blend, createPicture, type Color, type Picture } from './raster.ts';
import { sliceValues, type GridVolume, type View } from './view.ts';

/** One case to show; the maps lie on the image's grid. */
export interface SliceCase {
  /** Stands above the row, for example the file's name. */
  readonly name: string;
  readonly image: GridVolume;
  readonly truth?: ArrayLike<number>;
  readonly prediction?: ArrayLike<number>;
  /** Added to the name, for example the Dice. */
  readonly caption?: string;
}

/** What a column of a grid shows; `overTruth` is the prediction in colour over the truth in grey. */
export type Column = 'image' | 'truth' | 'prediction' | 'difference' | 'overTruth';

/** Value at a place between pixel centres, by linear interpolation; the edge goes on outside. */
function interpolate(values: Float32Array, columns: number, rows: number, x: number, y: number): number {
  const [u, v] = [Math.min(Math.max(x, 0), columns - 1), Math.min(Math.max(y, 0), rows - 1)];
  const [i, j] = [
    Math.min(Math.floor(u), Math.max(columns - 2, 0)),
    Math.min(Math.floor(v), Math.max(rows - 2, 0)),
  ];
  const [right, down] = [columns > 1 ? 1 : 0, rows > 1 ? columns : 0];
  const at = j * columns + i;
  const top = values[at]! + (values[at + right]! - values[at]!) * (u - i);
  const bottom = values[at + down]! + (values[at + down + right]! - values[at + down]!) * (u - i);
  return top + (bottom - top) * (v - j);
}

/** Class of a voxel in the difference panel: 0 equal, 1 missed, 2 added, 3 another class. */
const difference = (truth: number, prediction: number): number =>
  truth === prediction ? 0 : prediction === 0 ? 1 : truth === 0 ? 2 : 3;
const differenceColor = (kind: number): Color =>
  [differenceColors.missed, differenceColors.added, differenceColors.confused][kind - 1]!.rgb;

/** Colours the voxels of a label slice; pixels where the class changes get the full colour. */
function overlay(
  picture: Picture,
  labels: Float32Array,
  view: View,
  color: (label: number) => Color,
  fill: number,
): void {
  const { width, height } = picture;
  const columnOf = Int32Array.from({ length: width }, (_, x) =>
    Math.floor(((x + 0.5) * view.columns) / width),
  );
  const rowOf = Int32Array.from({ length: height }, (_, y) => Math.floor(((y + 0.5) * view.rows) / height));
  const labelAt = (x: number, y: number): number =>
    x < 0 || y < 0 || x >= width || y >= height ? 0 : labels[rowOf[y]! * view.columns + columnOf[x]!]!;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const label = labelAt(x, y);
      if (!(label > 0)) continue;
      const isEdge =
        labelAt(x - 1, y) !== label ||
        labelAt(x + 1, y) !== label ||
        labelAt(x, y - 1) !== label ||
        labelAt(x, y + 1) !== label;
      blend(picture, x, y, color(label), isEdge ? 1 : fill);
    }
}

/** What a panel shows. */
interface PanelOptions {
  readonly view: View;
  readonly slice: number;
  /** Values that are black and white. */
  readonly window: readonly [number, number];
  /** Of the panel, in pixels. */
  readonly width: number;
  readonly height: number;
}

/** One panel of a slice; the maps that the column needs must be there. */
export function drawPanel(
  entry: SliceCase,
  column: Column,
  { view, slice, window, width, height }: PanelOptions,
): Picture {
  const picture = createPicture(width, height, [0, 0, 0]);
  const read = (data: ArrayLike<number>): Float32Array => sliceValues(data, view, slice);
  if (column === 'overTruth') {
    const truth = read(entry.truth!);
    const shades = truth.reduce((most, label) => Math.max(most, label), 1);
    overlay(
      picture,
      truth,
      view,
      (label) => {
        const g = 70 + Math.round((130 * label) / shades);
        return [g, g, g];
      },
      1,
    );
    overlay(picture, read(entry.prediction!), view, colorOf, 0.35);
    return picture;
  }
  const values = read(entry.image.data);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const u = ((x + 0.5) * view.columns) / width - 0.5;
      const v = ((y + 0.5) * view.rows) / height - 0.5;
      const value = interpolate(values, view.columns, view.rows, u, v);
      const unit = Math.min(1, Math.max(0, (value - window[0]) / (window[1] - window[0]))) || 0;
      picture.data.fill(Math.round(unit * 255), (y * width + x) * 4, (y * width + x) * 4 + 3);
    }
  if (column === 'truth') overlay(picture, read(entry.truth!), view, colorOf, 0.3);
  if (column === 'prediction') overlay(picture, read(entry.prediction!), view, colorOf, 0.3);
  if (column === 'difference') {
    const [truth, prediction] = [read(entry.truth!), read(entry.prediction!)];
    overlay(
      picture,
      truth.map((label, at) => difference(label, prediction[at]!)),
      view,
      differenceColor,
      0.7,
    );
  }
  return picture;
}
