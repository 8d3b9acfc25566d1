/**
 * Text in pictures: a font of strokes, drawn anti-aliased at any size. Letters are paths on a grid
 * with the baseline at 0, small letters up to 10 and capitals up to 14, so that no font file is needed.
 */
import { stroke, type Color, type Picture, type Segment } from './raster.ts';

const bowlRight = 'M1.4,2.5 Q2.6,0 5,0 Q8.8,0 8.8,5 Q8.8,10 5,10 Q2.6,10 1.4,7.5';
const bowlLeft = 'M8.6,2.5 Q7.4,0 5,0 Q1.2,0 1.2,5 Q1.2,10 5,10 Q7.4,10 8.6,7.5';
const arch = 'M1.4,7 Q2.8,10 5.3,10 Q8.4,10 8.4,6.5 L8.4,0';
const cup = 'M1.4,10 L1.4,3.5 Q1.4,0 4.5,0 Q7.2,0 8.4,3 M8.4,10 L8.4,0';
const round = 'M6.5,14 Q1.2,14 1.2,7 Q1.2,0 6.5,0 Q11.8,0 11.8,7 Q11.8,14 6.5,14';

/** Width and path of each character; M moves, L draws a line, Q a parabola through a control point. */
const glyphs: Readonly<Record<string, readonly [width: number, path: string]>> = {
  ' ': [5, ''],
  A: [12, 'M1,0 L6,14 L11,0 M2.8,5 L9.2,5'],
  B: [
    11,
    'M1.5,0 L1.5,14 L6,14 Q9.5,14 9.5,10.7 Q9.5,7.5 6,7.5 L1.5,7.5 M6,7.5 Q10,7.5 10,3.7 Q10,0 6,0 L1.5,0',
  ],
  C: [12, 'M11,11.5 Q9.5,14 6.5,14 Q1.2,14 1.2,7 Q1.2,0 6.5,0 Q9.5,0 11,2.5'],
  D: [12, 'M1.5,0 L1.5,14 L5,14 Q11,14 11,7 Q11,0 5,0 L1.5,0'],
  E: [10, 'M9,14 L1.5,14 L1.5,0 L9,0 M1.5,7.3 L8,7.3'],
  F: [10, 'M9,14 L1.5,14 L1.5,0 M1.5,7.3 L8,7.3'],
  G: [12.5, 'M11,11.5 Q9.5,14 6.5,14 Q1.2,14 1.2,7 Q1.2,0 6.5,0 Q9.5,0 11.2,1.8 L11.2,6.5 L7.2,6.5'],
  H: [12, 'M1.5,0 L1.5,14 M10.5,0 L10.5,14 M1.5,7.2 L10.5,7.2'],
  I: [4, 'M2,0 L2,14'],
  J: [8, 'M6,14 L6,3.5 Q6,0 3.2,0 Q1.2,0 0.6,1.8'],
  K: [11, 'M1.5,0 L1.5,14 M10,14 L1.5,5.5 M4.6,8.6 L10.5,0'],
  L: [9.5, 'M1.5,14 L1.5,0 L8.7,0'],
  M: [14, 'M1.5,0 L1.5,14 L7,4 L12.5,14 L12.5,0'],
  N: [12, 'M1.5,0 L1.5,14 L10.5,0 L10.5,14'],
  O: [13, round],
  P: [10.5, 'M1.5,0 L1.5,14 L6,14 Q9.8,14 9.8,10.3 Q9.8,6.5 6,6.5 L1.5,6.5'],
  Q: [13, `${round} M8,3.5 L12,-0.8`],
  R: [11, 'M1.5,0 L1.5,14 L6,14 Q9.8,14 9.8,10.4 Q9.8,6.8 6,6.8 L1.5,6.8 M6,6.8 L10.2,0'],
  S: [
    11,
    'M9.6,11.8 Q8.5,14 5.5,14 Q1.6,14 1.6,10.7 Q1.6,8 5.5,7.2 Q9.9,6.3 9.9,3.5 Q9.9,0 5.6,0 Q2,0 1,2.4',
  ],
  T: [11, 'M0.8,14 L10.2,14 M5.5,14 L5.5,0'],
  U: [12, 'M1.5,14 L1.5,5 Q1.5,0 6,0 Q10.5,0 10.5,5 L10.5,14'],
  V: [11.5, 'M0.8,14 L5.75,0 L10.7,14'],
  W: [16, 'M0.8,14 L4.5,0 L8,13 L11.5,0 L15.2,14'],
  X: [11, 'M1,14 L10,0 M10,14 L1,0'],
  Y: [11, 'M0.8,14 L5.5,6.8 L10.2,14 M5.5,6.8 L5.5,0'],
  Z: [11, 'M1.2,14 L9.8,14 L1.2,0 L9.8,0'],
  a: [
    9.5,
    'M1.7,8.6 Q2.6,10 4.7,10 Q7.8,10 7.8,7 L7.8,0 M7.8,5.8 L4.5,5.5 Q1.1,5.2 1.1,2.7 Q1.1,0 4,0 Q6.6,0 7.8,2.4',
  ],
  b: [10, `M1.4,14 L1.4,0 ${bowlRight}`],
  c: [9, 'M7.9,8 Q6.9,10 4.8,10 Q1,10 1,5 Q1,0 4.8,0 Q6.9,0 7.9,2'],
  d: [10, `M8.6,14 L8.6,0 ${bowlLeft}`],
  e: [9.5, 'M1.2,5.3 L8.3,5.3 Q8.3,10 4.8,10 Q1,10 1,5 Q1,0 4.9,0 Q7,0 8,1.9'],
  f: [6, 'M5.6,13.6 Q2.4,14.6 2.4,11.2 L2.4,0 M0.5,10 L5.2,10'],
  g: [10, `M8.6,10 L8.6,-0.8 Q8.6,-4.2 5,-4.2 Q2.8,-4.2 1.7,-3 ${bowlLeft}`],
  h: [10, `M1.4,14 L1.4,0 ${arch}`],
  i: [3.8, 'M1.9,10 L1.9,0 M1.9,13.4 L1.9,13.8'],
  j: [4, 'M2.2,10 L2.2,-1.5 Q2.2,-4.2 0,-4 M2.2,13.4 L2.2,13.8'],
  k: [9, 'M1.4,14 L1.4,0 M7.8,10 L1.4,3.9 M3.9,6.3 L8.2,0'],
  l: [3.8, 'M1.9,14 L1.9,0'],
  m: [
    15,
    'M1.4,10 L1.4,0 M1.4,7 Q2.5,10 4.8,10 Q7.5,10 7.5,6.5 L7.5,0 M7.5,7 Q8.7,10 10.9,10 Q13.6,10 13.6,6.5 L13.6,0',
  ],
  n: [10, `M1.4,10 L1.4,0 ${arch}`],
  o: [10, 'M5,10 Q1.1,10 1.1,5 Q1.1,0 5,0 Q8.9,0 8.9,5 Q8.9,10 5,10'],
  p: [10, `M1.4,10 L1.4,-4 ${bowlRight}`],
  q: [10, `M8.6,10 L8.6,-4 ${bowlLeft}`],
  r: [6.2, 'M1.4,10 L1.4,0 M1.4,6.5 Q2.4,10 5.8,9.8'],
  s: [
    8.6,
    'M7.4,8.4 Q6.6,10 4.4,10 Q1.5,10 1.5,7.6 Q1.5,5.7 4.4,5.2 Q7.7,4.6 7.7,2.6 Q7.7,0 4.4,0 Q1.8,0 0.9,1.8',
  ],
  t: [6, 'M2.4,13 L2.4,2.6 Q2.4,-0.4 5.5,0.2 M0.5,10 L5.3,10'],
  u: [10, cup],
  v: [9, 'M0.8,10 L4.5,0 L8.2,10'],
  w: [13, 'M0.8,10 L3.6,0 L6.5,9.4 L9.4,0 L12.2,10'],
  x: [9, 'M1,10 L8,0 M8,10 L1,0'],
  y: [9, 'M0.8,10 L4.6,0.4 M8.2,10 L4.2,-1.2 Q3.1,-4.2 0.8,-3.9'],
  z: [8.8, 'M1.2,10 L7.6,10 L1.2,0 L7.6,0'],
  0: [10, 'M5,14 Q1.2,14 1.2,7 Q1.2,0 5,0 Q8.8,0 8.8,7 Q8.8,14 5,14'],
  1: [10, 'M2,11 L5.2,14 L5.2,0'],
  2: [10, 'M1.5,11 Q1.8,14 5,14 Q8.4,14 8.4,10.6 Q8.4,8.3 6,5.6 L1.3,0 L8.8,0'],
  3: [
    10,
    'M1.5,12 Q2.6,14 5,14 Q8.2,14 8.2,10.8 Q8.2,7.5 4.2,7.5 Q8.7,7.5 8.7,3.8 Q8.7,0 4.8,0 Q2,0 1.1,2.3',
  ],
  4: [10, 'M6.6,0 L6.6,14 L0.9,4.2 L9.2,4.2'],
  5: [10, 'M8,14 L2.4,14 L1.8,7.6 Q3,8.9 5,8.9 Q8.8,8.9 8.8,4.5 Q8.8,0 4.8,0 Q2.2,0 1.1,2'],
  6: [10, 'M7.9,12.4 Q7,14 5.3,14 Q1.3,14 1.3,6 Q1.3,0 5,0 Q8.8,0 8.8,4.4 Q8.8,8.6 5.2,8.6 Q1.8,8.6 1.3,5'],
  7: [10, 'M1.2,14 L8.8,14 L3.8,0'],
  8: [
    10,
    'M5,7.5 Q1.6,7.5 1.6,10.8 Q1.6,14 5,14 Q8.4,14 8.4,10.8 Q8.4,7.5 5,7.5 ' +
      'Q1.1,7.5 1.1,3.7 Q1.1,0 5,0 Q8.9,0 8.9,3.7 Q8.9,7.5 5,7.5',
  ],
  9: [10, 'M2.1,1.6 Q3,0 4.7,0 Q8.7,0 8.7,8 Q8.7,14 5,14 Q1.2,14 1.2,9.6 Q1.2,5.4 4.8,5.4 Q8.2,5.4 8.7,9'],
  '.': [4, 'M2,0 L2,0.4'],
  ',': [4, 'M2.2,0.4 L1.4,-2.4'],
  ':': [4, 'M2,0 L2,0.4 M2,8 L2,8.4'],
  ';': [4, 'M2.2,0.4 L1.4,-2.4 M2.2,8 L2.2,8.4'],
  '!': [4, 'M2,14 L2,4.5 M2,0 L2,0.4'],
  '?': [9, 'M1.2,11 Q1.5,14 4.5,14 Q7.8,14 7.8,10.8 Q7.8,8.8 5.6,7.2 Q4.3,6.2 4.3,4.2 M4.3,0 L4.3,0.4'],
  '-': [6, 'M1,5.5 L5,5.5'],
  '–': [8.5, 'M0.5,5.5 L8,5.5'],
  '−': [11, 'M1,5.5 L10,5.5'],
  '+': [11, 'M5.5,10 L5.5,1 M1,5.5 L10,5.5'],
  '±': [11, 'M5.5,12 L5.5,4 M1.5,8 L9.5,8 M1.5,0.7 L9.5,0.7'],
  '×': [10, 'M2,9 L8,2.5 M8,9 L2,2.5'],
  '=': [11, 'M1,7.5 L10,7.5 M1,3.5 L10,3.5'],
  '<': [11, 'M9.5,9.5 L1.5,5.5 L9.5,1.5'],
  '>': [11, 'M1.5,9.5 L9.5,5.5 L1.5,1.5'],
  '/': [7, 'M0.6,-1.5 L6.2,15'],
  '\\': [7, 'M0.6,15 L6.2,-1.5'],
  '|': [4, 'M2,15 L2,-3'],
  '(': [5.5, 'M4.6,15.5 Q1.5,11 1.5,6 Q1.5,1 4.6,-3.5'],
  ')': [5.5, 'M0.9,15.5 Q4,11 4,6 Q4,1 0.9,-3.5'],
  '[': [5.5, 'M4.6,15.5 L1.5,15.5 L1.5,-3.5 L4.6,-3.5'],
  ']': [5.5, 'M0.9,15.5 L4,15.5 L4,-3.5 L0.9,-3.5'],
  _: [9, 'M0.5,-2 L8.5,-2'],
  '#': [11, 'M4,14 L2.6,0 M8.4,14 L7,0 M1,9.3 L10.2,9.3 M0.7,4.7 L9.9,4.7'],
  '%': [
    15,
    'M4,14 Q1,14 1,10.7 Q1,7.5 4,7.5 Q7,7.5 7,10.7 Q7,14 4,14 M11.5,14 L3.5,0 ' +
      'M11,6.5 Q8,6.5 8,3.2 Q8,0 11,0 Q14,0 14,3.2 Q14,6.5 11,6.5',
  ],
  '&': [12.5, 'M11.5,0 L3.6,9 Q1.6,14 5.5,14 Q9.2,14 7.6,10.2 L3.4,7 Q-0.6,3.2 2.6,0.9 Q8,-2 10.6,6.5'],
  '*': [8, 'M4,14 L4,8 M1.4,12.5 L6.6,9.5 M6.6,12.5 L1.4,9.5'],
  "'": [3.5, 'M1.75,14 L1.75,10.5'],
  '"': [6, 'M1.6,14 L1.6,10.5 M4.4,14 L4.4,10.5'],
  '·': [4, 'M2,5.5 L2,5.9'],
  '…': [13, 'M2,0 L2,0.4 M6.5,0 L6.5,0.4 M11,0 L11,0.4'],
  µ: [10, `M1.4,4 L1.4,-4 ${cup}`],
};
const unknown: readonly [number, string] = [10, 'M1.5,0 L1.5,14 L8.5,14 L8.5,0 L1.5,0'];

