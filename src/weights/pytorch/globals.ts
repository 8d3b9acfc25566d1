/** The names that files of PyTorch may use, each with what it gives. None of them is looked up or called in earnest. */
import { numberTypes } from '../number-types.ts';
import { Global, shortened, Stateful, type Machine } from './pickle.ts';
import { isCounts, PytorchTensor, Storage, storageTypes } from './tensor.ts';

type Make = NonNullable<Global['make']>;

const rebuildTensor: Make = ([storage, offset, shape, strides], machine) => {
  if (!(storage instanceof Storage)) throw machine.damaged('a tensor of its pickle has no storage');
  const tensor = PytorchTensor.of(storage, offset, shape, strides);
  if (typeof tensor === 'string') throw machine.damaged(`it holds ${tensor}`);
  return tensor;
};

/** Items that are pairs of key and value, as Python 2 wrote them. */
const orderedDict: Make = ([items = []], machine) => {
  if (!Array.isArray(items)) throw machine.damaged('an OrderedDict of its pickle has no items');
  machine.spend(64 * items.length);
  const pairs = items.map((item: unknown) => {
    if (!Array.isArray(item) || item.length !== 2)
      throw machine.damaged('an OrderedDict of its pickle has items that are no pairs');
    return item as [unknown, unknown];
  });
  return new Map(pairs);
};

const set: Make = ([items = []], machine) => {
  if (!Array.isArray(items)) throw machine.damaged('a set of its pickle has no items');
  machine.spend(64 * items.length);
  return new Set<unknown>(items);
};

const size: Make = ([lengths], machine) => {
  if (!Array.isArray(lengths)) throw machine.damaged('a torch.Size of its pickle has no lengths');
  return lengths as unknown[];
};

const device: Make = ([type, index], machine) => {
  if (typeof type !== 'string') throw machine.damaged('a torch.device of its pickle has no name');
  return typeof index === 'number' ? `${type}:${index}` : type;
};

/** Bytes, as Python 3 writes them in a protocol that has none: a text whose letters are the bytes. */
const encode: Make = ([text, encoding], machine) => {
  if (typeof text !== 'string' || encoding !== 'latin1')
    throw machine.context.refused('a call of _codecs.encode with another encoding than latin1');
  machine.spend(text.length);
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
};

/** numpy's codes. */
const numpyCodes: ReadonlyMap<string, string> = new Map([
  ['f8', 'F64'],
  ['f4', 'F32'],
  ['f2', 'F16'],
  ['i8', 'I64'],
  ['i4', 'I32'],
  ['i2', 'I16'],
  ['i1', 'I8'],
  ['u8', 'U64'],
  ['u4', 'U32'],
  ['u2', 'U16'],
  ['u1', 'U8'],
  ['b1', 'BOOL'],
]);

class NumpyType extends Stateful {
  littleEndian = true;

  constructor(
    readonly bytes: number,
    readonly get: (view: DataView, at: number, littleEndian: boolean) => number,
  ) {
    super();
  }

  /** A version, then the order of bytes. */
  override setState(state: unknown, machine: Machine): void {
    const order: unknown = Array.isArray(state) ? state[1] : undefined;
    if (order !== '<' && order !== '>' && order !== '|' && order !== '=')
      throw machine.damaged('a numpy.dtype of its pickle has no order of bytes');
    this.littleEndian = order !== '>';
  }
}

const numpyType: Make = ([code], machine) => {
  const type = numberTypes.get(numpyCodes.get(code as string) ?? '');
  if (!type) throw machine.context.refused(`numpy.dtype(${typeof code === 'string' ? shortened(code) : ''})`);
  return new NumpyType(type.bytes, type.get);
};

const numpyScalar: Make = ([type, bytes], machine) => {
  if (!(type instanceof NumpyType) || !(bytes instanceof Uint8Array) || bytes.length !== type.bytes)
    throw machine.damaged('a number of numpy in its pickle has no type or no bytes');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return type.get(view, 0, type.littleEndian);
};

/** An array of numpy beside the tensors, such as a history of losses. */
export class NumpyArray extends Stateful {
  shape: readonly number[] = [];
  bytes = new Uint8Array();

  /** A version, the shape, the type, whether the first axis is the fastest, and the bytes. */
  override setState(state: unknown, machine: Machine): void {
    const [, shape, type, , bytes] = Array.isArray(state) ? (state as unknown[]) : [];
    const length = isCounts(shape) ? shape.reduce((product, size) => product * size, 1) : NaN;
    if (
      !(type instanceof NumpyType) ||
      !(bytes instanceof Uint8Array) ||
      bytes.length !== length * type.bytes
    )
      throw machine.damaged('an array of numpy in its pickle has not the bytes of its shape');
    this.shape = shape as readonly number[];
    this.bytes = bytes as Uint8Array<ArrayBuffer>;
  }
}

/** What is mentioned, not called: types of numbers, and classes of storages. */
const mentioned = [
  ...['float16', 'bfloat16', 'float32', 'float64', 'uint8', 'int8', 'int16', 'int32', 'int64', 'bool'].map(
    (name) => `torch.${name}`,
  ),
  ...storageTypes.keys(),
  'numpy.ndarray',
];

const made: Readonly<Record<string, Make>> = {
  'collections.OrderedDict': orderedDict,
  'torch._utils._rebuild_tensor': rebuildTensor,
  'torch._utils._rebuild_tensor_v2': rebuildTensor,
  'torch._utils._rebuild_parameter': ([tensor]) => tensor,
  'torch._utils._rebuild_parameter_with_state': ([tensor]) => tensor,
  'torch.Size': size,
  'torch.device': device,
  'numpy.dtype': numpyType,
  'numpy.core.multiarray.scalar': numpyScalar,
  'numpy._core.multiarray.scalar': numpyScalar,
  'numpy.core.multiarray._reconstruct': () => new NumpyArray(),
  'numpy._core.multiarray._reconstruct': () => new NumpyArray(),
  '_codecs.encode': encode,
  'builtins.set': set,
  '__builtin__.set': set,
};

export const globals: ReadonlyMap<string, Global> = new Map(
  [
    ...mentioned.map((name) => new Global(name)),
    ...Object.entries(made).map(([name, make]) => new Global(name, make)),
  ].map((global) => [global.name, global]),
);
