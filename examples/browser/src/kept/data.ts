/** The data of trainings as they are kept: images once, however many trainings have labels for them. */
import type { IDBPTransaction } from 'idb';
import type { DataRecord, Kept, StoredCase } from './database.ts';

type Stores = ('runs' | 'data' | 'images')[];
type Reading = IDBPTransaction<Kept, Stores, 'readonly' | 'readwrite'>;
type Writing = IDBPTransaction<Kept, Stores, 'readwrite'>;

/** Keys of images that are kept, by the list that they are in: cases with other labels share it. */
const keys = new WeakMap<object, string>();

/** Data with their images. Cases whose images are gone are left out. */
export async function getData(transaction: Reading, id: string): Promise<DataRecord | undefined> {
  const found = await transaction.objectStore('data').get(id);
  if (!found) return undefined;
  const cases = await Promise.all(
    found.cases.map(async ({ imagesId, ...item }) => {
      if (imagesId === undefined) return item;
      const images = (await transaction.objectStore('images').get(imagesId))?.images;
      if (images) keys.set(images, imagesId);
      return { ...item, images };
    }),
  );
  return { ...found, cases: cases.filter((item): item is DataRecord['cases'][number] => !!item.images) };
}

/** Keeps data, or those of their cases that are not kept yet. */
export async function putData(transaction: Writing, data: DataRecord): Promise<void> {
  const [records, kept] = [transaction.objectStore('data'), transaction.objectStore('images')];
  const known = (await records.get(data.id))?.cases ?? [];
  const more: StoredCase[] = [];
  for (const { images, ...item } of data.cases) {
    if (known.some(({ id }) => id === item.id)) continue;
    const imagesId = keys.get(images) ?? crypto.randomUUID();
    if ((await kept.getKey(imagesId)) === undefined) await kept.put({ id: imagesId, images });
    keys.set(images, imagesId);
    more.push({ ...item, imagesId });
  }
  if (more.length > 0) await records.put({ ...data, cases: [...known, ...more] });
}

/** Removes data that no training has, and images that no data have. */
export async function removeUnused(transaction: Writing): Promise<void> {
  const [runs, records, images] = [
    transaction.objectStore('runs'),
    transaction.objectStore('data'),
    transaction.objectStore('images'),
  ];
  const wanted = new Set((await runs.getAll()).map(({ data }) => data));
  const used = new Set<string | undefined>();
  for (const { id, cases } of await records.getAll())
    if (!wanted.has(id)) await records.delete(id);
    else for (const { imagesId } of cases) used.add(imagesId);
  for (const id of await images.getAllKeys()) if (!used.has(id)) await images.delete(id);
}
