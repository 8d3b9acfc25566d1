/** DICOM files of one series of slices, explicit little endian, with the attributes that place them (PS3.3 C.7.6.2). */

type Vector = readonly [number, number, number];

export interface Series {
  /** Directions of the rows and the columns in the patient: x to the left, y to the back, z to the head. */
  readonly row: Vector;
  readonly column: Vector;
  /** Centre of the first pixel of a slice, in mm. */
  readonly position: (slice: number) => Vector;
  /** Between rows and between columns, in mm. */
  readonly spacing: readonly [number, number];
  readonly thickness: number;
  readonly columns: number;
  readonly rows: number;
  readonly slices: number;
  /** Of a pixel, 0 to 4095. */
  readonly value: (column: number, row: number, slice: number) => number;
  readonly series: number;
}

const short = (value: number): Buffer => Buffer.from(Uint16Array.of(value).buffer);

/** A data element; texts are padded to an even length. */
function element(group: number, number: number, kind: string, value: string | Buffer): Buffer {
  const raw = typeof value === 'string' ? Buffer.from(value) : value;
  const padding = raw.length % 2 === 0 ? '' : kind === 'UI' ? '\0' : ' ';
  const bytes = Buffer.concat([raw, Buffer.from(padding)]);
  const head = Buffer.concat([short(group), short(number), Buffer.from(kind)]);
  const length = Buffer.alloc(kind === 'OB' || kind === 'OW' ? 6 : 2);
  if (length.length === 6) length.writeUInt32LE(bytes.length, 2);
  else length.writeUInt16LE(bytes.length);
  return Buffer.concat([head, length, bytes]);
}

/** One file of a series. */
export function dicomFile(series: Series, slice: number): Buffer {
  const root = '1.2.826.0.1.3680043.2.1125';
  const [image, storage] = [`${root}.${series.series}.${slice + 1}`, '1.2.840.10008.5.1.4.1.1.4'];
  const meta = [
    element(2, 1, 'OB', Buffer.from([0, 1])),
    element(2, 2, 'UI', storage),
    element(2, 3, 'UI', image),
    element(2, 0x10, 'UI', '1.2.840.10008.1.2.1'),
    element(2, 0x12, 'UI', root),
  ];
  const length = Buffer.alloc(4);
  length.writeUInt32LE(Buffer.concat(meta).length);
  const decimals = (values: readonly number[]): string =>
    values.map((value) => String(Number(value.toFixed(8)))).join('\\');
  const { columns, rows, value } = series;
  const pixels = new Uint16Array(columns * rows);
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++) pixels[y * columns + x] = value(x, y, slice);
  return Buffer.concat([
    Buffer.alloc(128),
    Buffer.from('DICM'),
    element(2, 0, 'UL', length),
    ...meta,
    element(8, 8, 'CS', 'ORIGINAL\\PRIMARY\\OTHER'),
    element(8, 0x16, 'UI', storage),
    element(8, 0x18, 'UI', image),
    element(8, 0x60, 'CS', 'MR'),
    element(8, 0x70, 'LO', 'Somebody'),
    element(0x10, 0x10, 'PN', 'Nobody'),
    element(0x10, 0x20, 'LO', '1'),
    element(0x18, 0x50, 'DS', decimals([series.thickness])),
    element(0x18, 0x88, 'DS', decimals([series.thickness])),
    element(0x18, 0x1030, 'LO', 'head'),
    element(0x18, 0x5100, 'CS', 'HFS'),
    element(0x20, 0xd, 'UI', `${root}.9`),
    element(0x20, 0xe, 'UI', `${root}.${series.series}`),
    element(0x20, 0x11, 'IS', String(series.series)),
    element(0x20, 0x13, 'IS', String(slice + 1)),
    element(0x20, 0x32, 'DS', decimals(series.position(slice))),
    element(0x20, 0x37, 'DS', decimals([...series.row, ...series.column])),
    element(0x20, 0x52, 'UI', `${root}.8`),
    element(0x28, 2, 'US', short(1)),
    element(0x28, 4, 'CS', 'MONOCHROME2'),
    element(0x28, 0x10, 'US', short(rows)),
    element(0x28, 0x11, 'US', short(columns)),
    element(0x28, 0x30, 'DS', decimals(series.spacing)),
    element(0x28, 0x100, 'US', short(16)),
    element(0x28, 0x101, 'US', short(12)),
    element(0x28, 0x102, 'US', short(11)),
    element(0x28, 0x103, 'US', short(0)),
    element(0x7fe0, 0x10, 'OW', Buffer.from(pixels.buffer)),
  ]);
}

/** An oblique series, its rows turned by 20° about the patient's long axis and its slices by 10° about the rows. */
export function obliqueSeries(series: number): Series {
  const [a, b] = [(20 * Math.PI) / 180, (10 * Math.PI) / 180];
  const row = [Math.cos(a), Math.sin(a), 0] as const;
  const column = [-Math.sin(a) * Math.cos(b), Math.cos(a) * Math.cos(b), Math.sin(b)] as const;
  const normal = [Math.sin(a) * Math.sin(b), -Math.cos(a) * Math.sin(b), Math.cos(b)] as const;
  const position = (slice: number) =>
    normal.map((part, axis) => [-20, 30, 12][axis]! + 3 * slice * part) as unknown as [
      number,
      number,
      number,
    ];
  const value = (x: number, y: number, slice: number) => 1 + x + 16 * y + 256 * slice;
  const size = { columns: 12, rows: 10, slices: 5, spacing: [1.5, 1.25] as const, thickness: 3 };
  return { ...size, row, column, position, value, series };
}
