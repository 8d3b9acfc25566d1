/** The weights among what torch.save wrote: a dict of names and tensors, alone or within a checkpoint. */
import type { ByteRanges } from '../../data/byte-ranges.ts';
import { sourceName, type Source } from '../../data/source.ts';
import { InvalidModel } from '../../errors.ts';
import { listed } from '../../listed.ts';
import { withoutWrappers } from '../prefixes.ts';
import { PytorchTensor, readPytorch, readSaved } from './read.ts';

/** Under which checkpoints hold the weights: nnU-Net, Lightning, many programs, MONAI. */
const containers = ['network_weights', 'state_dict', 'model_state_dict', 'model', 'net', 'ema'];

/** The tensors of a network by their names. */
export type StateDict = ReadonlyMap<string, PytorchTensor>;

/**
 * The tensors of a network by their names, without what DistributedDataParallel and torch.compile put in front of them.
 * @param name what messages call the file
 * @throws InvalidModel as `readPytorch`, and where there are no tensors
 * @example
 * ```js
 * for (const [name, { view }] of await readStateDict('weights.pth')) console.log(name, view.shape);
 * ```
 */
export async function readStateDict(source: Source, name = sourceName(source)): Promise<StateDict> {
  return stateDictOf(await readPytorch(source, name), name);
}

/** The same of a file that is open. */
export const stateDictIn = async (file: ByteRanges, name: string): Promise<StateDict> =>
  stateDictOf((await readSaved(file, name)).value, name);

/** The same of what `readPytorch` gave. */
export function stateDictOf(saved: unknown, name: string): StateDict {
  for (const container of containers) {
    const found = saved instanceof Map ? tensorsOf(saved.get(container)) : new Map<never, never>();
    if (found.size > 0) return withoutWrappers(found);
  }
  // Only now: beside a container there may be tensors that are no weights, such as the loss.
  const whole = tensorsOf(saved);
  if (whole.size > 0) return withoutWrappers(whole);
  const keys = saved instanceof Map ? [...saved.keys()].filter((key) => typeof key === 'string') : [];
  throw new InvalidModel(
    `${name} holds no weights: expected a dict of tensors by name, as model.state_dict() gives it, alone or under one ` +
      `of ${listed(containers)}${keys.length > 0 ? `; it has ${listed(keys)}` : ''}; in Python, save model.state_dict() with torch.save`,
  );
}

/** The tensors right within a dict. */
function tensorsOf(value: unknown): Map<string, PytorchTensor> {
  const found = new Map<string, PytorchTensor>();
  if (!(value instanceof Map)) return found;
  for (const [key, item] of value as Map<unknown, unknown>)
    if (typeof key === 'string' && item instanceof PytorchTensor) found.set(key, item);
  return found;
}
