/** Drawings that the browser keeps. They belong to a case by what its images hold, whatever these are called. */
import { InvalidVolume, type Size3 } from 'unet3d-gpu/worker';
import { withDatabase, type DrawingRecord } from '../kept/database.ts';
import type { Images } from '../state.ts';

export type { DrawingRecord } from '../kept/database.ts';

export const keptDrawing = (id: string): Promise<DrawingRecord | undefined> =>
  withDatabase((database) => database.get('drawings', id));

export const keptDrawings = (): Promise<DrawingRecord[]> =>
  withDatabase((database) => database.getAll('drawings')).catch(() => []);

export const keepDrawing = (record: DrawingRecord): Promise<unknown> =>
  withDatabase((database) => database.put('drawings', record));

export const forgetDrawing = (id: string): Promise<void> =>
  withDatabase((database) => database.delete('drawings', id));

/** Bytes that are read of a file at once. */
const part = 16 * 2 ** 20;

const identities = new WeakMap<File, Promise<string>>();

const hex = (bytes: ArrayBuffer): string =>
  [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');

const digest = (data: BufferSource): Promise<ArrayBuffer> => crypto.subtle.digest('SHA-256', data);

/** Of a file: hash of the hashes of its parts. */
function identityOfFile(file: File): Promise<string> {
  const known = identities.get(file);
  if (known) return known;
  const found = (async () => {
    const hashes: Uint8Array<ArrayBuffer>[] = [];
    for (let from = 0; from < file.size; from += part)
      hashes.push(new Uint8Array(await digest(await file.slice(from, from + part).arrayBuffer())));
    return hex(await digest(await new Blob(hashes).arrayBuffer()));
  })();
  identities.set(file, found);
  found.catch(() => identities.delete(file));
  return found;
}

export const filesOf = (images: Images): File[] =>
  images.flatMap((image) => ('header' in image ? [image.header, image.image] : [image]));

/** Images with drawings have as many bytes as these tell: others need not be read to know that they have none. */
export const bytesOf = (images: Images): number => filesOf(images).reduce((sum, { size }) => sum + size, 0);

/** What tells a case from all others: a hash of its images. */
export async function identityOf(images: Images): Promise<string> {
  const all = await Promise.all(filesOf(images).map(identityOfFile));
  return all.length === 1 ? all[0]! : hex(await digest(new TextEncoder().encode(all.join())));
}

const through = (bytes: Uint8Array<ArrayBuffer>, how: CompressionStream | DecompressionStream) =>
  new Blob([bytes]).stream().pipeThrough(how);

export const packed = async (voxels: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> =>
  new Uint8Array(await new Response(through(voxels, new CompressionStream('gzip'))).arrayBuffer());

/** Bytes that one byte of gzip can stand for, and more. */
const mostPacked = 1100;

const damaged = (shape: Size3): InvalidVolume =>
  new InvalidVolume(
    `a kept drawing does not have the ${shape.join(' × ')} voxels of its image: it is damaged`,
  );

/** The voxels of a drawing. @throws InvalidVolume where there are more or fewer than its shape has */
export async function unpacked({ voxels, shape }: Pick<DrawingRecord, 'voxels' | 'shape'>) {
  const count = shape[0] * shape[1] * shape[2];
  if (count > mostPacked * voxels.length) throw damaged(shape);
  const result = new Uint8Array(count);
  let at = 0;
  const reader = through(voxels, new DecompressionStream('gzip')).getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    const bytes = next.value as Uint8Array;
    if (at + bytes.length <= count) result.set(bytes, at);
    at += bytes.length;
    if (at > count) await reader.cancel();
  }
  if (at !== count) throw damaged(shape);
  return result;
}
