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

/** Parts of the peak below which a saving is not worth its work. */
const leastSaving = 1 / 1000;

/**
 * Forgets one output after the other, always the one that saves most bytes per operation, until the step fits or
 * nothing lowers its peak any more; then keeps again what the others have made superfluous.
 * @param costOf the step without these outputs
 * @param fits whether that is little enough
 */
export function choose(
  among: readonly string[],
  costOf: (names: readonly string[]) => Cost,
  fits: (cost: Cost, names: readonly string[]) => boolean,
): readonly string[] {
  let names: readonly string[] = [];
  let cost = costOf(names);
  while (!fits(cost, names)) {
    const { peakBytes, flops } = cost;
    const [best] = among
      .filter((name) => !names.includes(name))
      .map((name) => ({ name, cost: costOf([...names, name]) }))
      .filter((tried) => peakBytes - tried.cost.peakBytes > leastSaving * peakBytes)
      .map((tried) => ({ ...tried, gain: (peakBytes - tried.cost.peakBytes) / (tried.cost.flops - flops) }))
      .sort((a, b) => b.gain - a.gain);
    if (!best) return names;
    names = [...names, best.name];
    cost = best.cost;
  }
  for (const name of names) {
    const fewer = names.filter((other) => other !== name);
    if (fits(costOf(fewer), fewer)) names = fewer;
  }
  return names;
}
