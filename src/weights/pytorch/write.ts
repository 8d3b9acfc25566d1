/**
 * Files as torch.save writes them (.pth): a zip archive of a pickle and of the tensors' numbers, as they are, each
 * beginning at a multiple of 64 bytes.
 */
import { InvalidModel } from '../../errors.ts';
import { descriptionName } from './archive.ts';
import { storedArchive } from './write-archive.ts';
import { Call, Name, Persistent, pickle, Tuple, type Pickled } from './write-pickle.ts';

/** Numbers with a shape, slowest axis first: float32, or int64 as of PyTorch's counters. */
export interface SavedTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

/** How a pickle refers to tensors: those of one and the same array share its storage. */
export class Storages {
  readonly #keys = new Map<SavedTensor['data'], string>();

  /** The tensor within the pickle. */
  tensor({ shape, data }: SavedTensor): Pickled {
    const known = this.#keys.get(data);
    const key = known ?? String(this.#keys.size);
    if (known === undefined) this.#keys.set(data, key);
    const type = data instanceof Float32Array ? 'torch.FloatStorage' : 'torch.LongStorage';
    const storage = new Persistent(new Tuple(['storage', new Name(type), key, 'cpu', data.length]));
    const strides = shape.map((_, axis) =>
      shape.slice(axis + 1).reduce((product, size) => product * size, 1),
    );
    return new Call('torch._utils._rebuild_tensor_v2', [
      storage,
      0,
      new Tuple(shape),
      new Tuple(strides),
      false,
      orderedDict(new Map()),
    ]);
  }

  /** As a state dict. */
  stateDict(tensors: ReadonlyMap<string, SavedTensor>): Pickled {
    return orderedDict(new Map([...tensors].map(([name, tensor]) => [name, this.tensor(tensor)])));
  }

  /** By their keys. */
  get entries(): readonly (readonly [key: string, data: SavedTensor['data']])[] {
    return [...this.#keys].map(([data, key]) => [key, data]);
  }
}

const orderedDict = (entries: ReadonlyMap<string, Pickled>): Call =>
  new Call('collections.OrderedDict', [], entries);

/**
 * The file's bytes.
 * @param saved what torch.load gives back; its tensors are of `storages`
 * @param description JSON that lies in the archive for this package, of which PyTorch takes no notice
 * @throws InvalidModel from 4 GiB on
 */
export function writePytorch(
  saved: Pickled,
  storages: Storages,
  description?: string,
): Uint8Array<ArrayBuffer> {
  const text = (letters: string): Uint8Array => new TextEncoder().encode(letters);
  const tooLarge = (bytes: number): InvalidModel =>
    new InvalidModel(
      `the weights take ${(bytes / 2 ** 30).toFixed(1)} GiB; a file of PyTorch is written up to 4 GiB: write safetensors in its place`,
    );
  return storedArchive(
    [
      ['archive/data.pkl', pickle(saved)],
      ['archive/byteorder', text('little')],
      ...storages.entries.map(
        ([key, data]) =>
          [`archive/data/${key}`, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)] as const,
      ),
      ['archive/version', text('3\n')],
      ...(description === undefined ? [] : [[`archive/${descriptionName}`, text(description)] as const]),
    ],
    tooLarge,
  );
}
