/** What one operation of a network becomes, and where it stands. */
import type { NamedTensor } from '../../weights/safetensors.ts';
import type { Initializer, OnnxNode } from './format.ts';

/** How the decoder's resolution is raised. */
export type Upsampling = 'transposed' | 'shuffled';

/** Where an operation stands in the network. */
export interface Place {
  /** Of the layer, which its own tensors begin with. */
  readonly name: string;
  /** Names of what it reads. */
  readonly inputs: readonly string[];
  /** The name that its output is to have. */
  readonly output: string;
  /** Of the output. */
  readonly channels: number;
  /** Parameters and running statistics by their names within the layer, such as `weight`. */
  readonly tensors: ReadonlyMap<string, NamedTensor>;
  readonly upsampling: Upsampling;
}

/** What an operation adds to a graph. */
export interface Fragment {
  readonly nodes: readonly OnnxNode[];
  readonly initializers: ReadonlyMap<string, Initializer>;
}

/** What reads several inputs reads them one after the other. */
export function joined({ name, inputs }: Place): {
  readonly input: string;
  readonly nodes: readonly OnnxNode[];
} {
  if (inputs.length === 1) return { input: inputs[0]!, nodes: [] };
  const input = `${name}.input`;
  return { input, nodes: [{ operator: 'Concat', inputs, output: input, attributes: { axis: 1 } }] };
}