/** Accents are dropped; a character without a glyph becomes a box. */
const glyph = (character: string): readonly [number, string] =>
  glyphs[character] ?? glyphs[character.normalize('NFD')[0] ?? ''] ?? unknown;

/** Segments of a path, in the glyph's own units. */
function segments(path: string): Segment[] {
  const result: Segment[] = [];
  let [x, y] = [0, 0];
  let control: [number, number] | undefined;
  for (const token of path.split(' ').filter(Boolean)) {
    const point = token
      .replace(/^[MLQ]/, '')
      .split(',')
      .map(Number) as [number, number];
    if (token.startsWith('Q')) {
      control = point;
      continue;
    }
    const steps = control ? 6 : token.startsWith('M') ? 0 : 1;
    const [fromX, fromY] = [x, y];
    const [cx, cy] = control ?? [(fromX + point[0]) / 2, (fromY + point[1]) / 2];
    for (let step = 1; step <= steps; step++) {
      const t = step / steps;
      const [a, b, c] = [(1 - t) * (1 - t), 2 * t * (1 - t), t * t];
      const next = [a * fromX + b * cx + c * point[0], a * fromY + b * cy + c * point[1]] as const;
      result.push([x, y, next[0], next[1]]);
      [x, y] = next;
    }
    [x, y] = point;
    control = undefined;
  }
  return result;
}

