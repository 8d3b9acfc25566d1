/**
 * Case pictures on demand: a PNG of one slice or a GIF through all of them, by the name of the file.
 */
import { InvalidOption, InvalidVolume } from '../errors.ts';
import type { Column } from './panels.ts';
import { encodePng } from './png.ts';
import { sliceGif, sliceGrid, type SliceOptions } from './slices.ts';
import type { GridVolume } from './view.ts';

/** What to draw; label maps lie on the image's grid. */
export interface RenderInput {
  /** Stands above the picture. */
  readonly name: string;
  readonly image: GridVolume;
  readonly truth?: GridVolume;
  readonly prediction?: GridVolume;
}

/** The format that a file name asks for. */
export function pictureFormat(path: string): 'png' | 'gif' {
  const ending = /\.(png|gif)$/i.exec(path)?.[1]?.toLowerCase();
  if (ending !== 'png' && ending !== 'gif')
    throw new InvalidOption(`Pictures are written as .png (one slice) or .gif (all slices), got "${path}".`);
  return ending;
}

/** Refuses a map on another grid than the image, or with voxels that are not whole numbers from 0 on. */
function checked(kind: string, { name, image }: RenderInput, map: GridVolume): ArrayLike<number> {
  if (map.shape.join() !== image.shape.join())
    throw new InvalidVolume(
      `${name}: the ${kind} has ${map.shape.join(' x ')} voxels, the image ${image.shape.join(' x ')}: ` +
        'bring both to the same grid first.',
    );
  for (let at = 0; at < map.data.length; at++)
    if (!(Number.isInteger(map.data[at]) && map.data[at]! >= 0))
      throw new InvalidVolume(
        `${name}: the ${kind} has the value ${map.data[at]}: pass a map of whole numbers from 0 on.`,
      );
  return map.data;
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
  } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { name, image } = input;
  const truth = input.truth && checked('label map', input, input.truth);
  const prediction = input.prediction && checked('prediction', input, input.prediction);
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
