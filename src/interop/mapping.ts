/**
 * Where the weights of a network of ours stand in the state dict of another tool's network: names and order of axes,
 * stated once and read in both directions.
 */
import { InvalidModel } from '../errors.ts';
import { listed } from '../listed.ts';
import type { UNet3DConfig } from '../model/config.ts';
import { layoutParameters } from '../model/parameters.ts';
import type { Weights } from '../model/state.ts';
import { isCounter, readFlat, type ReadableTensor } from '../weights/named-tensors.ts';
import { withoutHolder } from '../weights/prefixes.ts';
import type { NamedTensor } from '../weights/safetensors.ts';

/** What is different about a tensor in the other's file; all of it keeps every number. */
export interface Layout {
  /**
   * A convolution reads a concatenation the other way round: this many input channels are first here and last there.
   */
  readonly firstInputsLast?: number | undefined;
  /** The kernel's axes are x, y, z there, slowest first; here z, y, x. */
  readonly kernelReversed?: boolean | undefined;
}

/** A name in the other's state dict and the parameter or running statistic of ours that it stands for. */
export interface Entry {
  readonly theirs: string;
  readonly ours: string;
  readonly layout?: Layout | undefined;
}

/**
 * In the order of the other's state dict. The first name of each of our tensors is its own; the others are aliases,
 * which a file need not have and which are written all the same.
 */
export type Mapping = readonly Entry[];

interface Shaped {
  readonly shape: readonly number[];
}

/** The own names in the other's state dict, with their shapes there. */
export function theirShapes(
  mapping: Mapping,
  ours: ReadonlyMap<string, Shaped>,
): ReadonlyMap<string, readonly number[]> {
  const own = ownEntries(mapping);
  requireNames('the network', ours, own, 'the other tool’s has no such weights');
  return new Map(
    [...own.values()].map(({ theirs, ours: name, layout }) => [
      theirs,
      shapeThere(ours.get(name)!.shape, layout),
    ]),
  );
}

/**
 * Our tensors, which are read from the other's when they are asked for.
 * @param ours our names with our shapes
 * @param file its name for messages, and which file describes the network
 * @throws InvalidModel naming tensors that are missing, surplus or of another shape
 */
export function toOurs(
  mapping: Mapping,
  given: ReadonlyMap<string, ReadableTensor>,
  ours: ReadonlyMap<string, Shaped>,
  { name, describedBy }: { readonly name: string; readonly describedBy: string },
): ReadonlyMap<string, ReadableTensor> {
  const shapes = theirShapes(mapping, ours);
  const dict = underTheirNames(given, shapes);
  const missing = [...shapes.keys()].filter((key) => !dict.has(key));
  if (missing.length > 0)
    throw new InvalidModel(
      `${name} lacks ${listed(missing)}: it is not of the network that ${describedBy} describes`,
    );
  const known = new Set(mapping.map(({ theirs }) => theirs));
  const surplus = [...dict.keys()].filter((key) => !known.has(key) && !isCounter(key));
  if (surplus.length > 0)
    throw new InvalidModel(
      `${name} holds ${listed(surplus)}, for which the network that ${describedBy} describes has no place`,
    );
  for (const [key, shape] of shapes) {
    const found = dict.get(key)!.shape;
    if (found.join() !== shape.join())
      throw new InvalidModel(
        `${name} has ${key} of shape [${found.slice(0, 8).join(', ')}]; expected [${shape.join(', ')}], as ${describedBy} says`,
      );
  }
  return new Map(
    [...ownEntries(mapping).values()].map(({ theirs, ours: own, layout }) => {
      const { shape } = ours.get(own)!;
      const tensor = dict.get(theirs)!;
      const read = async () => relaid(await tensor.read(), shape, layout, 'ours');
      return [own, { shape, read, place: tensor.place }];
    }),
  );
}

/** The tensors without what programs that saved them put in front of their names, as far as most are wanted. */
function underTheirNames<T>(
  dict: ReadonlyMap<string, T>,
  wanted: ReadonlyMap<string, unknown>,
): ReadonlyMap<string, T> {
  const within = withoutHolder(dict);
  if (within === dict) return dict;
  const bare = underTheirNames(within, wanted);
  const has = (tensors: ReadonlyMap<string, T>): number =>
    [...wanted.keys()].filter((key) => tensors.has(key)).length;
  return has(bare) > has(dict) ? bare : dict;
}

