/**
 * Batches for training: whole volumes or patches of prepared cases, padded to one shape, in an order that
 * depends only on the seed and the position, so that a run repeats and can be resumed at any step.
 */
import { copyWindow, type Box } from './boxes.ts';
import * as v from 'valibot';
import { InvalidDataset } from '../errors.ts';
import { assertOptions, assertValue } from '../options.ts';
import type { Region } from './regions.ts';
import { callback, list, numberFrom, oneOf, size3, wholeNumber, withParts } from '../schema.ts';
import type { PreparedCase } from './prepare.ts';
import type { Size3 } from '../size.ts';
import { random, type Random } from './random.ts';
import { roundHalfEven } from './rounding.ts';

/** Label value of voxels that the loss leaves out. */
export const ignored = 255;

/** Prepared cases, in memory or made on demand. */
export interface CaseSource {
  /** Names of the cases, in order. */
  readonly ids: readonly string[];
  /** Shape x, y, z of each case. */
  readonly shapes: readonly Size3[];
  /** Of every case. */
  readonly channels: number;
  /** The case at a place of `ids`. */
  get(index: number): PreparedCase | Promise<PreparedCase>;
}

/**
 * Cases that are all in memory as a CaseSource.
 * @example
 * ```js
 * const batches = trainingBatches(casesInMemory(cases), { batchSize: 2 });
 * ```
 */
export function casesInMemory(cases: readonly PreparedCase[]): CaseSource {
  assertValue('casesInMemory', list('a list of cases as prepareCase gives them'), cases);
  return {
    ids: cases.map(({ id }) => id),
    shapes: cases.map(({ shape }) => shape),
    channels: cases[0]?.channels ?? 0,
    get: (index) => cases[index]!,
  };
}

/** How batches are cut from cases. */
export interface BatchOptions {
  /** Samples per batch. Default 2. */
  readonly batchSize?: number;
  /** Each axis of a batch is a multiple of this, the network's `sizeMultiple`, or one for all axes. Default 1. */
  readonly multiple?: number | Size3;
  /** Patch size x, y, z, rounded up to the multiple; default: whole volumes, padded to the largest. */
  readonly patch?: Size3;
  /** Where the patch lies in a larger volume: anywhere (default), or always in the middle. */
  readonly placement?: 'random' | 'centre';
  /** Voxels x, y, z that batches of a size reach beyond it on both sides, for augmentation. Default: none. */
  readonly margin?: (size: Size3) => Size3;
  /**
   * Share of the random patches that are centred on a foreground voxel. Default 1/3, as nnU-Net. The others lie anywhere;
   * in a case that is known in part, around a random known voxel.
   */
  readonly oversample?: number;
  /**
   * Which patches these are: each with that probability (default), or the last places of each step, from
   * round(samples · (1 − share)) on, as in nnU-Net.
   */
  readonly oversampling?: 'chance' | 'places';
  /** Where the network finds regions: such a patch lies around a voxel of one of them. Default: of one of the classes. */
  readonly regions?: readonly Pick<Region, 'labels'>[];
  /** Batches of a step, whose samples count together for `oversampling: 'places'`. Default 1. */
  readonly accumulate?: number;
  /** Each case once in every pass (default), or cases drawn at random again and again, as in nnU-Net. */
  readonly order?: 'passes' | 'draws';
  /** Default 0. */
  readonly seed?: number;
  /** Default: as many as show each case once, rounded up. */
  readonly batchesPerEpoch?: number;
}

const batchEntries = {
  batchSize: v.optional(wholeNumber(1)),
  multiple: v.optional(v.union([wholeNumber(1), size3], 'a whole number from 1 on, or three: x, y, z')),
  patch: v.optional(size3),
  placement: v.optional(oneOf('random', 'centre')),
  margin: callback,
  oversample: v.optional(numberFrom(0, 1)),
  oversampling: v.optional(oneOf('chance', 'places')),
  regions: v.optional(v.array(withParts('a region with its labels', 'labels'), 'a list of regions')),
  accumulate: v.optional(wholeNumber(1)),
  order: v.optional(oneOf('passes', 'draws')),
  seed: v.optional(wholeNumber()),
  batchesPerEpoch: v.optional(wholeNumber(1)),
} satisfies Record<keyof BatchOptions, unknown>;

/** One batch: image [sample][channel][z][y][x], label [sample][z][y][x], 0 and 255 where there is no volume. */
export interface PatchBatch {
  /** [sample][channel][z][y][x] */
  readonly image: Float32Array<ArrayBuffer>;
  /** [sample][z][y][x] */
  readonly label: Uint8Array<ArrayBuffer>;
  /** Index of each sample's case. */
  readonly cases: readonly number[];
}

