/** How far apart the gradients of two programs are. */
import { distance } from '../src/model/tune.ts';
import type { NamedTensor } from '../src/weights/safetensors.ts';

/**
 * The parameter whose gradient differs most, by ‖theirs − ours‖ / ‖ours‖. Biases in front of a norm, whose gradient is
 * nothing but rounding, are left out.
 * @param theirs of all parameters, one after another
 */
export function worstGradient(
  theirs: Float32Array,
  ours: ReadonlyMap<string, NamedTensor>,
): { readonly worst: number; readonly name: string } {
  let [worst, at, worstName] = [0, 0, ''];
  for (const [name, { data }] of ours) {
    const part = theirs.subarray(at, (at += data.length));
    if (/conv\d\.bias$/.test(name)) continue;
    const apart = distance(part, data);
    if (!(apart <= worst)) [worst, worstName] = [apart, name];
    if (Number.isNaN(worst)) break;
  }
  return { worst, name: worstName };
}
