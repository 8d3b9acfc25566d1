/** How a pickle of PyTorch refers to storages. */
import type { Failures } from './failures.ts';
import { Global, shortened, type Machine } from './pickle.ts';
import { storageTypes, type DataType, type Storage } from './tensor.ts';

export interface StorageReference {
  readonly type: DataType;
  readonly key: string;
  /** How many numbers. */
  readonly length: number;
}

/**
 * What persistent ids stand for: ('storage', class, key, device, length), in old files with a view behind it. Each
 * storage is looked for once.
 */
export function storageOf(
  failures: Failures,
  find: (reference: StorageReference) => Storage,
): (id: unknown, machine: Machine) => Storage {
  const known = new Map<string, Storage>();
  return (id) => {
    const [kind, cls, key, , length, view = null] = Array.isArray(id) ? (id as unknown[]) : [];
    const type = cls instanceof Global ? storageTypes.get(cls.name) : undefined;
    if (
      kind !== 'storage' ||
      typeof key !== 'string' ||
      !Number.isSafeInteger(length) ||
      (length as number) < 0
    )
      throw failures.damaged('it refers to a storage in a way that is not known');
    if (!type)
      throw failures.refused(`a storage of ${cls instanceof Global ? cls.name : 'an unknown class'}`);
    if (view !== null) throw failures.damaged(`its storage ${shortened(key)} is a view of another`);
    const reference = { type, key, length: length as number };
    const storage = known.get(key) ?? find(reference);
    if (storage.type !== type || storage.length !== length)
      throw failures.damaged(`its storage ${JSON.stringify(shortened(key))} has two types or lengths`);
    known.set(key, storage);
    return storage;
  };
}