/** How text is drawn. */
export interface TextOptions {
  /** Height of a capital letter in pixels. Default 10. */
  readonly size?: number;
  /** Default almost black. */
  readonly color?: Color;
  /** Where (x, y) lies along the text. Default 'left'. */
  readonly align?: 'left' | 'center' | 'right';
  /** Stroke width in pixels. Default a ninth of the size, at least 1.1. */
  readonly weight?: number;
}

/** Width of a text in pixels at a capital height of `size`. */
export function textWidth(text: string, size = 10): number {
  return (Array.from(text).reduce((sum, character) => sum + glyph(character)[0] + 1.2, 0) * size) / 14;
}

/** Draws one line of text with its baseline at `y`. */
export function drawText(
  picture: Picture,
  text: string,
  x: number,
  y: number,
  options: TextOptions = {},
): void {
  const { size = 10, color = [30, 30, 30], align = 'left', weight = Math.max(1.1, size / 9) } = options;
  const scale = size / 14;
  const width = textWidth(text, size);
  let left = align === 'left' ? x : align === 'right' ? x - width : x - width / 2;
  for (const character of text) {
    const [advance, path] = glyph(character);
    const lines = segments(path).map(([x0, y0, x1, y1]): Segment => [
      left + x0 * scale,
      y - y0 * scale,
      left + x1 * scale,
      y - y1 * scale,
    ]);
    stroke(picture, lines, weight, color);
    left += (advance + 1.2) * scale;
  }
}

/** Cuts a text to a width in pixels, with an ellipsis where something was left out. */
export function fitText(text: string, width: number, size = 10): string {
  if (textWidth(text, size) <= width) return text;
  let kept = Array.from(text);
  while (kept.length > 0 && textWidth(`${kept.join('')}…`, size) > width) kept = kept.slice(0, -1);
  return `${kept.join('')}…`;
}
