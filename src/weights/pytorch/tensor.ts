/** Tensors of PyTorch's files: views of storages, which are read when a tensor's numbers are asked for. */
import { numberTypes, type NumberType } from '../number-types.ts';

/** A type of number, by PyTorch's name. */
export interface DataType extends NumberType {
  /** Such as `float32`. */
  readonly name: string;
}

const dataType = (name: string, key: string): DataType => ({ name, ...numberTypes.get(key)! });

/** By the classes of their storages. */
export const storageTypes: ReadonlyMap<string, DataType> = new Map([
  ['torch.DoubleStorage', dataType('float64', 'F64')],
  ['torch.FloatStorage', dataType('float32', 'F32')],
  ['torch.HalfStorage', dataType('float16', 'F16')],
  ['torch.BFloat16Storage', dataType('bfloat16', 'BF16')],
  ['torch.LongStorage', dataType('int64', 'I64')],
  ['torch.IntStorage', dataType('int32', 'I32')],
  ['torch.ShortStorage', dataType('int16', 'I16')],
  ['torch.CharStorage', dataType('int8', 'I8')],
  ['torch.ByteStorage', dataType('uint8', 'U8')],
  ['torch.BoolStorage', dataType('bool', 'BOOL')],
]);

/** Where the numbers of a storage come from. */
export interface StorageSource {
  /** Their byte order. */
  readonly littleEndian: boolean;
  /** Numbers that a tensor may have at most: one that repeats its storage's could be of any size. */
  readonly largestTensor: number;
  /** The bytes of the numbers from `from` up to `to`. */
  readonly read: (from: number, to: number) => Promise<Uint8Array>;
  /** Grows with where they lie in the file; absent where that is not known. */
  readonly place?: number | undefined;
}

/** Numbers in a row, somewhere in a file. */
export class Storage {
  constructor(
    /** Of the numbers. */
    readonly type: DataType,
    /** How many numbers. */
    readonly length: number,
    /** Where they come from. */
    readonly source: StorageSource,
  ) {}
}

/** How a tensor lies in its storage; everything counts numbers, not bytes. */
export interface View {
  readonly offset: number;
  /** Slowest axis first. */
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** More axes than any tensor of a network has. */
const mostAxes = 32;

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Of tuples, which stay as they were checked. */
export const isCounts = (value: unknown): value is readonly number[] =>
  Array.isArray(value) && Object.isFrozen(value) && value.length <= mostAxes && value.every(isCount);

/**
 * A tensor of a file of PyTorch's, whose numbers are read when they are asked for.
 * @example
 * ```js
 * for (const value of (await readPytorch('weights.pth')).values())
 *   if (value instanceof PytorchTensor) console.log(value.length, value.view.shape);
 * ```
 */
export class PytorchTensor {
  /** How many numbers it has. */
  readonly length: number;
  /** Its numbers lie between these two in its storage. */
  readonly #from: number;
  readonly #to: number;

  private constructor(
    /** The numbers that it is a view of. */
    readonly storage: Storage,
    /** Where it lies in them. */
    readonly view: View,
  ) {
    const { offset, shape, strides } = view;
    this.length = shape.reduce((product, size) => product * size, 1);
    const reach = shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, 0);
    this.#from = offset;
    this.#to = this.length === 0 ? offset : offset + reach + 1;
  }

  /**
   * A view of a storage; offset and strides count numbers.
   * @returns a text that says what is wrong, if something is
   */
  static of(storage: Storage, offset: unknown, shape: unknown, strides: unknown): PytorchTensor | string {
    if (!isCount(offset) || !isCounts(shape) || !isCounts(strides) || shape.length !== strides.length)
      return 'a tensor whose offset, shape or strides are no whole numbers from 0 on';
    const tensor = new PytorchTensor(storage, { offset, shape, strides });
    const where = `a tensor of shape [${shape.join(', ')}], strides [${strides.join(', ')}] and offset ${offset}`;
    if (!(tensor.#to <= storage.length))
      return `${where} that reaches beyond its storage of ${storage.length} numbers`;
    if (!(tensor.length <= storage.source.largestTensor)) return `${where}, larger than the file`;
    return tensor;
  }

  /** Of its numbers. */
  get type(): DataType {
    return this.storage.type;
  }

  /** Slowest axis first. */
  get shape(): readonly number[] {
    return this.view.shape;
  }

  /** Of its storage in the file. */
  get place(): number | undefined {
    return this.storage.source.place;
  }

  /**
   * Its numbers in C order, as float32; only the part of the file where they lie is read.
   * @throws InvalidModel if the file cannot be read there
   */
  async read(): Promise<Float32Array<ArrayBuffer>> {
    const { type, source } = this.storage;
    const bytes = await source.read(this.#from, this.#to);
    const values = new Float32Array(this.length);
    if (type.name === 'float32' && source.littleEndian && this.#isContiguous()) {
      new Uint8Array(values.buffer).set(bytes);
      return values;
    }
    const numbers = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let next = 0;
    for (const at of positions(this.view, this.length))
      values[next++] = type.get(numbers, at * type.bytes, source.littleEndian);
    return values;
  }

  #isContiguous(): boolean {
    let step = 1;
    for (let axis = this.shape.length - 1; axis >= 0; axis--) {
      const size = this.shape[axis]!;
      if (size !== 1 && this.view.strides[axis] !== step) return false;
      step *= size;
    }
    return true;
  }
}

/** Where the numbers of a view lie behind its first, in C order. */
function* positions({ shape, strides }: View, length: number): Generator<number> {
  const index = shape.map(() => 0);
  let at = 0;
  for (let count = 0; count < length; count++) {
    yield at;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      at -= index[axis]! * strides[axis]!;
      index[axis] = 0;
    }
  }
}
