/**
 * Case pictures on demand: a PNG of one slice or a GIF through all of them, by the name of the file.
 */
import * as v from 'valibot';
import { filled } from '../data/allocation.ts';
import { requireOver } from '../data/grid.ts';
import { turnedValues } from '../data/volume.ts';
import { labelOf } from '../data/label-values.ts';
import { InvalidOption, InvalidVolume } from '../errors.ts';
import { assertOptions } from '../options.ts';
import { object, oneOf, text, wholeNumber } from '../schema.ts';
import type { Column } from './panels.ts';
import { encodePng } from './png.ts';
import { sliceEntries, sliceGif, sliceGrid, type SliceOptions } from './slices.ts';
import { volumeSchema, type GridVolume } from './view.ts';

/** What to draw; label maps show the image's place, in whatever order and direction their axes are stored. */
export interface RenderInput {
  /** Stands above the picture. */
  readonly name: string;
  /** The volume under the labels. */
  readonly image: GridVolume;
  /** Label map on the grid of the image. */
  readonly truth?: GridVolume;
  /** Label map on the grid of the image. */
  readonly prediction?: GridVolume;
}

/** The format that a file name asks for. */
export function pictureFormat(path: string): 'png' | 'gif' {
  const ending = /\.(png|gif)$/i.exec(path)?.[1]?.toLowerCase();
  if (ending !== 'png' && ending !== 'gif')
    throw new InvalidOption(`Pictures are written as .png (one slice) or .gif (all slices), got "${path}".`);
  return ending;
}

const inputSchema = object({
  name: text,
  image: volumeSchema,
  truth: v.optional(volumeSchema),
  prediction: v.optional(volumeSchema),
});
const ignore = v.optional(wholeNumber());
const renderEntries = { ...sliceEntries, delay: v.optional(wholeNumber(1)), ignore };

/** Refuses a map of another place than the image, and voxels that are not whole numbers from 0 on. */
function mapOver(kind: string, { name, image }: RenderInput, map: GridVolume): Int32Array {
  const turned = requireOver(map, image, { name, map: kind, volume: 'image' });
  const labels = filled(new Int32Array(map.data.length), map.data, (value) => {
    const label = labelOf(value);
    if (Number.isInteger(label) && label >= 0) return label;
    throw new InvalidVolume(
      `${name}: the ${kind} has the value ${Number(value.toPrecision(6))}: pass a map of whole numbers from 0 on.`,
    );
  });
  return turnedValues(labels, map.shape, turned);
}

/**
 * The maps of a case over its image, voxel by voxel.
 * @param unknown value of the truth's unknown voxels, which become background in both maps
 * @throws InvalidVolume if a map does not show the image's place, or holds other than whole numbers
 */
export function mapsOver(
  input: RenderInput,
  unknown?: number,
): { readonly truth?: Int32Array; readonly prediction?: Int32Array } {
  assertOptions('mapsOver', { input: inputSchema, ignore }, { input, ignore: unknown });
  const truth = input.truth && mapOver('label map', input, input.truth);
  const prediction = input.prediction && mapOver('prediction', input, input.prediction);
  truth?.forEach((value, at) => {
    if (value !== unknown) return;
    truth[at] = 0;
    if (prediction) prediction[at] = 0;
  });
  return { ...(truth && { truth }), ...(prediction && { prediction }) };
}

/**
 * The bytes of a picture of one case.
 * @throws InvalidVolume if a map does not fit the image, InvalidOption for a slice or format that is not there
 */
export async function renderCase(
  input: RenderInput,
  format: 'png' | 'gif',
  options: Omit<SliceOptions, 'columns'> & {
    readonly columns?: readonly Column[];
    readonly delay?: number;
    /** Value of the truth's unknown voxels, where nothing is drawn. */
    readonly ignore?: number | undefined;
  } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  assertOptions('renderCase', { input: inputSchema, format: oneOf('png', 'gif') }, { input, format });
  assertOptions('renderCase', renderEntries, options);
  const { name, image } = input;
  const { truth, prediction } = mapsOver(input, options.ignore);
  if (format === 'gif') {
    if (options.slice !== undefined)
      throw new InvalidOption(
        `A GIF walks through all slices; for slice ${options.slice} alone write a .png.`,
      );
    return sliceGif(image, truth, prediction, options);
  }
  const columns =
    options.columns ??
    (truth && prediction ? (['image', 'truth', 'prediction', 'difference'] as const) : undefined);
  const entry = { name, image, ...(truth && { truth }), ...(prediction && { prediction }) };
  return encodePng(sliceGrid([entry], { ...options, ...(columns && { columns }) }));
}
