/**
 * A network as a list of nodes: layers with their inputs, in the order in which they run. Written down once, in
 * a topology such as `unet.ts`; parameters, forward and backward pass, evaluation, inference and every plan follow from it.
 */
import { InvalidOption } from '../errors.ts';
import type { Recorder, View, VolumeShape, VolumeTensor } from '../gpu/plan.ts';
import type { AssignPlanes, Input } from '../ops/common.ts';
import type { Operation } from './operation.ts';

/** Of a volume, without how it is stored. */
export type Shape = VolumeShape;

/** A parameter or running statistic of a layer. */
export interface ParameterSpec {
  /** What stands behind the node's name and a point, such as `weight`. */
  readonly name: string;
  /** PyTorch's shape: conv (out, in, kz, ky, kx), transposed conv (in, out, kz, ky, kx). */
  readonly shape: readonly number[];
  /** Initial values: uniform in ±1/√fanIn, or this constant. */
  readonly init: { readonly fanIn: number } | { readonly constant: number };
  /** Running statistics are saved, but not trained. */
  readonly statistic?: boolean;
}

/** Two neighbouring parameters as one view; the second starts `secondOffset` words in. */
export interface Pair {
  readonly view: View;
  readonly secondOffset: number;
}

/** What a layer records with. */
export interface Context {
  readonly recorder: Recorder;
  /** Whether a node's norm takes the statistics of the batch and keeps what the backward pass needs. */
  trains(node: string): boolean;
  /** A parameter by its node's name and its own: `encoder.0.conv1.weight`. */
  parameter(name: string): View;
  /** Where its gradient is to be left. */
  gradient(name: string): View;
  /** `weight` and `bias` of a node, or their gradients. */
  weightAndBias(node: string, of?: 'parameters' | 'gradients'): Pair;
  /** Running mean and variance of a node; of a norm without any, 256 bytes that nobody looks at. */
  runningStatistics(node: string): Pair;
  /** Whether a norm takes statistics of a node's output as it is recorded for the first time. */
  measures(node: Node): boolean;
  /** What readers of a node's output read, recorded again if it was not kept. */
  read(node: Node): Input;
}

/** A layer kind with its settings: what it makes of shapes, which parameters it has, how it is recorded. */
export interface Layer<R extends NodeRecording = NodeRecording> {
  /** What it computes, as data. */
  readonly operation: Operation;
  /** Of the output. @throws InvalidOption for inputs that do not fit */
  shape(inputs: readonly Shape[]): Shape;
  parameters?(inputs: readonly Shape[]): readonly ParameterSpec[];
  /**
   * Operations per float32 byte of the output: the price of recording it again instead of keeping it. Without, the
   * output is a view of input 0, and there is nothing to keep.
   */
  flopsPerByte?(inputs: readonly Shape[]): number;
  /** Reads its inputs a slab of planes at a time: they need not exist as a whole. */
  readonly readsPlanes?: boolean;
  /** Reads its first input plane by plane, in order and once, and writes as it goes: it may write in the place of that. */
  readonly overwrites?: boolean;
  /** Takes the mean of each channel away: a bias in front of it changes nothing, so its gradient is 0. */
  readonly centres?: boolean;
  /** The layer at its place in one recording; what it keeps for the backward pass is a variable in there. */
  at(context: Context, node: Node): R;
}

