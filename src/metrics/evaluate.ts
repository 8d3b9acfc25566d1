/**
 * Evaluation of one predicted label map against the truth: overlap, volumes and surface distances
 * per class, and the confusion matrix.
 */
import * as v from 'valibot';
import { requireOver, turnedValues } from '../data/grid.ts';
import { labelAdvice } from '../data/label-advice.ts';
import { labelOf } from '../data/label-values.ts';
import { spatialShape, type TurnedGrid } from '../data/volume.ts';
import { InvalidOption, InvalidVolume } from '../errors.ts';
import { assertOptions } from '../options.ts';
import {
  distinctNames,
  flag,
  numberAbove,
  numberFrom,
  numbers,
  openObject,
  text,
  wholeNumber,
} from '../schema.ts';
import { distanceScratch } from './distance.ts';
import { surfaceMetrics, type SurfaceMetrics } from './surface.ts';

type Triple = readonly [number, number, number];

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

/** What is measured for one class of one case. NaN: not defined, to be left out of means. */
export interface ClassMetrics extends SurfaceMetrics {
  /** 2|A and B| / (|A| + |B|). */
  readonly dice: number;
  /** |A and B| / |A or B|. */
  readonly iou: number;
  /** Share of the predicted voxels that are true; NaN without predicted voxels. */
  readonly precision: number;
  /** Share of the true voxels that were predicted; NaN without true voxels. */
  readonly recall: number;
  /** Millilitres. */
  readonly truthVolume: number;
  readonly predictionVolume: number;
  /** Prediction minus truth, millilitres. */
  readonly volumeDifference: number;
}

/** Names of the metrics in the order of tables. */
export const metricNames = [
  'dice',
  'iou',
  'precision',
  'recall',
  'hd95',
  'assd',
  'nsd',
  'truthVolume',
  'predictionVolume',
  'volumeDifference',
] as const satisfies readonly (keyof ClassMetrics)[];
export type MetricName = (typeof metricNames)[number];

/** Metrics of one case. */
export interface CaseMetrics {
  /** Of the case. */
  readonly name: string;
  /** One entry per label value, background included. */
  readonly classes: readonly ClassMetrics[];
  /** Voxels by truth (row) and prediction (column). */
  readonly confusion: readonly (readonly number[])[];
  /** Classes that only one of the two maps has, in words. */
  readonly notes: readonly string[];
}

/** How a prediction is compared with the truth. */
export interface EvaluateOptions {
  /** Number of label values, background included, or their names. */
  readonly classes: number | readonly string[];
  /** Millimetres along x, y, z. Default: the truth's, else 1. */
  readonly spacing?: readonly number[];
  /** For NSD, in mm. Default 1. */
  readonly tolerance?: number;
  /** Default 'case'. */
  readonly name?: string;
  /** Surface metrics of the background as well. Default false: they are NaN. */
  readonly background?: boolean;
  /**
   * Value of the truth's unknown voxels, 0 to 255. They count nowhere: no overlap, no volume, no confusion; in both
   * maps alike a class ends where they begin.
   */
  readonly ignore?: number | undefined;
}

const classesText = '2 to 256 classes, background included: their number, or a different name for each';
const spacing = v.optional(v.array(numberAbove(0), 'millimetres along x, y, z'));
const evaluateEntries = {
  classes: v.union(
    [
      wholeNumber(2, 256),
      v.pipe(distinctNames('classes'), v.minLength(2, classesText), v.maxLength(256, classesText)),
    ],
    classesText,
  ),
  spacing,
  tolerance: v.optional(numberFrom(0)),
  name: v.optional(text),
  background: v.optional(flag),
  ignore: v.optional(wholeNumber(0, 255)),
} satisfies Record<keyof EvaluateOptions, unknown>;

const labelVolume = openObject({
  data: numbers,
  shape: v.array(wholeNumber(1), 'voxels along x, y, z'),
  spacing,
});

/** Smallest box, as [low, high) per axis, that holds every voxel of a class in either map. */
type Box = [[number, number], [number, number], [number, number]];

/** Unknown voxels among labels as bytes. */
const unknown = 255;

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

/** Counts of all pairs of labels where the truth is known, and the box of each class. */
function tally(
  truth: Uint8Array,
  prediction: Uint8Array,
  [nx, ny, nz]: Triple,
  classes: number,
): { pairs: Float64Array; boxes: Box[] } {
  const pairs = new Float64Array(classes * classes);
  const low = Int32Array.from({ length: classes * 3 }, () => 0x7fffffff);
  const high = new Int32Array(classes * 3).fill(-1);
  const first = new Int32Array(classes);
  const last = new Int32Array(classes);
  for (let z = 0, at = 0; z < nz; z++)
    for (let y = 0; y < ny; y++) {
      first.fill(-1);
      for (let x = 0; x < nx; x++, at++) {
        const [t, p] = [truth[at]!, prediction[at]!];
        if (t >= classes) continue; // unknown
        pairs[t * classes + p]!++;
        if (first[t]! < 0) first[t] = x;
        last[t] = x;
        if (first[p]! < 0) first[p] = x;
        last[p] = x;
      }
      for (let label = 0; label < classes; label++) {
        if (first[label]! < 0) continue;
        for (const [axis, from, to] of [
          [0, first[label]!, last[label]!],
          [1, y, y],
          [2, z, z],
        ] as const) {
          low[label * 3 + axis] = Math.min(low[label * 3 + axis]!, from);
          high[label * 3 + axis] = Math.max(high[label * 3 + axis]!, to);
        }
      }
    }
  const side = (label: number, axis: number): [number, number] => [
    low[label * 3 + axis]!,
    high[label * 3 + axis]! + 1,
  ];
  const boxes = Array.from({ length: classes }, (_, label): Box => [
    side(label, 0),
    side(label, 1),
    side(label, 2),
  ]);
  return { pairs, boxes };
}

