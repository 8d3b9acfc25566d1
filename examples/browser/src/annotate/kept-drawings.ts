/** Drawings that the browser keeps. They belong to a case by what its images hold, whatever these are called. */
import { QuotaExceeded, type Case } from 'unet3d-gpu/worker';
import { hex, sha256 } from '../hash.ts';
import { getImages, putImages, removeUnused, stores } from '../kept/data.ts';
import { withDatabase, type DrawingRecord } from '../kept/database.ts';
import { hold } from '../kept/locks.ts';
import type { Images } from '../state.ts';

export type { DrawingRecord } from '../kept/database.ts';

export const keptDrawing = (id: string): Promise<DrawingRecord | undefined> =>
  withDatabase((database) => database.get('drawings', id));

export const keptDrawings = (): Promise<DrawingRecord[]> =>
  withDatabase((database) => database.getAll('drawings')).catch(() => []);

/**
 * Takes a drawing for this tab, to change it; returns how to let it go.
 * @param id of the drawing
 * @throws Error where another tab draws on it
 */
export const holdDrawing = (id: string, name = 'it'): Promise<() => void> =>
  hold(`drawing ${id}`, `${name} is being drawn on in another tab of this page: close it there`);

/**
 * Keeps a drawing, with the images that it is on where the disk takes them.
 * @param item undefined where the images are not at hand
 */
export async function keepDrawing(drawing: DrawingRecord, item: Case | undefined): Promise<void> {
  const alone = () => withDatabase((database) => database.put('drawings', drawing));
  if (!item) return void (await alone());
  const { id, subject, images } = item;
  await withDatabase(async (database) => {
    const transaction = database.transaction(stores, 'readwrite');
    const keep = async (): Promise<unknown> => {
      const drawings = transaction.objectStore('drawings');
      const before = (await drawings.get(drawing.id))?.scan?.imagesId;
      const scan = { id, subject, imagesId: await putImages(transaction, images, before) };
      return drawings.put({ ...drawing, scan });
    };
    await Promise.all([keep(), transaction.done]);
  }).catch(async (error: unknown) => {
    if (!(error instanceof QuotaExceeded)) throw error;
    await alone();
  });
}

/** Keeps what classes are called in a drawing by now, unless another tab has changed it since. */
export const keepNames = ({ id, changed, names }: DrawingRecord): Promise<void> =>
  withDatabase(async (database) => {
    const transaction = database.transaction('drawings', 'readwrite');
    const kept = await transaction.store.get(id);
    if (kept?.changed.getTime() === changed.getTime()) await transaction.store.put({ ...kept, names });
    await transaction.done;
  });

/** Forgets a drawing, and its images if nothing else has them. */
export const forgetDrawing = (id: string): Promise<void> =>
  withDatabase(async (database) => {
    const transaction = database.transaction(stores, 'readwrite');
    await transaction.objectStore('drawings').delete(id);
    await removeUnused(transaction);
    await transaction.done;
  });

/** The cases that are drawn on, by the ids of their drawings, as far as their images are kept. No two have one name. */
export const drawnCases = (): Promise<ReadonlyMap<string, Case>> =>
  withDatabase(async (database) => {
    const transaction = database.transaction(stores);
    const found = new Map<string, Case>();
    const names = new Set<string>();
    for (const { id: drawing, scan } of await transaction.objectStore('drawings').getAll()) {
      const images = scan && (await getImages(transaction, scan.imagesId));
      if (!images) continue;
      let name = scan.id;
      for (let count = 2; names.has(name); count++) name = `${scan.id} (${count})`;
      names.add(name);
      found.set(drawing, { id: name, subject: name === scan.id ? scan.subject : name, images });
    }
    return found;
  });

/** Bytes that are read of a file at once. */
const part = 16 * 2 ** 20;

const identities = new WeakMap<File, Promise<string>>();

/** Of a file: hash of the hashes of its parts. */
function identityOfFile(file: File): Promise<string> {
  const known = identities.get(file);
  if (known) return known;
  const found = (async () => {
    const hashes: Uint8Array<ArrayBuffer>[] = [];
    for (let from = 0; from < file.size; from += part)
      hashes.push(await sha256(await file.slice(from, from + part).arrayBuffer()));
    return hex(await sha256(await new Blob(hashes).arrayBuffer()));
  })();
  identities.set(file, found);
  found.catch(() => identities.delete(file));
  return found;
}

export const filesOf = (images: Images): File[] =>
  images.flatMap((image) => ('header' in image ? [image.header, image.image] : [image]));

/** Images of one volume, by which those are found that they were made of. */
const origins = new WeakMap<Images, Images>();

/** What is drawn on images is drawn also on those that were made of them. */
export const setOrigin = (images: Images, origin: Images): void => void origins.set(images, origin);

/** The images that a drawing on these belongs to. */
export const originOf = (images: Images): Images => origins.get(images) ?? images;

/** Images with drawings have as many bytes as these tell: others need not be read to know that they have none. */
export const bytesOf = (images: Images): number => filesOf(images).reduce((sum, { size }) => sum + size, 0);

/** What tells a case from all others: a hash of its images. */
export async function identityOf(images: Images): Promise<string> {
  const all = await Promise.all(filesOf(images).map(identityOfFile));
  return all.length === 1 ? all[0]! : hex(await sha256(new TextEncoder().encode(all.join())));
}
