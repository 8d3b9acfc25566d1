/** NIfTI files made byte by byte. */

export interface Made {
  version?: 1 | 2;
  little?: boolean;
  pair?: boolean;
  shape?: number[];
  datatype?: number;
  voxels?: Uint8Array;
  offset?: number;
  slope?: number;
  intercept?: number;
  pixdim?: number[];
  qform?: { code: number; bcd: number[]; offset: number[] };
  sform?: { code: number; rows: number[] };
  between?: Uint8Array;
}

/** A NIfTI file; `between` are the bytes from the end of the header to the voxels. */
export function make({
  version = 1,
  little = true,
  pair = false,
  shape = [2, 2, 2],
  datatype = 2,
  voxels = new Uint8Array(8),
  slope = 1,
  intercept = 0,
  pixdim = [1, 1, 1, 1, 1, 1, 1, 1],
  qform = { code: 0, bcd: [0, 0, 0], offset: [0, 0, 0] },
  sform = { code: 0, rows: new Array<number>(12).fill(0) },
  between = new Uint8Array(4),
  ...rest
}: Made): Uint8Array<ArrayBuffer> {
  const two = version === 2;
  const length = two ? 540 : 348;
  const head = pair ? new Uint8Array(length) : new Uint8Array(length + between.length);
  if (!pair) head.set(between, length);
  const view = new DataView(head.buffer);
  const float = (at: number, v: number): void =>
    two ? view.setFloat64(at, v, little) : view.setFloat32(at, v, little);
  const floats = (at: number, values: number[]): void =>
    values.forEach((v, i) => float(at + i * (two ? 8 : 4), v));
  const code = (at: number, v: number): void =>
    two ? view.setInt32(at, v, little) : view.setInt16(at, v, little);
  view.setInt32(0, length, little);
  [shape.length, ...shape].forEach((n, i) =>
    two ? view.setBigInt64(16 + 8 * i, BigInt(n), little) : view.setInt16(40 + 2 * i, n, little),
  );
  view.setInt16(two ? 12 : 70, datatype, little);
  floats(two ? 104 : 76, pixdim);
  const offset = rest.offset ?? (pair ? 0 : head.length);
  if (two) view.setBigInt64(168, BigInt(offset), little);
  else view.setFloat32(108, offset, little);
  floats(two ? 176 : 112, [slope, intercept]);
  code(two ? 344 : 252, qform.code);
  code(two ? 348 : 254, sform.code);
  floats(two ? 352 : 256, [...qform.bcd, ...qform.offset]);
  floats(two ? 400 : 280, sform.rows);
  const magic = `${pair ? 'ni' : 'n+'}${version}`;
  for (let i = 0; i < 3; i++) head[(two ? 4 : 344) + i] = magic.charCodeAt(i);
  return pair ? head : joined(head, voxels);
}

export function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Bytes compressed by the platform that runs the test. */
export async function gzip(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>])
    .stream()
    .pipeThrough(new CompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