/** Where training batches come from; equal positions give equal batches. */
export interface PatchBatches {
  /** x, y, z of every batch, without the margin. */
  readonly size: Size3;
  /** Voxels that its arrays hold beyond that, on both sides. */
  readonly margin: Size3;
  /** Samples of each batch. */
  readonly batchSize: number;
  /** How many batches make an epoch. */
  readonly batchesPerEpoch: number;
  /** The batch at a place of an epoch, both from 0 on. */
  batch(epoch: number, index: number): Promise<PatchBatch>;
  /** What makes two sources give the same batches. */
  readonly identity: Readonly<Record<string, unknown>>;
}

const multiplesOf = (multiple: number | Size3): Size3 =>
  typeof multiple === 'number' ? [multiple, multiple, multiple] : multiple;

/** Per-axis maximum of the shapes, rounded up to the multiple. */
export function commonShape(shapes: readonly Size3[], multiple: number | Size3 = 1): Size3 {
  const along = multiplesOf(multiple);
  return [0, 1, 2].map((axis) => {
    const largest = Math.max(...shapes.map((shape) => shape[axis]!));
    return Math.ceil(largest / along[axis]!) * along[axis]!;
  }) as unknown as Size3;
}

/**
 * Batches of labelled cases. Unless they are drawn, cases come in a new random order on every pass; passes follow each
 * other without a gap, so every batch is full and every case is seen equally often.
 * @throws InvalidOption for sizes or shares outside their range, and for unknown options
 * @throws InvalidDataset if there is no case
 * @example
 * ```js
 * const batches = trainingBatches(casesInMemory(cases), { batchSize: 2, patch: [8, 8, 4] });
 * const { image, label } = await batches.batch(0, 0);
 * ```
 */
export function trainingBatches(cases: CaseSource, options: BatchOptions = {}): PatchBatches {
  assertValue(
    'trainingBatches',
    withParts('cases, such as casesInMemory(cases)', 'ids', 'shapes', 'channels', 'get'),
    cases,
  );
  assertOptions('trainingBatches', batchEntries, options);
  const { batchSize = 2, patch, placement = 'random', oversample = 1 / 3, seed = 0 } = options;
  const { oversampling = 'chance', accumulate = 1, order: how = 'passes' } = options;
  const regions = options.regions?.map(({ labels }) => labels);
  const multiple = multiplesOf(options.multiple ?? 1);
  const count = cases.ids.length;
  if (count === 0) throw new InvalidDataset('There is no training case; give at least one.');
  const size = commonShape(patch ? [patch] : cases.shapes, multiple);
  const batchesPerEpoch = options.batchesPerEpoch ?? Math.ceil(count / batchSize);

  let order: { pass: number; cases: number[] } | undefined;
  const caseAt = (position: number): number => {
    if (how === 'draws') return random(seed, 'case', position).int(count);
    const pass = Math.floor(position / count);
    if (order?.pass !== pass)
      order = {
        pass,
        cases: random(seed, 'order', pass).shuffle(Array.from({ length: count }, (_, i) => i)),
      };
    return order.cases[position % count]!;
  };

  const inStep = batchSize * accumulate;
  const firstForced = roundHalfEven(inStep * (1 - oversample));
  /** Of the sample at a position: the probability that it lies around foreground. */
  const oversampleAt = (position: number): number => {
    if (oversampling === 'chance') return oversample;
    return position % inStep >= firstForced ? 1 : 0;
  };

  const margin = options.margin?.(size) ?? [0, 0, 0];
  const whole = size.map((n, axis) => n + 2 * margin[axis]!) as unknown as Size3;
  const voxels = whole[0] * whole[1] * whole[2];
  const kind = {
    ...{ seed, batchSize, size, placement, oversample, batchesPerEpoch, cases: cases.ids },
    ...(oversampling === 'places' && { oversampling }),
    ...(regions && { regions }),
    ...(how === 'draws' && { order: how }),
  };
  return {
    size,
    margin,
    batchSize,
    batchesPerEpoch,
    identity: margin.some((n) => n > 0) ? { ...kind, margin } : kind,
    async batch(epoch, index) {
      const image = new Float32Array(batchSize * cases.channels * voxels);
      const label = new Uint8Array(batchSize * voxels).fill(ignored);
      const first = (epoch * batchesPerEpoch + index) * batchSize;
      const indices = Array.from({ length: batchSize }, (_, sample) => caseAt(first + sample));
      for (const [sample, caseIndex] of indices.entries()) {
        const item = await cases.get(caseIndex);
        if (!item.label) throw new InvalidDataset(`Case "${item.id}" has no label; training needs one.`);
        const start =
          placement === 'centre'
            ? middleStart(item.shape, size)
            : randomStart(
                item.shape,
                item.label,
                size,
                oversampleAt(first + sample),
                random(seed, 'patch', first + sample),
                regions,
              );
        if (!isKnownIn(item.label, item.shape, { start, size })) throw unknownCase(item.id, placement);
        const corner = start.map((at, axis) => at - margin[axis]!) as unknown as Size3;
        const window = { start: corner, size: whole };
        const { shape, image: data } = item;
        copyWindow({ data: item.label, shape }, window, label.subarray(sample * voxels));
        const target = image.subarray(sample * cases.channels * voxels);
        copyWindow({ data, shape, channels: cases.channels }, window, target);
      }
      return { image, label, cases: indices };
    },
  };
}

