/**
 * Colours with names. The first seven classes take Okabe and Ito's palette (2008, "Color universal
 * design"), which readers with any kind of colour vision can tell apart.
 */
import { assertOptions, assertValue } from '../options.ts';
import { numberFrom, triple, wholeNumber } from '../schema.ts';
import type { Color } from './raster.ts';

/** A colour and what to call it. */
export interface NamedColor {
  readonly name: string;
  readonly rgb: Color;
}

/** Colours of the labels 1, 2, 3 …; label 0, the background, is not drawn. */
export const classColors: readonly NamedColor[] = [
  { name: 'sky blue', rgb: [86, 180, 233] },
  { name: 'orange', rgb: [230, 159, 0] },
  { name: 'yellow', rgb: [240, 228, 66] },
  { name: 'vermilion', rgb: [213, 94, 0] },
  { name: 'bluish green', rgb: [0, 158, 115] },
  { name: 'reddish purple', rgb: [204, 121, 167] },
  { name: 'blue', rgb: [0, 114, 178] },
];

/**
 * Voxels of a class that the prediction missed, that it added, and where it chose another class: brighter than any
 * class, so that no reader, whatever their colour vision, takes one for the other.
 */
export const differenceColors = {
  missed: { name: 'cyan', rgb: [64, 255, 255] },
  added: { name: 'violet', rgb: [192, 64, 255] },
  confused: { name: 'spring green', rgb: [0, 255, 128] },
} as const satisfies Record<string, NamedColor>;

/** Colour of a label from 1 on; beyond the palette the golden angle spreads hues. */
export function classColor(label: number): Color {
  assertOptions('classColor', { label: wholeNumber() }, { label });
  return colorOf(label);
}

/** As `classColor`, for the pixels of a picture, whose labels were looked at before. */
export function colorOf(label: number): Color {
  const named = classColors[label - 1];
  if (named) return named.rgb;
  const hue = (label * 137.508) % 360;
  const channel = (offset: number): number => {
    const k = (offset + hue / 30) % 12;
    return Math.round(255 * (0.55 - 0.35 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

const colorSchema = triple(numberFrom(0, 255), 'red, green and blue from 0 to 255');

/** The colour as CSS writes it. @throws InvalidOption for what is no colour */
export function cssColor(color: Color): string {
  assertValue('cssColor', colorSchema, color);
  return `rgb(${color.join(', ')})`;
}
