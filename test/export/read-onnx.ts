/** The structure of an ONNX file, read by the field numbers of onnx.proto. */

export interface OnnxFile {
  readonly irVersion: number;
  readonly operators: number;
  readonly nodes: readonly { operator: string; inputs: string[]; attributes: Record<string, string> }[];
  readonly initializers: ReadonlyMap<string, readonly number[]>;
  readonly metadata: Readonly<Record<string, string>>;
}

type Fields = ReadonlyMap<number, readonly (number | Uint8Array)[]>;

function fieldsOf(bytes: Uint8Array): Fields {
  const fields = new Map<number, (number | Uint8Array)[]>();
  let at = 0;
  const varint = (): number => {
    for (let value = 0, scale = 1; ; scale *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const type = tag & 7;
    let value: number | Uint8Array;
    if (type === 0) value = varint();
    else {
      const length = type === 2 ? varint() : type === 5 ? 4 : 8;
      value = bytes.subarray(at, (at += length));
    }
    fields.set(tag >> 3, [...(fields.get(tag >> 3) ?? []), value]);
  }
  return fields;
}

export function readOnnx(bytes: Uint8Array): OnnxFile {
  const all = (fields: Fields, field: number): Uint8Array[] => (fields.get(field) ?? []) as Uint8Array[];
  const text = (bytes?: Uint8Array): string => new TextDecoder().decode(bytes);
  const model = fieldsOf(bytes);
  const graph = fieldsOf(all(model, 7)[0]!);
  const sets = all(model, 8).map(fieldsOf);
  return {
    irVersion: model.get(1)![0] as number,
    operators: sets.find((set) => text(all(set, 1)[0]) === '')!.get(2)![0] as number,
    nodes: all(graph, 1)
      .map(fieldsOf)
      .map((node) => ({
        operator: text(all(node, 4)[0]),
        inputs: all(node, 1).map(text),
        attributes: Object.fromEntries(
          all(node, 5)
            .map(fieldsOf)
            .map((attribute) => [text(all(attribute, 1)[0]), valueOf(attribute)]),
        ),
      })),
    initializers: new Map(
      all(graph, 5)
        .map(fieldsOf)
        .map((tensor) => [text(all(tensor, 8)[0]), (tensor.get(1) ?? []) as number[]]),
    ),
    metadata: Object.fromEntries(
      all(model, 14)
        .map(fieldsOf)
        .map((entry) => [text(all(entry, 1)[0]), text(all(entry, 2)[0])]),
    ),
  };
}

/** Of an attribute, as text. */
function valueOf(attribute: Fields): string {
  const [float] = (attribute.get(2) ?? []) as Uint8Array[];
  if (float) return String(new DataView(float.buffer, float.byteOffset).getFloat32(0, true));
  return [...(attribute.get(3) ?? []), ...(attribute.get(8) ?? [])].join();
}
