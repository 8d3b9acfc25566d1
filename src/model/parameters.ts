/**
 * The network's parameters: names and shapes as PyTorch has them, where each lies in the one flat
 * buffer that the optimiser runs over, and their seeded initial values.
 */
import { random } from '../data/random.ts';
import type { Tensor, View } from '../gpu/plan.ts';
import { alignedWords } from '../ops/common.ts';
import { leastSize } from './sizes.ts';
import type { UNet3DConfig } from './config.ts';
import { shapesOf, type Pair, type ParameterSpec } from './graph.ts';
import { network } from './network.ts';

export interface Parameter extends Pick<ParameterSpec, 'shape' | 'init'> {
  /** Such as `encoder.0.conv1.weight`. */
  readonly name: string;
  /** First word in the flat buffer; a multiple of 64. */
  readonly offset: number;
  readonly length: number;
}

export interface ParameterLayout {
  readonly parameters: ReadonlyMap<string, Parameter>;
  /** Running statistics of batch norm: not trained, but saved. */
  readonly statistics: ReadonlyMap<string, Parameter>;
  /** Words of the flat buffers, padding included. */
  readonly parameterWords: number;
  readonly statisticsWords: number;
  /** Words that the optimiser runs over: behind them are heads that no loss is computed from. */
  readonly trainedWords: number;
  /** Numbers of all parameters, padding left out. */
  readonly count: number;
}

class FlatBuffer {
  readonly entries = new Map<string, Parameter>();
  words = 0;

  add(name: string, { shape, init }: ParameterSpec): void {
    const length = shape.reduce((product, size) => product * size, 1);
    this.entries.set(name, { name, shape, offset: this.words, length, init });
    this.words += alignedWords(length);
  }
}

/** The parameters of a network's layers, in the layers' order. */
export function layoutParameters(config: UNet3DConfig): ParameterLayout {
  // Parameters are the same at every size.
  const { graph, heads } = network(config, { batch: 1, size: leastSize(config) });
  const parameters = new FlatBuffer();
  const statistics = new FlatBuffer();
  let trainedWords = 0;
  for (const node of graph.nodes) {
    for (const spec of node.layer!.parameters?.(shapesOf(node.inputs)) ?? [])
      (spec.statistic ? statistics : parameters).add(`${node.name}.${spec.name}`, spec);
    if (node === heads.at(-1)) trainedWords = parameters.words;
  }
  let count = 0;
  for (const { length } of parameters.entries.values()) count += length;
  return {
    parameters: parameters.entries,
    statistics: statistics.entries,
    parameterWords: parameters.words,
    statisticsWords: Math.max(statistics.words, 64),
    trainedWords,
    count,
  };
}

/**
 * How the weights of a new network are drawn. `pytorch`: as PyTorch's layers do by themselves, weights and biases of
 * convolutions uniform within 1/√fan-in. `he`: as nnU-Net does, weights normal by He et al. 2015 for leaky ReLU of slope
 * 0.01, biases 0, and the last norm of each residual block 0, so that blocks begin as their skip.
 */
export type InitialWeights = 'pytorch' | 'he';

/** Standard deviation times √fan-in: PyTorch's `kaiming_normal_(weight, a=1e-2)`. */
const heGain = Math.sqrt(2 / (1 + 0.01 ** 2));

/** The second of the two norms of a residual block, with which those of a U-Net end. */
const lastOfBlock = /\.block\d+\.norm2\./;

/**
 * Initial contents of a flat buffer; one random stream per parameter.
 * @param endsInNorm whether residual blocks end in a norm; in SegResNet convolutions follow it, which would learn nothing
 */
export function initialValues(
  entries: ReadonlyMap<string, Parameter>,
  words: number,
  seed: number,
  kind: InitialWeights = 'pytorch',
  endsInNorm = true,
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(words);
  for (const { name, offset, length, init } of entries.values()) {
    const isHe = kind === 'he';
    if ('constant' in init) {
      values.fill(isHe && endsInNorm && lastOfBlock.test(name) ? 0 : init.constant, offset, offset + length);
      continue;
    }
    const source = random(seed, 'parameter', name);
    if (isHe) {
      if (name.endsWith('.bias')) continue; // 0
      const deviation = heGain / Math.sqrt(init.fanIn);
      for (let i = 0; i < length; i++) values[offset + i] = source.normal(0, deviation);
      continue;
    }
    const bound = 1 / Math.sqrt(init.fanIn);
    for (let i = 0; i < length; i++) values[offset + i] = source.uniform(-bound, bound);
  }
  return values;
}

/** A parameter's part of the flat tensor. */
export function viewOf(tensor: Tensor, { offset, length }: Parameter): View {
  return { tensor, offset: offset * 4, size: length * 4 };
}

/** Two neighbouring parameters, such as a norm's weight and bias, as one view; the second starts `secondOffset` words in. */
export function viewOfPair(tensor: Tensor, first: Parameter, second: Parameter): Pair {
  const secondOffset = second.offset - first.offset;
  return {
    view: { tensor, offset: first.offset * 4, size: (secondOffset + second.length) * 4 },
    secondOffset,
  };
}
