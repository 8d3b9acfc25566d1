/**
 * Which outputs are forgotten after the forward pass and computed again in the backward pass. Kernels are
 * deterministic: what is forgotten changes memory and work, never a bit of the result.
 */
import { InvalidOption } from '../errors.ts';
import { isStored, shapesOf, type Graph, type Node } from './graph.ts';

/** Operations per byte up to which an output is never kept: a GPU computes it about as fast as it would read it. */
const nearlyFree = 64;

const isNearlyFree = ({ layer, inputs }: Node): boolean =>
  layer?.flopsPerByte !== undefined && layer.flopsPerByte(shapesOf(inputs)) <= nearlyFree;

/**
 * What is forgotten: what is nearly free, and the outputs named besides.
 * @throws InvalidOption for a name that is not that of a stored output
 */
export function forgotten(graph: Graph, names: readonly string[]): ReadonlySet<Node> {
  const stored = graph.nodes.filter(isStored);
  for (const name of names) {
    if (stored.some((node) => node.name === name)) continue;
    throw new InvalidOption(
      `checkpointing names '${name}', which this network does not store; give true, or any of ${stored.map((node) => node.name).join(', ')}`,
    );
  }
  return new Set(stored.filter((node) => isNearlyFree(node) || names.includes(node.name)));
}

/** As many of the largest outputs are looked at; smaller ones would save little. */
const most = 12;

/** Names of outputs that may be forgotten besides what is nearly free, the largest first. */
export function candidates(graph: Graph): string[] {
  const voxels = ({ shape: { channels, size } }: Node) => channels * size[0] * size[1] * size[2];
  return graph.nodes
    .filter((node) => isStored(node) && !isNearlyFree(node))
    .sort((a, b) => voxels(b) - voxels(a))
    .slice(0, most)
    .map(({ name }) => name);
}

/** What a step takes. */
export interface Cost {
  readonly peakBytes: number;
  readonly flops: number;
}

/** Fraction of the peak below which a saving is not worth another look. */
const leastSaving = 1 / 1000;

/** Without a budget, half a percent of the peak is saved for each percent of work at least. */
const leastWorth = 1 / 2;

/** Fraction of the peak that going from one cost to another saves, per fraction of work that it adds. */
const worth = (from: Cost, to: Cost): number =>
  (1 - to.peakBytes / from.peakBytes) / (to.flops / from.flops - 1);

/**
 * Forgets one output after the other, always the one that saves most memory per work, until the step fits or nothing
 * lowers its peak any more; then keeps again, the dearest first, what others have made superfluous.
 * @param costOf the step without these outputs
 * @param fits whether that is little enough; without, as much is forgotten as is worth its work
 */
export function choose(
  among: readonly string[],
  costOf: (names: readonly string[]) => Cost,
  fits?: (cost: Cost, names: readonly string[]) => boolean,
): readonly string[] {
  const least = fits ? 0 : leastWorth;
  let names: readonly string[] = [];
  let cost = costOf(names);
  /** Of each name, in operations. */
  const prices = new Map<string, number>();
  while (!fits?.(cost, names)) {
    const before = cost;
    const [best] = among
      .filter((name) => !names.includes(name))
      .map((name) => ({ name, cost: costOf([...names, name]) }))
      .filter((tried) => before.peakBytes - tried.cost.peakBytes > leastSaving * before.peakBytes)
      .map((tried) => ({ ...tried, worth: worth(before, tried.cost) }))
      .filter((tried) => tried.worth >= least)
      .sort((a, b) => b.worth - a.worth);
    if (!best) break;
    names = [...names, best.name];
    prices.set(best.name, best.cost.flops - before.flops);
    cost = best.cost;
  }
  for (const name of names.toSorted((a, b) => prices.get(b)! - prices.get(a)!)) {
    const fewer = names.filter((other) => other !== name);
    const without = costOf(fewer);
    if (worth(without, cost) <= least || fits?.(without, fewer)) [names, cost] = [fewer, without];
  }
  return names;
}
