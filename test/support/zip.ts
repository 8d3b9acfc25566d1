/** Zip archives, entry by entry as they are told, sound or not. */

export interface ZipPart {
  readonly path: string;
  readonly content: Uint8Array;
  /** Default: as it is. */
  readonly deflated?: boolean;
  /** What the archive says of its length, in place of the truth. */
  readonly claimed?: number;
  /** General purpose flags: 1 is encrypted. */
  readonly flags?: number;
}

async function deflate(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>])
    .stream()
    .pipeThrough(new CompressionStream('deflate-raw'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export async function zipOf(parts: readonly ZipPart[]): Promise<Uint8Array<ArrayBuffer>> {
  const local: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const { path, content, deflated = false, claimed = content.length, flags = 0 } of parts) {
    const name = new TextEncoder().encode(path);
    const data = deflated ? await deflate(content) : content;
    // Version, flags, method, time, date, checksum, lengths of data, name and extra field.
    const facts = new DataView(new ArrayBuffer(26));
    facts.setUint16(0, 20, true);
    facts.setUint16(2, flags, true);
    facts.setUint16(4, deflated ? 8 : 0, true);
    facts.setUint32(14, data.length, true);
    facts.setUint32(18, claimed, true);
    facts.setUint16(22, name.length, true);
    const shared = new Uint8Array(facts.buffer);
    local.push(Uint8Array.of(0x50, 0x4b, 3, 4), shared, name, data);
    const entry = new DataView(new ArrayBuffer(14));
    entry.setUint32(10, at, true);
    directory.push(Uint8Array.of(0x50, 0x4b, 1, 2, 20, 0), shared, new Uint8Array(entry.buffer), name);
    at += 30 + name.length + data.length;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, parts.length, true);
  end.setUint16(10, parts.length, true);
  end.setUint32(12, length, true);
  end.setUint32(16, at, true);
  const whole = new Blob([...local, ...directory, new Uint8Array(end.buffer)] as BlobPart[]);
  return new Uint8Array(await whole.arrayBuffer());
}
