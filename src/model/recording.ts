/**
 * A network recorded into a plan. Forward is the list of nodes; backward is the list in reverse, in which each node
 * pulls the gradient of its output from whoever read it. What was not kept is recorded again when somebody reads it.
 */
import { InvalidOption } from '../errors.ts';
import type { Recorder, Tensor, View, VolumeTensor } from '../gpu/plan.ts';
import { planeMaker, type Input } from '../ops/common.ts';
import { overwritten } from '../ops/sum.ts';
import { isFrozen, type Frozen } from './freeze.ts';
import {
  isStored,
  readersOf,
  shapesOf,
  storedBehind,
  type Context,
  type Graph,
  type Node,
  type NodeRecording,
  type Pair,
} from './graph.ts';
import { viewOf, viewOfPair, type ParameterLayout } from './parameters.ts';

/** Tensors that belong to the model and outlive any plan. */
export interface ModelTensors {
  readonly layout: ParameterLayout;
  readonly parameters: Tensor;
  readonly statistics: Tensor;
  /** In training. */
  readonly gradients?: Tensor | undefined;
}

/** How a consumer gives its part of a gradient. */
interface Pull {
  readonly name: string;
  readonly target: 'assign' | 'add' | 'either';
  record(target: VolumeTensor, add: boolean): void;
}

/** Operations per byte of an output up to which planes of it may be made twice: a slab's outermost are the next one's, too. */
const cheap = 64;

/** Of the planes that are copied ahead, of which there are two at times: volumes of fewer bytes get no less by it. */
const worthwhile = 3;

const order = { assign: 0, either: 1, add: 2 } as const;

export class Recording implements Context {
  readonly #recordings = new Map<Node, NodeRecording>();
  readonly #outputs = new Map<Node, Input>();
  /** Of outputs. */
  readonly #gradients = new Map<Node, VolumeTensor>();

  constructor(
    readonly recorder: Recorder,
    readonly graph: Graph,
    readonly model: ModelTensors,
    readonly training: boolean,
    readonly freeze?: Frozen,
  ) {
    for (const node of graph.nodes) this.#recordings.set(node, node.layer!.at(this, node));
  }

  /** A node as it is recorded here. */
  of<R extends NodeRecording>(node: Node<R>): R {
    return this.#recordings.get(node) as R;
  }

  trains(node: string): boolean {
    return this.training && !isFrozen(node, this.freeze);
  }

  parameter(name: string): View {
    return viewOf(this.model.parameters, this.model.layout.parameters.get(name)!);
  }

  gradient(name: string): View {
    return viewOf(this.model.gradients!, this.model.layout.parameters.get(name)!);
  }

  weightAndBias(node: string, of: 'parameters' | 'gradients' = 'parameters'): Pair {
    const { parameters } = this.model.layout;
    const tensor = of === 'parameters' ? this.model.parameters : this.model.gradients!;
    return viewOfPair(tensor, parameters.get(`${node}.weight`)!, parameters.get(`${node}.bias`)!);
  }

  runningStatistics(node: string): Pair {
    const { layout, statistics: tensor } = this.model;
    const [mean, variance] = ['running_mean', 'running_var'].map((name) =>
      layout.statistics.get(`${node}.${name}`),
    );
    if (!mean || !variance) return { view: { tensor, offset: 0, size: 256 }, secondOffset: 0 };
    return viewOfPair(tensor, mean, variance);
  }

