/** Between the flat buffers of a model and tensors under their names. */
import { InvalidModel } from '../errors.ts';
import type { Parameter } from '../model/parameters.ts';
import type { NamedTensor } from './safetensors.ts';

/** A tensor of a file, whose numbers are read when they are asked for. */
export interface ReadableTensor {
  /** Slowest axis first. */
  readonly shape: readonly number[];
  /** Its numbers in C order. */
  read(): Promise<Float32Array>;
  /** Grows with where they lie in the file; absent where it does not matter in which order tensors are read. */
  readonly place?: number | undefined;
}

/** A tensor of a file in memory may be decoded at once; each look at `data` does it anew. */
export type FileTensor = ReadableTensor | (ReadableTensor & NamedTensor);

/** Tensors that are decoded when they are looked at, to be read like those of other files. */
export const readable = (tensors: ReadonlyMap<string, NamedTensor>): ReadonlyMap<string, FileTensor> =>
  new Map(
    [...tensors].map(([name, tensor]) => {
      const { shape } = tensor;
      const read = (): Promise<Float32Array> => Promise.resolve(tensor.data);
      return [
        name,
        {
          shape,
          read,
          get data() {
            return tensor.data;
          },
        },
      ];
    }),
  );

/** Tensors in the order in which they are best read. */
export const inFileOrder = <T extends Pick<ReadableTensor, 'place'>>(tensors: readonly T[]): T[] =>
  tensors.toSorted((a, b) => (a.place ?? 0) - (b.place ?? 0));

/** Whether it is what PyTorch saves beside the weights of a batch norm, and nothing here needs. */
export const isCounter = (name: string): boolean => name.endsWith('.num_batches_tracked');

/** The parts of a flat buffer under their names and shapes, `prefix` in front of the names. */
export function namedTensors(
  entries: ReadonlyMap<string, Parameter>,
  flat: Float32Array,
  prefix = '',
): Map<string, NamedTensor> {
  const named = new Map<string, NamedTensor>();
  for (const { name, shape, offset, length } of entries.values()) {
    named.set(prefix + name, { shape, data: flat.slice(offset, offset + length) });
  }
  return named;
}

/**
 * The reverse of `namedTensors`.
 * @throws InvalidModel for a missing tensor, one of another shape, or one that holds NaN or infinite values
 */
export function flatFrom(
  entries: ReadonlyMap<string, Parameter>,
  words: number,
  tensors: ReadonlyMap<string, NamedTensor>,
  prefix = '',
): Float32Array<ArrayBuffer> {
  // All names and shapes first: a configuration may claim more memory than there is.
  requireShapes(entries, tensors, { prefix });
  const flat = new Float32Array(words);
  for (const { name, shape, offset } of entries.values()) {
    const { data } = tensors.get(prefix + name)!;
    requireFinite(prefix + name, { shape, data });
    flat.set(data, offset);
  }
  return flat;
}

/**
 * The same of tensors that are read one after the other.
 * @param file what messages call the file of several that they are of
 * @throws as `flatFrom`, and if the file cannot be read
 */
export async function readFlat(
  entries: ReadonlyMap<string, Parameter>,
  words: number,
  tensors: ReadonlyMap<string, ReadableTensor>,
  file?: string,
): Promise<Float32Array<ArrayBuffer>> {
  requireShapes(entries, tensors, { file });
  const flat = new Float32Array(words);
  const found = [...entries.values()].map(({ name, shape, offset }) => {
    const tensor = tensors.get(name)!;
    return { name, shape, offset, tensor, place: tensor.place };
  });
  for (const { name, shape, offset, tensor } of inFileOrder(found)) {
    const data = await tensor.read();
    requireFinite(name, { shape, data }, file);
    flat.set(data, offset);
  }
  return flat;
}

/** In front of what is said of a tensor. */
const told = (file: string | undefined): string => (file === undefined ? '' : `${file}: `);

/**
 * @param prefix of the tensors' names
 * @param file as for `readFlat`
 * @throws InvalidModel for a missing tensor, or one of another shape
 */
export function requireShapes(
  entries: ReadonlyMap<string, Parameter>,
  tensors: ReadonlyMap<string, Pick<NamedTensor, 'shape'>>,
  { prefix = '', file }: { readonly prefix?: string; readonly file?: string | undefined },
): void {
  for (const { name, shape } of entries.values()) {
    const tensor = tensors.get(prefix + name);
    if (!tensor)
      throw new InvalidModel(
        `${told(file)}the file lacks the tensor ${prefix}${name} of shape [${shape.join(',')}]: it belongs to another network`,
      );
    if (tensor.shape.join() !== shape.join()) {
      throw new InvalidModel(
        `${told(file)}tensor ${prefix}${name} has shape [${tensor.shape.join(',')}]; this network's is [${shape.join(',')}]`,
      );
    }
  }
}

/** @param file as for `readFlat` @throws InvalidModel for a tensor that holds NaN or infinite values */
export function requireFinite(name: string, { shape, data }: NamedTensor, file?: string): void {
  const broken = data.findIndex((value) => !Number.isFinite(value));
  if (broken < 0) return;
  throw new InvalidModel(
    `${told(file)}tensor ${name} holds ${data[broken]} at [${placeIn(shape, broken).join(',')}]: the weights are damaged, ` +
      'or their training had failed; take another copy, or an earlier one',
  );
}

/** The indices, slowest first, of an element of a tensor. */
function placeIn(shape: readonly number[], element: number): number[] {
  let rest = element;
  return shape
    .toReversed()
    .map((length) => {
      const index = rest % length;
      rest = (rest - index) / length;
      return index;
    })
    .reverse();
}
