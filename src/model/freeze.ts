/** Weights that stay as they are while the rest of a network is trained. */
import { InvalidOption } from '../errors.ts';
import { oneOf } from '../schema.ts';
import type { ParameterLayout } from './parameters.ts';

const freezable = ['encoder'] as const;

/**
 * The part of a network that is frozen: its weights get no gradient, no update and no weight decay, and its batch norms
 * use their running statistics and leave them as they are, as PyTorch has it with `requires_grad_(False)` and `eval()`.
 */
export type Frozen = (typeof freezable)[number];

export const frozenSchema = oneOf(...freezable);

/** Whether a node or parameter of this name is frozen. */
export const isFrozen = (name: string, freeze: Frozen | undefined): boolean =>
  freeze !== undefined && name.startsWith(`${freeze}.`);

/**
 * The first word of the flat buffer that is trained: frozen parameters lie before all others.
 * @throws InvalidOption where nothing of that name is there to freeze, or it lies among what is trained
 */
export function firstTrainedWord({ parameters }: ParameterLayout, freeze: Frozen | undefined): number {
  if (freeze === undefined) return 0;
  const trained = [...parameters.values()].filter(({ name }) => !isFrozen(name, freeze));
  const first = Math.min(...trained.map(({ offset }) => offset));
  const frozen = [...parameters.values()].filter(({ name }) => isFrozen(name, freeze));
  if (frozen.length === 0 || frozen.some(({ offset }) => offset > first))
    throw new InvalidOption(`this network has no ${freeze} that could be frozen by itself: leave freeze out`);
  return first;
}
