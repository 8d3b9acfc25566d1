/** The prepared cases of one part of a data set, decoded once and kept in memory up to a budget of bytes. */
import { Aborted, InvalidDataset } from '../errors.ts';
import type { CaseSource } from './patches.ts';
import type { PreparedCase } from './prepare.ts';

/** A CaseSource that can say what it keeps. */
export interface CachedCases extends CaseSource {
  /** Bytes of the cases in memory now. */
  readonly bytes: number;
  /** How often a case was prepared, the first time included. */
  readonly prepared: number;
}

const voxels = (shape: PreparedCase['shape'], channels: number): string =>
  `${shape.join(' x ')} voxels, ${channels} channel(s)`;

const bytesOf = (item: PreparedCase): number => item.image.byteLength + (item.label?.byteLength ?? 0);

/**
 * Prepares every case once, so that a bad file stops a run at its start, and keeps what fits into the
 * budget; the least recently used case gives way, and is prepared again when it is asked for.
 * @param prepare makes the case of an index
 * @param options budget in bytes, default 2 GiB; `onProgress` is called after each case
 * @throws what `prepare` throws, and Aborted; from `get`, InvalidDataset for a case that has become another
 */
export async function cacheCases(
  count: number,
  prepare: (index: number) => Promise<PreparedCase>,
  options: {
    readonly budget?: number;
    readonly signal?: AbortSignal;
    readonly onProgress?: (loaded: number, total: number) => void;
  } = {},
): Promise<CachedCases> {
  const { budget = 2 ** 31, signal, onProgress } = options;
  const kept = new Map<number, PreparedCase>(); // least recently used first
  let bytes = 0;
  let prepared = 0;

  const pending = new Map<number, Promise<PreparedCase>>();
  const ids: string[] = [];
  const shapes: PreparedCase['shape'][] = [];
  let channels = 0;

  async function make(index: number): Promise<PreparedCase> {
    const item = await prepare(index);
    const before = shapes[index];
    if (before && (before.join() !== item.shape.join() || item.channels !== channels))
      throw new InvalidDataset(
        `Case "${item.id}" has become another: ${voxels(item.shape, item.channels)}, before ${voxels(before, channels)}. ` +
          'Leave the files alone while they are trained on.',
      );
    prepared += 1;
    bytes += bytesOf(item);
    kept.set(index, item);
    for (const [oldest, victim] of kept) {
      if (bytes <= budget || oldest === index) break;
      kept.delete(oldest);
      bytes -= bytesOf(victim);
    }
    return item;
  }

  function get(index: number): Promise<PreparedCase> {
    const found = kept.get(index);
    if (found) {
      kept.delete(index);
      kept.set(index, found);
      return Promise.resolve(found);
    }
    let promise = pending.get(index);
    if (!promise) {
      promise = make(index).finally(() => pending.delete(index));
      pending.set(index, promise);
    }
    return promise;
  }

  for (let index = 0; index < count; index++) {
    if (signal?.aborted)
      throw new Aborted(`Preparing the data was stopped after ${index} of ${count} cases.`);
    const item = await get(index);
    ids.push(item.id);
    shapes.push(item.shape);
    channels = item.channels;
    onProgress?.(index + 1, count);
  }
  return {
    ids,
    shapes,
    channels,
    get,
    get bytes() {
      return bytes;
    },
    get prepared() {
      return prepared;
    },
  };
}
