/**
 * Pictures as plain RGBA bytes with the few drawing operations that charts and slices need, so that
 * the same pixels come out in Node and in browsers, without a canvas.
 */

/** Red, green, blue from 0 to 255. */
export type Color = readonly [number, number, number];

/** An opaque picture: `data` holds width x height x 4 bytes (RGBA), row by row from the top left. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** A line from (x0, y0) to (x1, y1) in pixels; pixel (0, 0) covers the square from 0 to 1. */
export type Segment = readonly [x0: number, y0: number, x1: number, y1: number];

export const white: Color = [255, 255, 255];
export const black: Color = [0, 0, 0];

/** A picture of one colour. */
export function createPicture(width: number, height: number, color: Color = white): Picture {
  const picture: Picture = { width, height, data: new Uint8Array(width * height * 4).fill(255) };
  fillRect(picture, { x: 0, y: 0, width, height }, color);
  return picture;
}

/** Mixes a colour into pixel (x, y), which must lie inside; `opacity` from 0 to 1. */
export function blend(picture: Picture, x: number, y: number, color: Color, opacity: number): void {
  const at = (y * picture.width + x) * 4;
  for (let channel = 0; channel < 3; channel++) {
    const old = picture.data[at + channel]!;
    picture.data[at + channel] = Math.round(old + (color[channel]! - old) * opacity);
  }
}

/** In pixels, (x, y) at the top left. */
interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Fills a rectangle of whole pixels; what lies outside the picture is cut off. */
export function fillRect(
  picture: Picture,
  { x, y, width, height }: Rectangle,
  color: Color,
  opacity = 1,
): void {
  for (let row = Math.max(0, y); row < Math.min(picture.height, y + height); row++)
    for (let column = Math.max(0, x); column < Math.min(picture.width, x + width); column++)
      blend(picture, column, row, color, opacity);
}

/** Copies `source` to (x, y) of `target`; it must fit. */
export function drawPicture(target: Picture, source: Picture, x: number, y: number): void {
  for (let row = 0; row < source.height; row++)
    target.data.set(
      source.data.subarray(row * source.width * 4, (row + 1) * source.width * 4),
      ((y + row) * target.width + x) * 4,
    );
}

/** Distance from point (x, y) to a segment. */
function distance(x: number, y: number, [x0, y0, x1, y1]: Segment): number {
  const dx = x1 - x0;
  const dy = y1 - y0;
  const square = dx * dx + dy * dy;
  const t = square === 0 ? 0 : Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / square));
  return Math.hypot(x - x0 - t * dx, y - y0 - t * dy);
}

/** Draws all segments as one anti-aliased shape with round ends; crossings do not darken. */
export function stroke(picture: Picture, segments: readonly Segment[], width: number, color: Color): void {
  if (segments.length === 0) return;
  const reach = width / 2 + 1;
  const range = (low: number, high: number, end: number): [number, number] => [
    Math.max(0, Math.floor(low - reach)),
    Math.min(end, Math.ceil(high + reach)),
  ];
  const xs = segments.flatMap(([x0, , x1]) => [x0, x1]);
  const ys = segments.flatMap(([, y0, , y1]) => [y0, y1]);
  const [left, right] = range(Math.min(...xs), Math.max(...xs), picture.width);
  const [top, bottom] = range(Math.min(...ys), Math.max(...ys), picture.height);
  if (right <= left || bottom <= top) return;
  const columns = right - left;
  const coverage = new Float32Array(columns * (bottom - top));
  for (const segment of segments) {
    const [x0, y0, x1, y1] = segment;
    const [xMin, xMax] = range(Math.min(x0, x1), Math.max(x0, x1), picture.width);
    const [yMin, yMax] = range(Math.min(y0, y1), Math.max(y0, y1), picture.height);
    for (let y = yMin; y < yMax; y++)
      for (let x = xMin; x < xMax; x++) {
        const covered = width / 2 + 0.5 - distance(x + 0.5, y + 0.5, segment);
        const at = (y - top) * columns + (x - left);
        if (covered > coverage[at]!) coverage[at] = Math.min(1, covered);
      }
  }
  for (let at = 0; at < coverage.length; at++)
    if (coverage[at]! > 0)
      blend(picture, left + (at % columns), top + Math.floor(at / columns), color, coverage[at]!);
}

/** Draws a line through points; a point that is not finite interrupts it, a lone point becomes a thick dot. */
export function polyline(
  picture: Picture,
  points: readonly (readonly [number, number])[],
  width: number,
  color: Color,
): void {
  const finite = (point: readonly [number, number] | undefined): point is readonly [number, number] =>
    point !== undefined && Number.isFinite(point[0]) && Number.isFinite(point[1]);
  const segments: Segment[] = [];
  points.forEach((point, index) => {
    if (!finite(point)) return;
    const [next, previous] = [points[index + 1], points[index - 1]];
    if (finite(next)) segments.push([point[0], point[1], next[0], next[1]]);
    else if (!finite(previous)) stroke(picture, [[point[0], point[1], point[0], point[1]]], width * 3, color);
  });
  stroke(picture, segments, width, color);
}
