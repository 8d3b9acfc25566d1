/** The data of trainings as they are kept: images once, however many trainings and drawings are on them. */
import type { IDBPTransaction } from 'idb';
import type { Case } from 'unet3d-gpu/worker';
import type { DataRecord, Kept, StoredCase } from './database.ts';

type Stores = ('runs' | 'data' | 'images' | 'drawings')[];
/** What has images, and these. */
export const stores: Stores = ['runs', 'data', 'images', 'drawings'];
type Reading = IDBPTransaction<Kept, Stores, 'readonly' | 'readwrite'>;
type Writing = IDBPTransaction<Kept, Stores, 'readwrite'>;

/** Images that the page has made, such as of a DICOM series: no folder of the person holds them. */
const made = new WeakSet<object>();
export const setMade = (image: File): void => void made.add(image);
export const isMade = (image: object): boolean => made.has(image);

/** Keys of images that are kept, by the list that they are in: cases with other labels share it. */
const keys = new WeakMap<object, string>();

/** The key of images, where they are kept or came from there. */
export const keyOf = (images: Case['images']): string | undefined => keys.get(images);

export async function getImages(transaction: Reading, id: string): Promise<Case['images'] | undefined> {
  const kept = await transaction.objectStore('images').get(id);
  if (!kept) return undefined;
  keys.set(kept.images, id);
  for (const [at, image] of kept.images.entries()) if (kept.made?.[at]) made.add(image as File);
  return kept.images;
}

/**
 * Keeps images, unless they are kept already.
 * @param known the key of images that hold the same
 * @returns their key
 */
export async function putImages(
  transaction: Writing,
  images: Case['images'],
  known?: string,
): Promise<string> {
  const kept = transaction.objectStore('images');
  const id = keys.get(images) ?? known ?? crypto.randomUUID();
  const own = images.map((image) => made.has(image as File));
  if ((await kept.getKey(id)) === undefined)
    await kept.put({ id, images, ...(own.includes(true) && { made: own }) });
  keys.set(images, id);
  return id;
}

/** Data with their images. Cases whose images are gone are left out. */
export async function getData(transaction: Reading, id: string): Promise<DataRecord | undefined> {
  const found = await transaction.objectStore('data').get(id);
  if (!found) return undefined;
  const cases = await Promise.all(
    found.cases.map(async ({ imagesId, ...item }) => {
      if (imagesId === undefined) return item;
      return { ...item, images: await getImages(transaction, imagesId) };
    }),
  );
  return { ...found, cases: cases.filter((item): item is DataRecord['cases'][number] => !!item.images) };
}

/** Keeps data, or those of their cases that are not kept yet. */
export async function putData(transaction: Writing, data: DataRecord): Promise<void> {
  const records = transaction.objectStore('data');
  const known = (await records.get(data.id))?.cases ?? [];
  const more: StoredCase[] = [];
  for (const { images, ...item } of data.cases) {
    if (known.some(({ id }) => id === item.id)) continue;
    more.push({ ...item, imagesId: await putImages(transaction, images) });
  }
  if (more.length > 0) await records.put({ ...data, cases: [...known, ...more] });
}

/** Removes data that no training has, and images that neither data nor drawings have. */
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
  for (const { scan } of await transaction.objectStore('drawings').getAll()) used.add(scan?.imagesId);
  for (const id of await images.getAllKeys()) if (!used.has(id)) await images.delete(id);
}
