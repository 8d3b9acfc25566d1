/** Drawings packed as they are kept. */
import { InvalidVolume, type Size3 } from 'unet3d-gpu/worker';
import { restsUntil } from '../pieces.ts';

/** Voxels that are packed at once, and bytes of packed ones, of which each may stand for a thousand voxels. */
const piece = 2 ** 18;
const packedPiece = 2 ** 12;

/** Voxels, which stay as they are meanwhile, packed in pieces, between which the page stays free. */
export async function packed(voxels: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const { readable, writable } = new CompressionStream('gzip');
  const result = new Response(readable).arrayBuffer();
  const writer = writable.getWriter();
  const rest = restsUntil();
  for (let from = 0; from < voxels.length; from += piece) {
    await writer.write(voxels.subarray(from, from + piece));
    await rest();
  }
  await writer.close();
  return new Uint8Array(await result);
}

/** Bytes that one byte of gzip can stand for, and more. */
const mostPacked = 1100;

const damaged = (shape: Size3): InvalidVolume =>
  new InvalidVolume(
    `a kept drawing does not have the ${shape.join(' × ')} voxels of its image: it is damaged`,
  );

/** A drawing as it is kept. */
export interface Packed {
  readonly voxels: Uint8Array<ArrayBuffer>;
  /** x, y, z of the file. */
  readonly shape: Size3;
}

/** The voxels of a drawing, unpacked in pieces. @throws InvalidVolume where there are more or fewer than its shape has */
export async function unpacked({ voxels, shape }: Packed): Promise<Uint8Array<ArrayBuffer>> {
  const count = shape[0] * shape[1] * shape[2];
  if (count > mostPacked * voxels.length) throw damaged(shape);
  const result = new Uint8Array(count);
  let at = 0;
  const { readable, writable } = new DecompressionStream('gzip');
  const reader = readable.getReader();
  const writer = writable.getWriter();
  const rest = restsUntil();
  const give = async (): Promise<void> => {
    for (let from = 0; from < voxels.length; from += packedPiece) {
      await writer.write(voxels.subarray(from, from + packedPiece));
      await rest();
    }
    await writer.close();
  };
  void give().catch(() => undefined); // who reads is told
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    const bytes = next.value as Uint8Array;
    if (at + bytes.length <= count) result.set(bytes, at);
    at += bytes.length;
    if (at > count) await reader.cancel();
  }
  if (at !== count) throw damaged(shape);
  return result;
}
