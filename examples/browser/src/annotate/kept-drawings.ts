/** Drawings that the browser keeps. They belong to a case by what its images hold, whatever these are called. */
import { QuotaExceeded, type Case } from 'unet3d-gpu/worker';
import { messageOf } from '../dom.ts';
import { hex, sha256 } from '../hash.ts';
import { getImages, putImages, removeUnused, stores } from '../kept/data.ts';
import { keepsAnything, withDatabase, type DrawingRecord } from '../kept/database.ts';
import { hold } from '../kept/locks.ts';
import { keepForGood } from '../kept/persistence.ts';
import type { Images } from '../state.ts';

export type { DrawingRecord } from '../kept/database.ts';

/** @throws Error where it cannot be read, which is no sign that there is none */
export const keptDrawing = (id: string): Promise<DrawingRecord | undefined> =>
  withDatabase((database) => database.get('drawings', id)).catch((error: unknown) => {
    if (!keepsAnything()) return undefined;
    throw new Error(
      `what this browser keeps of its drawing cannot be read (${messageOf(error)}): reload the page to try again`,
    );
  });

interface KeptDrawings {
  readonly drawings: readonly DrawingRecord[];
  /** How many others there are, which cannot be read. */
  readonly unread: number;
}

/** All drawings; none in a browser that keeps nothing. */
export const keptDrawings = (): Promise<KeptDrawings> =>
  withDatabase(async (database) => {
    const drawings: DrawingRecord[] = [];
    const ids = await database.getAllKeys('drawings');
    // One by one: all at once, none is read where one cannot be.
    for (const id of ids) {
      const found = await Promise.resolve(database.get('drawings', id)).catch(() => undefined);
      if (found) drawings.push(found);
    }
    return { drawings, unread: ids.length - drawings.length };
  }).catch((error: unknown) => {
    if (keepsAnything()) throw error;
    return { drawings: [], unread: 0 };
  });

/**
 * Takes a drawing for this tab, to change it; returns how to let it go.
 * @param id of the drawing
 * @throws Error where another tab draws on it
 */
export const holdDrawing = (id: string, name = 'it'): Promise<() => void> =>
  hold(`drawing ${id}`, `${name} is being drawn on in another tab of this page: close it there`);

/**
 * What is kept of a drawing.
 * @param known when that was changed, as this tab knows it; undefined where it knows of nothing
 * @throws Error where something else is kept, which is not to be lost
 */
async function keptAsKnown(
  drawings: { readonly get: (id: string) => Promise<DrawingRecord | undefined> },
  id: string,
  known: Date | undefined,
): Promise<DrawingRecord | undefined> {
  const kept = await drawings.get(id);
  if (kept && kept.changed.getTime() !== known?.getTime())
    throw new Error(
      `this browser keeps another drawing of it by now, of ${kept.changed.toLocaleString()}: save this one as NIfTI, and reload the page to see that`,
    );
  return kept;
}

/**
 * Keeps a drawing, with the images that it is on where they can be kept.
 * @param item undefined where the images are not at hand
 * @param known as of `keptAsKnown`
 * @throws QuotaExceeded where it does not fit the disk; Error where something else is kept
 */
export async function keepDrawing(
  drawing: DrawingRecord,
  item: Case | undefined,
  known: Date | undefined,
): Promise<void> {
  const alone = (): Promise<void> =>
    withDatabase(async (database) => {
      const transaction = database.transaction('drawings', 'readwrite');
      const keep = async (): Promise<unknown> => {
        const before = await keptAsKnown(transaction.store, drawing.id, known);
        const scan = drawing.scan ?? before?.scan;
        return transaction.store.put({ ...drawing, ...(scan && { scan }) });
      };
      await Promise.all([keep(), transaction.done]);
    }).catch((error: unknown) => {
      if (!(error instanceof QuotaExceeded)) throw error;
      const message =
        'it does not fit the room that this site has on the disk: free disk space, or delete trainings under "Models"';
      throw new QuotaExceeded(message, NaN, NaN);
    });
  if (item) {
    const { id, subject, images } = item;
    const together = withDatabase(async (database) => {
      const transaction = database.transaction(stores, 'readwrite');
      const keep = async (): Promise<unknown> => {
        const drawings = transaction.objectStore('drawings');
        const before = (await keptAsKnown(drawings, drawing.id, known))?.scan?.imagesId;
        const scan = { id, subject, imagesId: await putImages(transaction, images, before) };
        return drawings.put({ ...drawing, scan });
      };
      await Promise.all([keep(), transaction.done]);
    });
    await together.catch(alone); // the disk may be full, or the scan's file gone
  } else await alone();
  keepForGood();
}

/** Keeps what classes are called in a drawing by now, unless another tab has changed it since. */
export const keepNames = ({ id, changed, names }: DrawingRecord): Promise<void> =>
  withDatabase(async (database) => {
    const transaction = database.transaction('drawings', 'readwrite');
    const kept = await transaction.store.get(id);
    if (kept?.changed.getTime() === changed.getTime()) await transaction.store.put({ ...kept, names });
    await transaction.done;
  });

/**
 * Forgets a drawing, and its images if nothing else has them.
 * @param only as `known` of `keptAsKnown`, where another is to stay
 */
export const forgetDrawing = (id: string, only?: { readonly known: Date | undefined }): Promise<void> =>
  withDatabase(async (database) => {
    const transaction = database.transaction(stores, 'readwrite');
    if (only) await keptAsKnown(transaction.objectStore('drawings'), id, only.known);
    await transaction.objectStore('drawings').delete(id);
    await removeUnused(transaction);
    await transaction.done;
  });

/** The cases that are drawn on, by the ids of their drawings, as far as their images are kept. No two have one name. */
export async function drawnCases(): Promise<ReadonlyMap<string, Case>> {
  const { drawings } = await keptDrawings();
  const found = new Map<string, Case>();
  const names = new Set<string>();
  if (drawings.length > 0)
    await withDatabase(async (database) => {
      for (const { id: drawing, scan } of drawings) {
        const images = scan && (await getImages(database.transaction(stores), scan.imagesId));
        if (!images) continue;
        let name = scan.id;
        for (let count = 2; names.has(name); count++) name = `${scan.id} (${count})`;
        names.add(name);
        found.set(drawing, { id: name, subject: name === scan.id ? scan.subject : name, images });
      }
    });
  return found;
}

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