/**
 * The other's state dict, aliases included: these share the very array of the tensor that they stand for.
 * @param ours all tensors of the network
 * @throws InvalidModel naming tensors that are missing or surplus
 */
export function toTheirs(mapping: Mapping, ours: ReadonlyMap<string, NamedTensor>): Map<string, NamedTensor> {
  requireNames('the network', ours, ownEntries(mapping), 'the other tool’s has no such weights');
  const made = new Map<string, NamedTensor>();
  return new Map(
    mapping.map(({ theirs, ours: name, layout }) => {
      const { shape, data } = ours.get(name)!;
      if (!made.has(name))
        made.set(name, { shape: shapeThere(shape, layout), data: relaid(data, shape, layout, 'theirs') });
      return [theirs, made.get(name)!];
    }),
  );
}

/**
 * The tensors of a network of ours, which are read now, in the flat buffers that it runs with.
 * @param file what messages call the file of several that they are of
 */
export async function weightsOf(
  config: UNet3DConfig,
  tensors: ReadonlyMap<string, ReadableTensor>,
  file?: string,
): Promise<Weights> {
  const { parameters, parameterWords, statistics, statisticsWords } = layoutParameters(config);
  return {
    parameters: await readFlat(parameters, parameterWords, tensors, file),
    statistics: await readFlat(statistics, statisticsWords, tensors, file),
  };
}

/** By our names. */
function ownEntries(mapping: Mapping): ReadonlyMap<string, Entry> {
  const own = new Map<string, Entry>();
  for (const entry of mapping) if (!own.has(entry.ours)) own.set(entry.ours, entry);
  return own;
}

function requireNames(
  what: string,
  found: ReadonlyMap<string, unknown>,
  expected: ReadonlyMap<string, unknown>,
  because: string,
): void {
  const missing = [...expected.keys()].filter((name) => !found.has(name));
  if (missing.length > 0) throw new InvalidModel(`${what} lacks ${listed(missing)}`);
  const surplus = [...found.keys()].filter((name) => !expected.has(name));
  if (surplus.length > 0) throw new InvalidModel(`${what} has ${listed(surplus)}: ${because}`);
}

function shapeThere(shape: readonly number[], layout: Layout | undefined): readonly number[] {
  if (!layout?.kernelReversed) return shape;
  const [out, into, z, y, x] = shape as [number, number, number, number, number];
  return [out, into, x, y, z];
}

/**
 * The numbers of a tensor in the other order of axes; the same array where that is no other.
 * @param shape ours
 * @param side whose order is wanted
 */
function relaid<Data extends Float32Array>(
  data: Data,
  shape: readonly number[],
  layout: Layout = {},
  side: 'ours' | 'theirs',
): Data | Float32Array<ArrayBuffer> {
  const given = side === 'ours' ? shapeThere(shape, layout) : shape;
  const turned = layout.kernelReversed ? withKernelAxes(data, given, [2, 1, 0]) : data;
  const { firstInputsLast } = layout;
  if (!firstInputsLast) return turned;
  const [out = 1, into = 1, ...kernel] = shape;
  const taps = product(kernel);
  const first = (side === 'ours' ? into - firstInputsLast : firstInputsLast) * taps;
  const result = new Float32Array(data.length);
  for (let start = 0; start < out * into * taps; start += into * taps) {
    const inputs = turned.subarray(start, start + into * taps);
    result.set(inputs.subarray(first), start);
    result.set(inputs.subarray(0, first), start + into * taps - first);
  }
  return result;
}

/**
 * The numbers of a convolution's weight with its kernel turned.
 * @param shape of what is given: two numbers of channels, then the kernel's three axes, slowest first
 * @param axes of the given kernel, in the order of the result
 */
export function withKernelAxes(
  data: Float32Array,
  shape: readonly number[],
  axes: readonly [number, number, number],
): Float32Array<ArrayBuffer> {
  const lengths = shape.slice(2);
  const [a, b, c] = axes.map((axis) => ({ length: lengths[axis]!, step: product(lengths.slice(axis + 1)) }));
  const result = new Float32Array(data.length);
  let at = 0;
  for (let start = 0; start < data.length; start += product(lengths))
    for (let i = 0; i < a!.length; i++)
      for (let j = 0; j < b!.length; j++)
        for (let k = 0; k < c!.length; k++)
          result[at++] = data[start + i * a!.step + j * b!.step + k * c!.step]!;
  return result;
}

const product = (values: readonly number[]): number => values.reduce((a, b) => a * b, 1);
