/** Two label maps made ready to be compared: of one place, on one grid, as bytes. */
import * as v from 'valibot';
import { requireOver } from '../data/grid.ts';
import { labelAdvice } from '../data/label-advice.ts';
import { labelOf } from '../data/label-values.ts';
import { spatialShape, turnedValues, type TurnedGrid } from '../data/volume.ts';
import { InvalidOption, InvalidVolume } from '../errors.ts';
import { numberAbove, numbers, openObject, wholeNumber } from '../schema.ts';

export type Triple = readonly [number, number, number];

/** A label map: x fastest, extents along x, y, z. */
export interface LabelVolume {
  /** Label values, x fastest. */
  readonly data: ArrayLike<number>;
  /** Voxels along x, y, z. */
  readonly shape: readonly number[];
  /** Millimetres along x, y, z. */
  readonly spacing?: readonly number[];
  /**
   * Voxel to millimetres, 4 x 4 row-major. Where both maps have one they must show the same place; in whatever order
   * and direction their axes are stored, voxels are compared that lie over each other.
   */
  readonly affine?: readonly number[];
}

export const spacingSchema = v.optional(v.array(numberAbove(0), 'millimetres along x, y, z'));

export const labelVolume = openObject({
  data: numbers,
  shape: v.array(wholeNumber(1), 'voxels along x, y, z'),
  spacing: spacingSchema,
});

/** Unknown voxels among labels as bytes. */
export const unknown = 255;

/** Labels as bytes; unknown voxels of the truth, and what a prediction copies of them, become `unknown`. */
function labelBytes(
  volume: LabelVolume,
  kind: 'truth' | 'prediction',
  name: string,
  classes: number,
  ignore: number | undefined,
): Uint8Array {
  const { data } = volume;
  const out = new Uint8Array(data.length);
  for (let at = 0; at < data.length; at++) {
    const value = labelOf(data[at]!);
    const isClass = value >= 0 && value < classes && Number.isInteger(value);
    if (value === ignore && (kind === 'truth' || !isClass)) {
      out[at] = unknown;
      continue;
    }
    if (isClass) {
      out[at] = value;
      continue;
    }
    const place = placeText(at, volume.shape);
    if (Number.isNaN(value))
      throw new InvalidVolume(
        `${name}: the ${kind} is NaN at voxel ${place}: label maps hold whole numbers only.`,
      );
    throw new InvalidVolume(
      `${name}: the ${kind} has the value ${Number(value.toPrecision(6))} at voxel ${place}, but the classes are 0 to ${classes - 1}: ` +
        `${labelAdvice(data, { classes })}.`,
    );
  }
  return out;
}

function placeText(at: number, [x = 1, y = 1]: readonly number[]): string {
  return `(${at % x}, ${Math.floor(at / x) % y}, ${Math.floor(at / (x * y))})`;
}

/** Makes the prediction unknown where the truth is. @throws InvalidVolume if it is unknown elsewhere */
function leaveOut(truth: Uint8Array, prediction: Uint8Array, shape: Triple, name: string): void {
  for (let at = 0; at < truth.length; at++)
    if (truth[at] === unknown) prediction[at] = unknown;
    else if (prediction[at] === unknown)
      throw new InvalidVolume(
        `${name}: the prediction is unknown at voxel ${placeText(at, shape)}, where the truth is known: predict a class there.`,
      );
}

/** Refuses two maps that do not show the same place; how the prediction is to be turned to the truth's axes. */
function checkGrids(truth: LabelVolume, prediction: LabelVolume, name: string): TurnedGrid | undefined {
  const text = (shape: readonly number[]): string => shape.join(' x ');
  for (const [kind, { data, shape }] of [
    ['truth', truth],
    ['prediction', prediction],
  ] as const) {
    if (shape.slice(3).some((size) => size > 1))
      throw new InvalidVolume(
        `${name}: the ${kind} has ${shape.length} axes, ${text(shape)}, expected the three of a label map: it seems to ` +
          'hold probabilities or logits; evaluate what predict writes as labels, its default output.',
      );
    const voxels = spatialShape(shape).reduce((product, size) => product * size);
    if (data.length !== voxels)
      throw new InvalidVolume(
        `${name}: the ${kind} has ${data.length} values for ${text(shape)} voxels: pass one 3-D label map.`,
      );
  }
  return requireOver(prediction, truth, { name, map: 'prediction', volume: 'truth' });
}

/** Labels on the truth's grid, `unknown` where the truth is. */
export interface LabelMaps {
  readonly truth: Uint8Array;
  readonly prediction: Uint8Array;
  readonly shape: Triple;
}

/**
 * @param classes number of label values
 * @throws InvalidVolume if the grids differ or a voxel is NaN or not a class; InvalidOption for too many classes beside
 *   unknown voxels
 */
export function comparedMaps(
  truth: LabelVolume,
  prediction: LabelVolume,
  {
    classes,
    ignore,
    name,
  }: { readonly classes: number; readonly ignore: number | undefined; readonly name: string },
): LabelMaps {
  if (ignore !== undefined && classes > 255)
    throw new InvalidOption(`Beside unknown voxels there are at most 255 classes, got ${classes}.`);
  const turned = checkGrids(truth, prediction, name);
  const shape = spatialShape(truth.shape);
  const known = labelBytes(truth, 'truth', name, classes, ignore);
  const stored = labelBytes(prediction, 'prediction', name, classes, ignore);
  const predicted = turnedValues(stored, prediction.shape, turned);
  if (ignore !== undefined) leaveOut(known, predicted, shape, name);
  return { truth: known, prediction: predicted, shape };
}
