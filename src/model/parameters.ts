/**
 * The network's parameters: names and shapes as PyTorch has them, where each lies in the one flat
 * buffer that the optimiser runs over, and their seeded initial values.
 */
import { random } from '../data/random.ts';
import type { Tensor, View } from '../gpu/plan.ts';
import { alignedWords } from '../ops/common.ts';
import { headName, supervisedLevels, type UNet3DConfig } from './config.ts';

export interface Parameter {
  /** Such as `encoder.0.conv1.weight`. */
  readonly name: string;
  /** PyTorch's shape: conv (out, in, kz, ky, kx), transposed conv (in, out, kz, ky, kx). */
  readonly shape: readonly number[];
  /** First word in the flat buffer; a multiple of 64. */
  readonly offset: number;
  readonly length: number;
  /** Initial values: uniform in ±1/√fanIn, or this constant. */
  readonly init: { readonly fanIn: number } | { readonly constant: number };
}

export interface ParameterLayout {
  readonly parameters: ReadonlyMap<string, Parameter>;
  /** Running statistics of batch norm: not trained, but saved. */
  readonly statistics: ReadonlyMap<string, Parameter>;
  /** Words of the flat buffers, padding included. */
  readonly parameterWords: number;
  readonly statisticsWords: number;
  /** Trained numbers, padding left out. */
  readonly count: number;
}

class Layout {
  readonly entries = new Map<string, Parameter>();
  words = 0;

  add(name: string, shape: readonly number[], init: Parameter['init']): void {
    const length = shape.reduce((product, size) => product * size, 1);
    this.entries.set(name, { name, shape, offset: this.words, length, init });
    this.words += alignedWords(length);
  }
}

export function layoutParameters(config: UNet3DConfig): ParameterLayout {
  const { features, inChannels, classes, norm } = config;
  const trained = new Layout();
  const running = new Layout();
  const conv = (name: string, out: number, inputs: number, kernel: number) => {
    const fanIn = inputs * kernel ** 3;
    trained.add(`${name}.weight`, [out, inputs, kernel, kernel, kernel], { fanIn });
    trained.add(`${name}.bias`, [out], { fanIn });
  };
  const block = (prefix: string, inputs: number, out: number) => {
    for (const [index, from] of [inputs, out].entries()) {
      conv(`${prefix}.conv${index + 1}`, out, from, 3);
      trained.add(`${prefix}.norm${index + 1}.weight`, [out], { constant: 1 });
      trained.add(`${prefix}.norm${index + 1}.bias`, [out], { constant: 0 });
      if (norm === 'batch') {
        running.add(`${prefix}.norm${index + 1}.running_mean`, [out], { constant: 0 });
        running.add(`${prefix}.norm${index + 1}.running_var`, [out], { constant: 1 });
      }
    }
  };
  features.forEach((out, level) =>
    block(`encoder.${level}`, level === 0 ? inChannels : features[level - 1]!, out),
  );
  for (let level = features.length - 2; level >= 0; level--) {
    const [out, below] = [features[level]!, features[level + 1]!];
    // PyTorch takes a transposed convolution's fan-in from its output channels.
    trained.add(`decoder.${level}.up.weight`, [below, out, 2, 2, 2], { fanIn: out * 8 });
    trained.add(`decoder.${level}.up.bias`, [out], { fanIn: out * 8 });
    block(`decoder.${level}`, 2 * out, out);
  }
  for (const level of supervisedLevels(config)) conv(headName(level), classes, features[level]!, 1);
  let count = 0;
  for (const { length } of trained.entries.values()) count += length;
  return {
    parameters: trained.entries,
    statistics: running.entries,
    parameterWords: trained.words,
    statisticsWords: Math.max(running.words, 64),
    count,
  };
}

/** Initial contents of a flat buffer, as PyTorch's defaults distribute them; one random stream per parameter. */
export function initialValues(
  entries: ReadonlyMap<string, Parameter>,
  words: number,
  seed: number,
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(words);
  for (const { name, offset, length, init } of entries.values()) {
    if ('constant' in init) {
      values.fill(init.constant, offset, offset + length);
      continue;
    }
    const bound = 1 / Math.sqrt(init.fanIn);
    const source = random(seed, 'parameter', name);
    for (let i = 0; i < length; i++) values[offset + i] = source.uniform(-bound, bound);
  }
  return values;
}

/** A parameter's part of the flat tensor. */
export function viewOf(tensor: Tensor, { offset, length }: Parameter): View {
  return { tensor, offset: offset * 4, size: length * 4 };
}

/** Two neighbouring parameters, such as a norm's weight and bias, as one view; the second starts `secondOffset` words in. */
export function viewOfPair(
  tensor: Tensor,
  first: Parameter,
  second: Parameter,
): { view: View; secondOffset: number } {
  const secondOffset = second.offset - first.offset;
  return {
    view: { tensor, offset: first.offset * 4, size: (secondOffset + second.length) * 4 },
    secondOffset,
  };
}