  measures(node: Node): boolean {
    return node.consumers.some((consumer) => this.#recordings.get(consumer.node)!.measures);
  }

  /** From the image to whatever the network ends in. */
  forward(image: VolumeTensor): void {
    this.#keep(this.graph.image, { tensor: image });
    for (const node of this.graph.nodes) {
      const recording = this.#recordings.get(node)!;
      if (!recording.forward) continue;
      const inputs = node.inputs.map((input) => this.#toRead(input, node));
      const [first, ...others] = node.consumers;
      const isReadOnce = first !== undefined && others.length === 0;
      const output =
        isReadOnce && this.#mayBeByPlanes(node, first.node)
          ? this.#byPlanes(node, inputs)
          : this.#recorded(node, inputs);
      this.#keep(node, output);
    }
  }

  /** The output as a whole: where its first input is read for the last time and is large, in the place of that. */
  #recorded(node: Node, inputs: readonly Input[]): Input {
    const forward = (...given: Parameters<NonNullable<NodeRecording['forward']>>): Input =>
      this.#recordings.get(node)!.forward!(...given);
    const [first, ...others] = inputs;
    if (!first || this.training || !node.layer!.overwrites || first.maker || !this.#isLast(node))
      return forward(inputs);
    const { tensor } = first;
    const { batch, channels, size } = node.shape;
    const isAlike =
      [batch, channels, ...size].join() === [tensor.batch, tensor.channels, ...tensor.size].join();
    const maker = isAlike ? overwritten(this.recorder, tensor) : undefined;
    if (!maker || tensor.bytes < worthwhile * maker.bytes) return forward(inputs);
    return forward([{ ...first, maker }, ...others], tensor);
  }

  /** Whether a node is the last that reads what is stored behind its first input, but for those that have it made again. */
  #isLast(node: Node): boolean {
    const { nodes, image } = this.graph;
    const [first, ...others] = node.inputs;
    const stored = storedBehind(first!);
    const reads = (one: Node): boolean => one.inputs.some((input) => storedBehind(input) === stored);
    const later = nodes.slice(nodes.indexOf(node) + 1).filter(reads);
    if (stored === image || others.some((input) => storedBehind(input) === stored)) return false;
    return later.every((one) => this.#isMadeAgain(stored, one));
  }

  /**
   * A node's output for a layer. What is made of the image alone is not kept from its first reader to the next, as a
   * shortcut or skip has them: it is made again.
   */
  #toRead(node: Node, by: Node): Input {
    const output = this.#outputs.get(node)!;
    const stored = storedBehind(node);
    if (!this.#isMadeAgain(stored, by)) return output;
    return { ...output, ...this.#byPlanes(stored, [this.#outputs.get(this.graph.image)!]) };
  }

  #isMadeAgain(stored: Node, by: Node): boolean {
    const { nodes, image } = this.graph;
    if (stored.inputs.some((input) => input !== image) || !this.#mayBeByPlanes(stored, by)) return false;
    const readers = readersOf(stored);
    return nodes.find((one) => readers.includes(one)) !== by;
  }

  /** Whether an output may be made a slab of planes at a time for this reader: without a backward pass, if it is cheap. */
  #mayBeByPlanes(node: Node, by: Node): boolean {
    const price = node.layer?.flopsPerByte?.(shapesOf(node.inputs)) ?? Infinity;
    const canBe = by.layer!.readsPlanes === true && this.#recordings.get(node)?.planes !== undefined;
    return !this.training && canBe && price <= cheap;
  }

  #byPlanes(node: Node, inputs: readonly Input[]): Input {
    const none = this.recorder.slab(node.name, node.shape, [0, 0]);
    const assign = this.#recordings.get(node)!.planes!(inputs, none);
    return { tensor: none, maker: planeMaker(this.recorder, none, assign) };
  }

  /** An output as it is now: it is an error to read it once something else has been written in its place. */
  #keep(node: Node, output: Input): Input {
    const current = { ...output, tensor: this.recorder.current(output.tensor) };
    this.#outputs.set(node, current);
    return current;
  }

  /** Between forward and backward: these outputs are computed again when somebody reads them. */
  forget(nodes: Iterable<Node>): void {
    for (const node of nodes) this.#outputs.delete(node);
  }

  read(node: Node): Input {
    return this.#read(node, true);
  }

  /** What is recorded again only to record something else is not held: it is not there for long. */
  #read(node: Node, hold: boolean): Input {
    const found = this.#outputs.get(node);
    const isView = node.layer !== undefined && !isStored(node);
    if (found && !isView) return found;
    const recording = this.#recordings.get(node)!;
    const inputs = node.inputs.map((input) => this.#read(input, isView && hold));
    const made = recording.again ? recording.again(inputs) : recording.forward!(inputs);
    return hold && !isView ? this.#keep(node, made) : made;
  }

