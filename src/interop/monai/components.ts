/** MONAI's KeepLargestConnectedComponent, of label maps and of channels that may overlap. */
import { findComponents } from '../../metrics/components.ts';
import type { Size3 } from '../../size.ts';

/** Of which components the largest stay; all other voxels of what they are sought in become 0. */
export interface KeptComponents {
  /** On which grid it is done: before labels are brought back to the image's own, or there. */
  readonly grid: 'network' | 'image';
  /** Label values, or channels from 0 on. Default: all that are found, but 0. */
  readonly labels?: readonly number[] | undefined;
  /** Whether components are those of each label by itself, or of all of them together. */
  readonly independent: boolean;
  /** How many steps across faces lead to a neighbour. */
  readonly hops: 1 | 2 | 3;
  /** How many stay. */
  readonly count: number;
}

/**
 * @param data labels [z][y][x], or channels [channel][z][y][x] of 0 and 1
 * @param channels 1 for labels
 */
export function withKept(
  data: Uint8Array<ArrayBuffer>,
  shape: Size3,
  channels: number,
  step: KeptComponents,
): Uint8Array<ArrayBuffer> {
  const result = data.slice();
  const voxels = data.length / channels;
  const { labels, independent } = step;
  /** Of labels, and of channels. */
  const isChosen = Uint8Array.from({ length: 256 }, (_, label) =>
    Number(labels ? labels.includes(label) : label > 0),
  );
  const clean = (mask: Uint8Array, parts: readonly Uint8Array[]): void => {
    const beside = besideLargest(mask, shape, step);
    for (const part of parts) for (let at = 0; at < voxels; at++) if (beside[at]) part[at] = 0;
  };
  if (channels === 1) {
    clean(
      data.map((label) => (independent ? isChosen[label]! * label : isChosen[label]!)),
      [result],
    );
    return result;
  }
  const parts = Array.from({ length: channels }, (_, channel) =>
    result.subarray(channel * voxels, (channel + 1) * voxels),
  ).filter((_, channel) => isChosen[channel]);
  if (independent) for (const part of parts) clean(part, [part]);
  else {
    const any = new Uint8Array(voxels);
    for (const part of parts) for (let at = 0; at < voxels; at++) any[at]! |= part[at]!;
    clean(any, parts);
  }
  return result;
}

/**
 * 1 where a component lies that is none of the largest of its label. Of those of one size, those that begin later stay,
 * first along x, then y, then z, as where numpy sorts a few of them.
 */
function besideLargest(mask: Uint8Array, shape: Size3, { hops, count }: KeptComponents): Uint8Array {
  const [nx, ny, nz] = shape;
  const { runs, roots, sizes } = findComponents(mask, shape, hops);
  const begins = new Float64Array(roots.length).fill(Infinity);
  const byLabel = new Map<number, number[]>();
  const eachRun = (take: (run: number, row: number) => void): void => {
    for (let row = 0; row < ny * nz; row++)
      for (let run = runs.rows[row]!; run < runs.rows[row + 1]!; run++) take(run, row);
  };
  eachRun((run, row) => {
    const place = (runs.starts[run]! * ny + (row % ny)) * nz + Math.floor(row / ny);
    const first = roots[run]!;
    begins[first] = Math.min(begins[first]!, place);
    if (first !== run) return;
    const label = runs.labels[run]!;
    const firsts = byLabel.get(label);
    if (firsts) firsts.push(run);
    else byLabel.set(label, [run]);
  });
  const kept = new Set(
    [...byLabel.values()].flatMap((firsts) =>
      firsts.sort((a, b) => sizes[b]! - sizes[a]! || begins[b]! - begins[a]!).slice(0, count),
    ),
  );
  const result = new Uint8Array(mask.length);
  eachRun((run, row) => {
    if (!kept.has(roots[run]!)) result.fill(1, row * nx + runs.starts[run]!, row * nx + runs.ends[run]!);
  });
  return result;
}
