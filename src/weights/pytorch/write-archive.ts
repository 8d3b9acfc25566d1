/** Zip archives whose entries are stored as they are. */

/** At which entries' bytes begin, for whoever maps the file into memory. */
const alignment = 64;

interface Placed {
  readonly name: Uint8Array;
  readonly content: Uint8Array;
  /** Of its header in the archive. */
  readonly at: number;
  /** Bytes between its name and its content. */
  readonly extra: number;
}

const headerBytes = 30;
const directoryBytes = 46;
const endBytes = 22;

/**
 * The archive's bytes.
 * @param tooLarge makes the error of an archive of 4 GiB or more, for which the format has no room
 */
export function storedArchive(
  entries: readonly (readonly [name: string, content: Uint8Array])[],
  tooLarge: (bytes: number) => Error,
): Uint8Array<ArrayBuffer> {
  let end = 0;
  const placed = entries.map(([text, content]): Placed => {
    const name = new TextEncoder().encode(text);
    const at = end;
    const bare = at + headerBytes + name.length;
    // An extra field is four bytes at least.
    const extra = 4 + ((alignment - ((bare + 4) % alignment)) % alignment);
    end = bare + extra + content.length;
    return { name, content, at, extra };
  });
  const directory = end;
  for (const { name } of placed) end += directoryBytes + name.length;
  if (end + endBytes >= 2 ** 32) throw tooLarge(end + endBytes);

  const bytes = new Uint8Array(end + endBytes);
  const view = new DataView(bytes.buffer);
  let next = directory;
  for (const { name, content, at, extra } of placed) {
    const facts = (from: number, extraLength: number): void => {
      view.setUint16(from, 20, true); // the version that is needed to read it
      view.setUint16(from + 8, 0x0021, true); // of 1980-01-01, the first day that the format has
      view.setUint32(from + 10, sum, true);
      view.setUint32(from + 14, content.length, true);
      view.setUint32(from + 18, content.length, true);
      view.setUint16(from + 22, name.length, true);
      view.setUint16(from + 24, extraLength, true);
    };
    const sum = crc32(content);
    view.setUint32(at, 0x04034b50, true);
    facts(at + 4, extra);
    bytes.set(name, at + headerBytes);
    const padding = at + headerBytes + name.length;
    view.setUint16(padding, 0x4246, true);
    view.setUint16(padding + 2, extra - 4, true);
    bytes.fill(0x5a, padding + 4, padding + extra);
    bytes.set(content, padding + extra);
    view.setUint32(next, 0x02014b50, true);
    view.setUint16(next + 4, 20, true);
    facts(next + 6, 0);
    view.setUint32(next + 42, at, true);
    bytes.set(name, next + directoryBytes);
    next += directoryBytes + name.length;
  }
  view.setUint32(end, 0x06054b50, true);
  view.setUint16(end + 8, placed.length, true);
  view.setUint16(end + 10, placed.length, true);
  view.setUint32(end + 12, end - directory, true);
  view.setUint32(end + 16, directory, true);
  return bytes;
}

/** What each byte adds, by the polynomial of the format. */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  return sum;
});

function crc32(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = (sum >>> 8) ^ table[(sum ^ byte) & 255]!;
  return ~sum >>> 0;
}
