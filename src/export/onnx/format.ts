/** The messages of an ONNX file (onnx.proto), by their field numbers. */
import { Message } from './protobuf.ts';

/** Of an operator; whole numbers and lists of them stay what they are. */
export type Attribute = number | readonly number[] | { readonly float: number } | { readonly text: string };

export interface OnnxNode {
  readonly operator: string;
  readonly inputs: readonly string[];
  readonly output: string;
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

/** A tensor that lies in the file. */
export interface Initializer {
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

/** What goes in or comes out: float32 of named or fixed lengths. */
export interface OnnxValue {
  readonly name: string;
  readonly shape: readonly (number | string)[];
  readonly description: string;
}

export interface OnnxModel {
  readonly description: string;
  readonly producer: readonly [name: string, version: string];
  readonly nodes: readonly OnnxNode[];
  readonly initializers: ReadonlyMap<string, Initializer>;
  readonly input: OnnxValue;
  readonly output: OnnxValue;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Version of the set of operators, and of the format that came with it. */
const operators = 17;
const irVersion = 8;

const types = { float: 1, int64: 7 };

export function writeOnnx(model: OnnxModel): Uint8Array<ArrayBuffer> {
  const graph = new Message();
  for (const node of model.nodes) graph.message(1, nodeMessage(node));
  graph.text(2, 'unet');
  for (const [name, initializer] of model.initializers) graph.message(5, tensorMessage(name, initializer));
  graph.message(11, valueMessage(model.input)).message(12, valueMessage(model.output));
  const [producer, version] = model.producer;
  const message = new Message()
    .int(1, irVersion)
    .text(2, producer)
    .text(3, version)
    .text(6, model.description)
    .message(7, graph)
    .message(8, new Message().text(1, '').int(2, operators));
  for (const [key, value] of Object.entries(model.metadata))
    message.message(14, new Message().text(1, key).text(2, value));
  return message.finish();
}

function nodeMessage({ operator, inputs, output, attributes = {} }: OnnxNode): Message {
  const message = new Message();
  for (const input of inputs) message.text(1, input);
  message.text(2, output).text(3, output).text(4, operator);
  for (const [name, value] of Object.entries(attributes)) message.message(5, attributeMessage(name, value));
  return message;
}

function attributeMessage(name: string, value: Attribute): Message {
  const message = new Message().text(1, name);
  if (typeof value === 'number') return message.int(3, value).int(20, 2);
  if ('text' in value) return message.text(4, value.text).int(20, 3);
  if ('float' in value) return message.float(2, value.float).int(20, 1);
  for (const item of value) message.int(8, item);
  return message.int(20, 7);
}

function tensorMessage(name: string, { shape, data }: Initializer): Message {
  const message = new Message();
  for (const length of shape) message.int(1, length);
  return message
    .int(2, data instanceof Float32Array ? types.float : types.int64)
    .text(8, name)
    .bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

function valueMessage({ name, shape, description }: OnnxValue): Message {
  const lengths = new Message();
  for (const length of shape)
    lengths.message(
      1,
      typeof length === 'number' ? new Message().int(1, length) : new Message().text(2, length),
    );
  const tensor = new Message().int(1, types.float).message(2, lengths);
  return new Message().text(1, name).message(2, new Message().message(1, tensor)).text(3, description);
}