/** Forward and backward of one node in one recording. */
export interface NodeRecording {
  /**
   * Records the output, where there is a place for it already into that. Without, there is none: the head's is made slab
   * by slab, by whoever needs it.
   */
  forward?(inputs: readonly Input[], place?: VolumeTensor): Input;
  /** The same once more for the backward pass. Default: `forward`. A norm has its statistics still. */
  again?(inputs: readonly Input[]): Input;
  /** Gives what records planes of the output into a slab of it; `none` is one that holds none. */
  planes?(inputs: readonly Input[], none: VolumeTensor): AssignPlanes;
  /** Whether `forward` takes statistics of its input. */
  readonly measures?: boolean;
  /** Assigns the gradients of the parameters, from that of the output. */
  parameterGradients?(d: VolumeTensor): void;
  /** Whether `inputGradient` can assign its target, add to it, or either. Default `assign`. */
  readonly target?: 'assign' | 'add' | 'either';
  /** Records the gradient of the input in this slot from that of the output: assigns `target`, or adds to it. */
  inputGradient?(d: VolumeTensor, slot: number, target: VolumeTensor, add: boolean): void;
  /** The gradient of the output is that of each input: where it can, it is handed on without `inputGradient`. */
  readonly sameGradient?: boolean;
  /** The gradient of the only input takes the place of that input, which nobody reads after this; gives it back. */
  gradientInPlace?(d: VolumeTensor): VolumeTensor;
  /** Of a layer that the loss is computed from: the gradient of its input, out of nothing but the loss. */
  lossGradient?(target: VolumeTensor, add: boolean): void;
}

/** A layer in a network. */
export interface Node<R extends NodeRecording = NodeRecording> {
  readonly name: string;
  /** None for the image, which comes from outside. */
  readonly layer: Layer<R> | undefined;
  readonly inputs: readonly Node[];
  /** Of its output. */
  readonly shape: Shape;
  /** Who reads the output, and as which of its inputs, in the order of the network. */
  readonly consumers: readonly { readonly node: Node; readonly slot: number }[];
}

export class Graph {
  readonly image: Node;
  /** In the order in which they run; the image is none of them. */
  readonly nodes: Node[] = [];
  readonly #consumers = new Map<Node, { node: Node; slot: number }[]>();

  constructor(image: Shape) {
    this.image = this.#node('image', undefined, [], image);
  }

  /** Appends a layer that reads these nodes. @throws InvalidOption for inputs that do not fit, or a name used twice */
  add<R extends NodeRecording>(name: string, layer: Layer<R>, ...inputs: readonly Node[]): Node<R> {
    if (this.nodes.some((node) => node.name === name))
      throw new InvalidOption(`the network has a node ${name} already: give each a name of its own`);
    const node = this.#node(name, layer, inputs, layer.shape(shapesOf(inputs)));
    inputs.forEach((input, slot) => this.#consumers.get(input)!.push({ node, slot }));
    this.nodes.push(node);
    return node;
  }

  #node<R extends NodeRecording>(
    name: string,
    layer: Layer<R> | undefined,
    inputs: readonly Node[],
    shape: Shape,
  ): Node<R> {
    const consumers: { node: Node; slot: number }[] = [];
    const node = { name, layer, inputs, shape, consumers };
    this.#consumers.set(node, consumers);
    return node;
  }
}

export const shapesOf = (nodes: readonly Node[]): Shape[] => nodes.map(({ shape }) => shape);

/** Channels of all inputs together. */
export const channelsOf = (inputs: readonly Shape[]): number =>
  inputs.reduce((sum, { channels }) => sum + channels, 0);

/** Whether a node's output is stored: heads leave it to their readers, views show an input's. */
export const isStored = ({ layer }: Node): boolean => layer?.flopsPerByte !== undefined;

/** The node whose output, or a view of it, a node's output is. */
export const storedBehind = (node: Node): Node =>
  node.layer && !isStored(node) ? storedBehind(node.inputs[0]!) : node;

/** The layers that read a node's output, or a view of it. */
export const readersOf = ({ consumers }: Node): Node[] =>
  consumers.flatMap(({ node }) => (isStored(node) ? [node] : readersOf(node)));

/** Throws `InvalidOption` where a layer reads a view that it cannot look through: a norm or activation behind another. */
export function assertStored(name: string, input: Node): void {
  if (input.layer && !isStored(input))
    throw new InvalidOption(
      `${name} reads ${input.name}, which has a norm or an activation of its own: join them`,
    );
}
