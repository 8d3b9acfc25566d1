/**
 * Evaluation of one predicted label map against the truth: overlap, volumes and surface distances
 * per class, and the confusion matrix.
 */
import * as v from 'valibot';
import { labelCount, members, regionsSchema, type Region } from '../data/regions.ts';
import { spacingOf, voxelVolume } from '../data/volume.ts';
import { InvalidOption } from '../errors.ts';
import { assertOptions } from '../options.ts';
import { distinctNames, flag, numberFrom, text, wholeNumber } from '../schema.ts';
import { distanceScratch } from './distance.ts';
import {
  comparedMaps,
  labelVolume,
  spacingSchema,
  unknown,
  type LabelMaps,
  type LabelVolume,
  type Triple,
} from './label-maps.ts';
import { surfaceMetrics, type SurfaceMetrics } from './surface.ts';

export type { LabelVolume };

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
  /** Millilitres. */
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
/** A metric by its name in tables and files. */
export type MetricName = (typeof metricNames)[number];

/** Metrics of one case. */
export interface CaseMetrics {
  /** Of the case. */
  readonly name: string;
  /** One entry per label value, background included; of regions, the voxels outside of all of them come first. */
  readonly classes: readonly ClassMetrics[];
  /** Voxels by truth (row) and prediction (column); empty for regions, which overlap. */
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
interface Measuring extends Pick<EvaluateOptions, 'tolerance' | 'background'> {
  readonly name: string;
  readonly spacing?: readonly number[] | undefined;
  /** Cubic millimetres of a voxel; default: by its spacing. */
  readonly voxel?: number | undefined;
}

/** How label maps are compared by regions. */
export interface EvaluateRegionsOptions extends EvaluateOptions {
  /** Sets of labels, which may overlap. */
  readonly regions: readonly Region[];
}

const evaluateEntries = {
  classes: v.union(
    [
      wholeNumber(2, 256),
      v.pipe(distinctNames('classes'), v.minLength(2, classesText), v.maxLength(256, classesText)),
    ],
    classesText,
  ),
  spacing: spacingSchema,
  tolerance: v.optional(numberFrom(0)),
  name: v.optional(text),
  background: v.optional(flag),
  ignore: v.optional(wholeNumber(0, 255)),
} satisfies Record<keyof EvaluateOptions, unknown>;

/** Smallest box, as [low, high) per axis, that holds every voxel of a class in either map. */
type Box = [[number, number], [number, number], [number, number]];

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
 * @example
 * ```js
 * const map = { data: new Uint8Array(8).fill(1), shape: [2, 2, 2], spacing: [1, 1, 1] };
 * const { classes } = evaluateCase(map, map, { classes: 2 });
 * console.log(classes[1].dice); // 1
 * ```
 */
export function evaluateCase(
  truth: LabelVolume,
  prediction: LabelVolume,
  options: EvaluateOptions,
): CaseMetrics {
  assertOptions('evaluateCase', evaluateEntries, options);
  const { name = 'case', ignore } = options;
  assertOptions(name, { truth: labelVolume, prediction: labelVolume }, { truth, prediction });
  const { classes: given } = options;
  const classes = typeof given === 'number' ? given : given.length;
  const titles = Array.from({ length: classes }, (_, label) =>
    typeof given === 'number' ? `class ${label}` : `"${given[label]}" (class ${label})`,
  );
  const maps = comparedMaps(truth, prediction, { classes, ignore, name });
  return measured(maps, titles, { ...options, name, ...millimetresOf(truth, options) });
}

const regionEntries = {
  ...evaluateEntries,
  regions: regionsSchema,
} satisfies Record<keyof EvaluateRegionsOptions, unknown>;

/**
 * As `evaluateCase`, for regions: each is compared as the set of its labels in both maps, whatever labels these are.
 * Entries are the voxels outside of all regions, then each region; there is no confusion matrix, as regions overlap.
 * @param options.classes the label values
 * @throws as `evaluateCase`; InvalidOption for regions of labels beyond the classes
 * @example
 * ```js
 * const map = { data: new Uint8Array(8).fill(1), shape: [2, 2, 2], spacing: [1, 1, 1] };
 * const regions = [
 *   { name: 'whole', labels: [1, 2], written: 1 },
 *   { name: 'core', labels: [2], written: 2 },
 * ];
 * const { classes } = evaluateRegions(map, map, { classes: 3, regions });
 * ```
 */
export function evaluateRegions(
  truth: LabelVolume,
  prediction: LabelVolume,
  options: EvaluateRegionsOptions,
): CaseMetrics {
  assertOptions('evaluateRegions', regionEntries, options);
  const { name = 'case', ignore, regions } = options;
  assertOptions(name, { truth: labelVolume, prediction: labelVolume }, { truth, prediction });
  const classes = typeof options.classes === 'number' ? options.classes : options.classes.length;
  if (labelCount(regions) > classes)
    throw new InvalidOption(
      `evaluateRegions: the regions go up to label ${labelCount(regions) - 1}, classes to ${classes - 1}; give as many classes`,
    );
  const maps = comparedMaps(truth, prediction, { classes, ignore, name });
  const how = { ...options, name, ...millimetresOf(truth, options) };
  const compared = (labels: readonly number[], title?: string): CaseMetrics => {
    const table = members({ labels });
    table[unknown] = unknown;
    const [inTruth, inPrediction] = [maps.truth, maps.prediction].map((map) =>
      map.map((label) => table[label]!),
    );
    return measured(
      { shape: maps.shape, truth: inTruth!, prediction: inPrediction! },
      [undefined, title],
      how,
    );
  };
  const found = regions.map((region) => compared(region.labels, `the region "${region.name}"`));
  const any = compared(regions.flatMap(({ labels }) => labels));
  return {
    name,
    classes: [any.classes[0]!, ...found.map((metrics) => metrics.classes[1]!)],
    confusion: [],
    notes: found.flatMap(({ notes }) => notes),
  };
}

/** By regions where there are some, else by classes. */
export const evaluate = (
  truth: LabelVolume,
  prediction: LabelVolume,
  options: EvaluateOptions,
  regions: readonly Region[] | undefined,
): CaseMetrics =>
  regions
    ? evaluateRegions(truth, prediction, { ...options, regions })
    : evaluateCase(truth, prediction, options);

/** What an option does not say is the truth's. */
const millimetresOf = (
  { spacing, affine }: LabelVolume,
  options: Pick<EvaluateOptions, 'spacing'>,
): Pick<Measuring, 'spacing' | 'voxel'> =>
  options.spacing
    ? { spacing: options.spacing }
    : { spacing: spacing ?? (affine && spacingOf(affine)), voxel: affine && voxelVolume(affine) };

/** @param titles what notes call each class; of one without, nothing is noted */
function measured(
  { truth, prediction, shape }: LabelMaps,
  titles: readonly (string | undefined)[],
  { name, tolerance = 1, background = false, spacing: given, voxel }: Measuring,
): CaseMetrics {
  const [sx = 1, sy = 1, sz = 1] = given ?? [];
  const spacing: Triple = [sx, sy, sz];
  const classes = titles.length;
  const { pairs, boxes } = tally(truth, prediction, shape, classes);
  const confusion = Array.from({ length: classes }, (_, row) => [
    ...pairs.subarray(row * classes, (row + 1) * classes),
  ]);
  const millilitres = (voxels: number): number => (voxels * (voxel ?? sx * sy * sz)) / 1000;
  const scratch = distanceScratch();
  const hidden = truth.includes(unknown) && classes <= unknown ? unknown : undefined;
  const notes: string[] = [];

  const surfaces = (label: number, inTruth: number, inPrediction: number): SurfaceMetrics => {
    const isWanted = label > 0 || background;
    if (inTruth === 0 || inPrediction === 0 || !isWanted) {
      const isOneSided = isWanted && inTruth + inPrediction > 0;
      return { hd95: NaN, assd: NaN, nsd: isOneSided ? 0 : NaN };
    }
    // With what lies around it, which may be unknown.
    const box = boxes[label]!.map(([low, high], axis) => [
      Math.max(0, low - 1),
      Math.min(shape[axis]!, high + 1),
    ]) as unknown as Box;
    const size = box.map(([low, high]) => high - low) as unknown as Triple;
    const [a, b] = [crop(truth, shape, box), crop(prediction, shape, box)];
    return surfaceMetrics(a, b, label, { shape: size, spacing, tolerance, scratch, unknown: hidden });
  };

  const metrics = confusion.map((row, label): ClassMetrics => {
    const both = row[label]!;
    const inTruth = row.reduce((sum, voxels) => sum + voxels, 0);
    const inPrediction = confusion.reduce((sum, other) => sum + other[label]!, 0);
    if (titles[label] !== undefined && (inTruth === 0) !== (inPrediction === 0)) {
      const [there, missing] = inTruth > 0 ? ['truth', 'prediction'] : ['prediction', 'truth'];
      notes.push(
        `${name}: ${titles[label]} is in the ${there} but not in the ${missing}: Dice 0, distances not defined.`,
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