const unknownCase = (id: string, placement: BatchOptions['placement']): InvalidDataset =>
  new InvalidDataset(
    `Case "${id}" has no annotated voxel${placement === 'centre' ? ' in the patch in its middle' : ''}; ` +
      'annotate some of it, or leave the case out.',
  );

/**
 * Looks at each case once, before any is drawn.
 * @throws InvalidDataset for one without an annotated voxel in the patch in its middle, as `placement: 'centre'` cuts it
 */
export async function assertKnownInMiddle(cases: CaseSource, size: Size3): Promise<void> {
  for (let index = 0; index < cases.ids.length; index++) {
    const { id, shape, label } = await cases.get(index);
    if (label && !isKnownIn(label, shape, { start: middleStart(shape, size), size }))
      throw unknownCase(id, 'centre');
  }
}

/** Corner of a patch in the middle of a volume, or of the volume where that is smaller. */
const middleStart = (shape: Size3, size: Size3): Size3 =>
  shape.map((n, axis) => Math.max(0, (n - size[axis]!) >> 1)) as unknown as Size3;

/**
 * Corner of a patch: anywhere inside the volume, or around a random voxel of a random foreground class or region. Where
 * voxels are unknown, a patch lies around a random known one rather than anywhere, as in nnU-Net.
 */
function randomStart(
  shape: Size3,
  label: Uint8Array,
  size: Size3,
  oversample: number,
  r: Random,
  regions: readonly (readonly number[])[] | undefined,
): Size3 {
  const last = shape.map((n, axis) => Math.max(0, n - size[axis]!));
  const anywhere = last.map((start) => r.int(start + 1)) as unknown as Size3;
  if (last.every((start) => start === 0)) return anywhere;
  const isForced = r.uniform() < oversample;
  if (!isForced && !label.includes(ignored)) return anywhere;
  const counts = new Uint32Array(256);
  for (const value of label) counts[value]! += 1;
  const present = Array.from(counts.keys()).filter((value) => value !== ignored && counts[value]! > 0);
  const foreground =
    regions?.filter((labels) => labels.some((value) => counts[value]! > 0)) ??
    present.filter((value) => value > 0).map((value) => [value]);
  let wanted: readonly number[];
  if (isForced && foreground.length > 0) wanted = foreground[r.int(foreground.length)]!;
  else if (counts[ignored]! > 0 && present.length > 0) wanted = present;
  else return anywhere;
  const count = wanted.reduce((sum, value) => sum + counts[value]!, 0);
  const voxel = placeOf(label, wanted, r.int(count));
  const [nx, ny] = shape;
  const centre = [voxel % nx, Math.floor(voxel / nx) % ny, Math.floor(voxel / (nx * ny))];
  return centre.map((at, axis) =>
    Math.min(Math.max(0, at - (size[axis]! >> 1)), last[axis]!),
  ) as unknown as Size3;
}

/** The place of a voxel that has one of some values and so many of them before it. */
function placeOf(label: Uint8Array, values: readonly number[], before: number): number {
  const isWanted = new Uint8Array(256);
  for (const value of values) isWanted[value] = 1;
  let voxel = 0;
  for (let skip = before; skip > 0 || !isWanted[label[voxel]!]; voxel++) skip -= isWanted[label[voxel]!]!;
  return voxel;
}

/** Whether some voxel of a label [z][y][x] inside a box is known. */
export function isKnownIn(label: Uint8Array, shape: Size3, { start, size }: Box): boolean {
  const [x0, y0, z0] = start;
  const [x1, y1, z1] = start.map((at, axis) => Math.min(at + size[axis]!, shape[axis]!)) as [...Size3];
  for (let z = z0; z < z1; z++)
    for (let y = y0; y < y1; y++) {
      const row = (z * shape[1] + y) * shape[0];
      for (let x = x0; x < x1; x++) if (label[row + x] !== ignored) return true;
    }
  return false;
}
