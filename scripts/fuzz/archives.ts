/** Zip archives with entries as they are, as torch.save writes them. */

export type Entries = readonly (readonly [name: string, content: Uint8Array])[];

/** Bytes of an archive without checksums, which PyTorch may leave out too. */
export function storedZip(
  entries: Entries,
  {
    start = 0,
    method = 0,
  }: {
    /** Where in its file the archive begins; from 4 GiB on, it is a zip64 archive. */
    start?: number;
    /** Of compression, as the entries claim. */
    method?: number;
  } = {},
): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = start;
  const add = (part: Uint8Array): void => {
    parts.push(part);
    at += part.length;
  };
  for (const [name, content] of entries) {
    const label = new TextEncoder().encode(name);
    const facts = (extra: number): number[] => [
      ...[20, 0, 0, 0, method, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      ...littleEndian(content.length, 4),
      ...littleEndian(content.length, 4),
      ...littleEndian(label.length, 2),
      ...littleEndian(extra, 2),
    ];
    const place = [1, 0, 8, 0, ...littleEndian(at, 8)];
    directory.push(
      Uint8Array.of(0x50, 0x4b, 1, 2, 20, 0, ...facts(place.length), ...Array<number>(10).fill(0)),
      Uint8Array.of(...littleEndian(2 ** 32 - 1, 4), ...label, ...place),
    );
    const padding = (64 - ((at + 30 + label.length + 4) % 64)) % 64;
    add(Uint8Array.of(0x50, 0x4b, 3, 4, ...facts(padding + 4), ...label, 0x46, 0x42));
    add(Uint8Array.of(...littleEndian(padding, 2), ...Array<number>(padding).fill(0x5a)));
    add(content);
  }
  const from = at;
  directory.forEach(add);
  const [count, size] = [littleEndian(entries.length, 8), littleEndian(at - from, 8)];
  const end = at;
  add(
    Uint8Array.of(
      0x50,
      0x4b,
      6,
      6,
      44,
      ...Array<number>(7).fill(0),
      45,
      0,
      45,
      0,
      ...Array<number>(8).fill(0),
    ),
  );
  add(Uint8Array.of(...count, ...count, ...size, ...littleEndian(from, 8)));
  add(Uint8Array.of(0x50, 0x4b, 6, 7, 0, 0, 0, 0, ...littleEndian(end, 8), 1, 0, 0, 0));
  add(Uint8Array.of(0x50, 0x4b, 5, 6, 0, 0, 0, 0, ...Array<number>(12).fill(255), 0, 0));
  return concatenated(parts);
}

const littleEndian = (value: number, length: number): number[] =>
  Array.from({ length }, (_, i) => Math.floor(value / 256 ** i) % 256);

export function concatenated(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** What an archive holds. */
export async function entriesOf(bytes: Uint8Array): Promise<Entries> {
  const { unzipRaw } = await import('unzipit');
  const { entries } = await unzipRaw(bytes);
  return Promise.all(
    entries.map(async (entry) => [entry.name, new Uint8Array(await entry.arrayBuffer())] as const),
  );
}