/** The part of a map inside a box. */
function crop(labels: Uint8Array, [nx, ny]: Triple, [[x0, x1], [y0, y1], [z0, z1]]: Box): Uint8Array {
  const out = new Uint8Array((x1 - x0) * (y1 - y0) * (z1 - z0));
  let to = 0;
  for (let z = z0; z < z1; z++)
    for (let y = y0; y < y1; y++, to += x1 - x0) {
      const row = (z * ny + y) * nx;
      out.set(labels.subarray(row + x0, row + x1), to);
    }
  return out;
}

/**
 * Compares a prediction with the truth, voxels that lie over each other. Both empty: NaN. One empty: Dice, IoU and NSD 0, HD95 and
 * ASSD NaN. Distances are in mm with the spacing, volumes in ml.
 * @throws InvalidVolume if the grids differ or a voxel is NaN or not a class
 * @throws InvalidOption if spacing, tolerance or the number of classes make no sense
 */
export function evaluateCase(
  truth: LabelVolume,
  prediction: LabelVolume,
  options: EvaluateOptions,
): CaseMetrics {
  assertOptions('evaluateCase', evaluateEntries, options);
  const { tolerance = 1, name = 'case', ignore } = options;
  assertOptions(name, { truth: labelVolume, prediction: labelVolume }, { truth, prediction });
  const classes = typeof options.classes === 'number' ? options.classes : options.classes.length;
  if (ignore !== undefined && classes > 255)
    throw new InvalidOption(`Beside unknown voxels there are at most 255 classes, got ${classes}.`);
  const [sx = 1, sy = 1, sz = 1] = options.spacing ?? truth.spacing ?? [];
  const spacing: Triple = [sx, sy, sz];
  const turned = checkGrids(truth, prediction, name);
  const shape = spatialShape(truth.shape);
  const truthLabels = labelBytes(truth, 'truth', name, classes, ignore);
  const stored = labelBytes(prediction, 'prediction', name, classes, ignore);
  const predictedLabels = turnedValues(stored, prediction.shape, turned);
  if (ignore !== undefined) leaveOut(truthLabels, predictedLabels, shape, name);
  const { pairs, boxes } = tally(truthLabels, predictedLabels, shape, classes);
  const confusion = Array.from({ length: classes }, (_, row) => [
    ...pairs.subarray(row * classes, (row + 1) * classes),
  ]);
  const millilitres = (voxels: number): number => (voxels * sx * sy * sz) / 1000;
  const scratch = distanceScratch();
  const notes: string[] = [];

  const surfaces = (label: number, inTruth: number, inPrediction: number): SurfaceMetrics => {
    const isWanted = label > 0 || options.background === true;
    if (inTruth === 0 || inPrediction === 0 || !isWanted) {
      const isOneSided = isWanted && inTruth + inPrediction > 0;
      return { hd95: NaN, assd: NaN, nsd: isOneSided ? 0 : NaN };
    }
    const box = boxes[label]!;
    const size = box.map(([low, high]) => high - low) as unknown as Triple;
    const [a, b] = [crop(truthLabels, shape, box), crop(predictedLabels, shape, box)];
    return surfaceMetrics(a, b, label, { shape: size, spacing, tolerance, scratch });
  };

  const metrics = confusion.map((row, label): ClassMetrics => {
    const both = row[label]!;
    const inTruth = row.reduce((sum, voxels) => sum + voxels, 0);
    const inPrediction = confusion.reduce((sum, other) => sum + other[label]!, 0);
    if ((inTruth === 0) !== (inPrediction === 0)) {
      const title =
        typeof options.classes === 'number'
          ? `class ${label}`
          : `"${options.classes[label]}" (class ${label})`;
      const [there, missing] = inTruth > 0 ? ['truth', 'prediction'] : ['prediction', 'truth'];
      notes.push(
        `${name}: ${title} is in the ${there} but not in the ${missing}: Dice 0, distances not defined.`,
      );
    }
    return {
      dice: (2 * both) / (inTruth + inPrediction),
      iou: both / (inTruth + inPrediction - both),
      precision: both / inPrediction,
      recall: both / inTruth,
      ...surfaces(label, inTruth, inPrediction),
      truthVolume: millilitres(inTruth),
      predictionVolume: millilitres(inPrediction),
      volumeDifference: millilitres(inPrediction - inTruth),
    };
  });
  return { name, classes: metrics, confusion, notes };
}
