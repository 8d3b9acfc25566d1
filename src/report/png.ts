/**
 * PNG files from pictures: 8-bit RGB, a row that equals the one above stored as its difference, deflated by the platform's
 * CompressionStream, which Node and browsers share (pngjs needs Node's zlib and streams).
 */
import type { Picture } from './raster.ts';

/** CRC-32 of the PNG specification (ISO 3309), polynomial 0xedb88320. */
const crcTable = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ crcTable[(crc ^ byte) & 255]!;
  return (crc ^ 0xffffffff) >>> 0;
}

/** Length, name, content and checksum. */
function chunk(name: string, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(name), 4);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, crc32(bytes.subarray(4, content.length + 8)));
  return bytes;
}

/** Each row with a filter byte in front: 2 (difference to the row above) or 0 (none). */
function filteredRows({ width, height, data }: Picture): Uint8Array<ArrayBuffer> {
  const length = width * 3;
  const out = new Uint8Array((length + 1) * height);
  let above = new Uint8Array(length);
  for (let y = 0; y < height; y++) {
    const row = new Uint8Array(length);
    for (let x = 0; x < width; x++)
      for (let channel = 0; channel < 3; channel++)
        row[x * 3 + channel] = data[(y * width + x) * 4 + channel]!;
    const difference = row.map((value, index) => value - above[index]!);
    const isSame = difference.every((value) => value === 0);
    const at = y * (length + 1);
    out[at] = isSame ? 2 : 0;
    out.set(isSame ? difference : row, at + 1);
    above = row;
  }
  return out;
}

/** The bytes of a PNG file. Alpha is left out: pictures are opaque. */
export async function encodePng(picture: Picture): Promise<Uint8Array<ArrayBuffer>> {
  const deflated = new Blob([filteredRows(picture)]).stream().pipeThrough(new CompressionStream('deflate'));
  const pixels = new Uint8Array(await new Response(deflated).arrayBuffer());
  const header = new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0]); // 8 bits, RGB, no interlace
  const view = new DataView(header.buffer);
  view.setUint32(0, picture.width);
  view.setUint32(4, picture.height);
  const signature = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const parts = [signature, chunk('IHDR', header), chunk('IDAT', pixels), chunk('IEND', new Uint8Array())];
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