  /** All gradients of parameters, from what the losses left; outputs are overwritten on the way. */
  backward(): void {
    const ahead = this.#wanted();
    for (const node of this.graph.nodes.toReversed()) {
      if (!ahead.delete(node)) continue;
      const gradient = this.#pulled(node, (input) => !ahead.has(input));
      if (!gradient) continue;
      this.#gradients.set(node, gradient);
      this.#recordings.get(node)!.parameterGradients?.(gradient);
    }
  }

  /** Nodes whose gradient leads to something that is trained. */
  #wanted(): Set<Node> {
    const wanted = new Set<Node>();
    for (const node of this.graph.nodes) {
      const isTrained =
        !isFrozen(node.name, this.freeze) &&
        (node.layer!.parameters?.(shapesOf(node.inputs)) ?? []).some(({ statistic }) => !statistic);
      if (isTrained || node.inputs.some((input) => wanted.has(input))) wanted.add(node);
    }
    return wanted;
  }

  /**
   * The gradient of a node's output from all of its consumers, those first that can only assign.
   * @param isDone whether an input has its gradient, needs none or is this node
   */
  #pulled(node: Node, isDone: (input: Node) => boolean): VolumeTensor | undefined {
    const { consumers, name, shape } = node;
    const [first] = consumers;
    const inPlace = first && this.#inPlace(first.node);
    if (inPlace && consumers.length === 1) return this.recorder.current(inPlace());
    const handed = this.#handed(node, isDone);
    const pulls = consumers
      .filter((consumer) => consumer !== handed?.by)
      .flatMap(({ node: consumer, slot }) => this.#pulls(consumer, slot))
      .sort((a, b) => order[a.target] - order[b.target]);
    if (pulls.length === 0) return handed?.gradient;
    const target =
      handed?.gradient ?? this.recorder.volume(`${name}.d`, shape.batch, shape.channels, shape.size);
    for (const [index, pull] of pulls.entries()) {
      const add = handed !== undefined || index > 0;
      if (pull.target === (add ? 'assign' : 'add'))
        throw new InvalidOption(
          `${pull.name} cannot ${add ? 'add to' : 'begin'} the gradient of ${name}, which ${consumers.length} layers read`,
        );
      pull.record(target, add);
    }
    return this.recorder.current(target);
  }

  /**
   * The gradient of a consumer whose inputs have the same, to become the node's own. Where others add to it, it must be
   * the node's alone: nobody may still have to read it, for another input or for this one.
   */
  #handed({ consumers }: Node, isDone: (input: Node) => boolean) {
    for (const by of consumers) {
      const gradient = this.#gradients.get(by.node);
      if (!gradient || !this.#recordings.get(by.node)!.sameGradient) continue;
      const others = consumers.filter((consumer) => consumer !== by);
      const readers = [...this.#gradients]
        .filter(([, { id }]) => id === gradient.id)
        .map(([reader]) => reader);
      const isAlone =
        readers.every((reader) => reader.inputs.every(isDone)) &&
        !others.some(({ node }) => readers.includes(node));
      if (others.length === 0 || isAlone) return { by, gradient };
    }
    return undefined;
  }

  #inPlace(consumer: Node): (() => VolumeTensor) | undefined {
    const recording = this.#recordings.get(consumer)!;
    const d = this.#gradients.get(consumer);
    return d && recording.gradientInPlace && (() => recording.gradientInPlace!(d));
  }

  /** What a consumer gives to the gradient of the input in a slot: nothing if the loss does not depend on it. */
  #pulls(consumer: Node, slot: number): Pull[] {
    const { name } = consumer;
    const recording = this.#recordings.get(consumer)!;
    if (recording.lossGradient)
      return [{ name, target: 'either', record: (target, add) => recording.lossGradient!(target, add) }];
    const d = this.#gradients.get(consumer);
    if (!d) return [];
    if (!recording.inputGradient)
      throw new InvalidOption(
        `the gradient of ${name} takes the place of its input ${consumer.inputs[slot]!.name}: no other layer may read that`,
      );
    const record = (target: VolumeTensor, add: boolean) => recording.inputGradient!(d, slot, target, add);
    return [{ name, target: recording.target ?? 'assign', record }];
  }
}
