/**
 * Into which pieces the gradients of a step are cut that ranks add up, and after which dispatch each is whole: the
 * backward pass comes to the end of the flat buffer first, and the first layers, whose gradients take it longest, have
 * few parameters. So most of the bytes are under way while the GPU still works.
 */
import type { Plan } from '../gpu/plan.ts';
import { writtenBindings } from '../gpu/shader.ts';
import { firstTrainedWord, type Frozen } from '../model/freeze.ts';
import type { ParameterLayout } from '../model/parameters.ts';

/** A range of words of the flat buffer. */
export interface Piece {
  readonly from: number;
  readonly to: number;
  /** Dispatches of the plan after which nothing writes it any more. */
  readonly after: number;
}

/** The dispatch that the update begins with: what comes before it depends on one rank's batches alone. */
export const updateBegins = ({ dispatches }: Plan): number =>
  dispatches.findIndex(({ shader }) => shader === 'optimizer/gradient_norm');

/** Into as many equal pieces, the last of which is halved again and again; and words that one has at least. */
const usual = 8;
const least = 2 ** 14;

/**
 * The trained words, cut between parameters, from the end of the buffer to its beginning: on every rank alike, also where
 * plans differ by what they compute again, and nearly always in the order in which the pieces are whole.
 */
export function gradientPieces(
  plan: Plan,
  layout: ParameterLayout,
  freeze?: Frozen,
  { pieces = usual, words = least } = {},
): Piece[] {
  const begin = firstTrainedWord(layout, freeze);
  const end = layout.trainedWords;
  const writes = gradientWrites(plan);
  const whole = (from: number, to: number): number =>
    writes.reduce(
      (after, write) => (write.from < to && write.to > from ? Math.max(after, write.after) : after),
      0,
    );
  // Of what is whole last, as little as possible is left for after the backward pass.
  const target = (left: number): number =>
    Math.max(words, Math.min(Math.ceil((end - begin) / pieces), Math.ceil(left / 2)));
  const starts = [...layout.parameters.values()]
    .map(({ offset }) => offset)
    .filter((at) => at >= begin && at < end);
  const cut: Piece[] = [];
  let to = end;
  for (const from of starts.toReversed()) {
    if (to - from < target(to - begin) && from > begin) continue;
    cut.push({ from, to, after: whole(from, to) });
    to = from;
  }
  return cut;
}

/** Every write of what the update reads: the gradients of a batch, or the sum over batches. */
function gradientWrites(plan: Plan): Piece[] {
  const { dispatches, tensors } = plan;
  const name = tensors.some((tensor) => tensor.name === 'accumulated') ? 'accumulated' : 'gradients';
  return dispatches.slice(0, updateBegins(plan)).flatMap(({ shader, bindings }, index) =>
    [...writtenBindings(shader)].flatMap((binding) => {
      const view = bindings[binding];
      if (view?.tensor.name !== name) return [];
      return [{ from: view.offset / 4, to: (view.offset + view.size) / 4, after: index + 1 }];
    }),
  );
}
