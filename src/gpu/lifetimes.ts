/** When tensors live, and which buffers they share: the memory of a plan. */
import { OutOfMemory } from '../errors.ts';
import { formatBytes } from '../format.ts';

/**
 * Where a tensor's memory comes from: `transient` from the plan's pool, for its lifetime only; `result` likewise, and
 * from its first use to the plan's end; `resident` from the plan's pool, for as long as the plan; `shared` from the model,
 * by name.
 */
export type Storage = 'transient' | 'result' | 'resident' | 'shared';

/** A tensor as the finished plan sees it: dispatch indices of its first and last use, and its buffer. */
export interface PlannedTensor {
  /** As it was recorded under. */
  readonly name: string;
  /** Rounded up to the binding alignment. */
  readonly bytes: number;
  /** Who else sees it, and for how long it is kept. */
  readonly storage: Storage;
  /** Index of the first dispatch that uses it. */
  readonly first: number;
  /** Index of the last one. */
  readonly last: number;
  /** Index into `Plan.buffers`; -1 for shared tensors. */
  readonly buffer: number;
}

interface Stored {
  /** Its place in the list of all. */
  readonly id: number;
  readonly name: string;
  readonly bytes: number;
  readonly storage: Storage;
}

/**
 * Lifetimes from the uses, then greedy reuse of buffers by size.
 * @param uses ids of the tensors that each dispatch binds
 * @throws OutOfMemory for a tensor beyond `maxBufferBytes`
 */
export function assignBuffers(
  tensors: readonly Stored[],
  uses: readonly (readonly number[])[],
  maxBufferBytes: number,
): { tensors: PlannedTensor[]; buffers: number[]; sharedBytes: number } {
  const first = new Array<number>(tensors.length).fill(-1);
  const last = new Array<number>(tensors.length).fill(-1);
  for (const [index, ids] of uses.entries())
    for (const id of ids) {
      if (first[id] === -1) first[id] = index;
      last[id] = index;
    }
  for (const { id, storage } of tensors)
    if (storage === 'result' && first[id] !== -1) last[id] = uses.length - 1;

  const buffers: number[] = [];
  const assigned = new Array<number>(tensors.length).fill(-1);
  let sharedBytes = 0;
  const pooled: Stored[] = [];
  for (const tensor of tensors) {
    if (tensor.bytes > maxBufferBytes) {
      throw new OutOfMemory(
        `${tensor.name}, a tensor of the network, needs ${formatBytes(tensor.bytes)}; this device's largest buffer is ` +
          `${formatBytes(maxBufferBytes)}: use smaller volumes, a smaller batch or fewer features`,
        tensor.bytes,
        maxBufferBytes,
      );
    }
    if (tensor.storage === 'shared') sharedBytes += tensor.bytes;
    else if (tensor.storage === 'resident') assigned[tensor.id] = buffers.push(tensor.bytes) - 1;
    else if (first[tensor.id] !== -1) pooled.push(tensor);
  }
  // Largest first: each takes the smallest buffer whose tensors live at other times, or a new one.
  const tenants = new Map<number, Stored[]>();
  for (const tensor of pooled.sort((a, b) => b.bytes - a.bytes)) {
    const free = (others: readonly Stored[]) =>
      others.every(({ id }) => last[id]! < first[tensor.id]! || first[id]! > last[tensor.id]!);
    let best = -1;
    for (const [buffer, others] of tenants) {
      if ((best === -1 || buffers[buffer]! < buffers[best]!) && free(others)) best = buffer;
    }
    if (best === -1) best = buffers.push(tensor.bytes) - 1;
    assigned[tensor.id] = best;
    const others = tenants.get(best);
    if (others) others.push(tensor);
    else tenants.set(best, [tensor]);
  }
  const planned = tensors.map(({ id, name, bytes, storage }) => ({
    name,
    bytes,
    storage,
    first: first[id]!,
    last: last[id]!,
    buffer: assigned[id]!,
  }));
  return { tensors: planned, buffers, sharedBytes };
}
