/** A model as ONNX, operators of version 17: written node by node from the network's graph. */
import * as v from 'valibot';
import { InvalidModel } from '../errors.ts';
import { leastSize, multipleInWords } from '../model/sizes.ts';
import type { UNet3DConfig } from '../model/config.ts';
import type { Node } from '../model/graph.ts';
import { network } from '../model/network.ts';
import { layoutParameters } from '../model/parameters.ts';
import { assertOptions } from '../options.ts';
import { oneOf } from '../schema.ts';
import { version } from '../version.ts';
import { descriptionText } from '../weights/model-file.ts';
import { descriptionKey } from '../weights/tensors.ts';
import { modelToExport, type ExportedModel } from './model.ts';
import { writeOnnx, type Initializer, type OnnxNode } from './onnx/format.ts';
import type { Upsampling } from './onnx/fragment.ts';
import { fragmentOf } from './onnx/nodes.ts';

/** How a network is written as ONNX. */
export interface OnnxOptions {
  /**
   * How the decoder raises the resolution: by `transposed` convolutions; or, for runtimes that have none in three
   * dimensions, such as onnxruntime-web on WebGPU, by convolutions whose channels are `shuffled` into place. The
   * numbers are the same. Default `transposed`.
   */
  readonly upsampling?: Upsampling;
}

const onnxEntries = {
  upsampling: v.optional(oneOf('transposed', 'shuffled')),
} satisfies Record<keyof OnnxOptions, unknown>;

/** Bytes of a message of Protocol Buffers at most; some are kept for all that is not weights. */
const mostBytes = 2 ** 31 - 2 ** 24;

/**
 * The bytes of an .onnx file. Its input `image` is float32 [batch][channel][z][y][x], its output `logits`
 * [batch][class][z][y][x]; batch and lengths are free, the lengths multiples of the product of all strides. The metadata
 * `unet3d-gpu` is the description of a model file (preprocessing, post-processing, labels, channels, input size),
 * `unet3d-gpu.sizeMultiple` the multiples along x, y, z, both as JSON.
 * @param model the content of model.safetensors, or of a .pth under its names
 * @throws InvalidModel for a file that is damaged, newer or of another network, and for weights of 2 GiB and more,
 *   for which ONNX has no room; InvalidOption for what is not bytes and for unknown options
 * @example
 * ```js
 * const onnx = await exportOnnx(modelBytes);
 * ```
 */
export async function exportOnnx(
  model: Uint8Array,
  options: OnnxOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  assertOptions('exportOnnx', onnxEntries, options);
  return onnxOf(await modelToExport('exportOnnx', model), options);
}

/** @throws InvalidModel for weights of 2 GiB and more */
export function assertFitsOnnx(config: UNet3DConfig): void {
  const { count } = layoutParameters(config);
  if (4 * count <= mostBytes) return;
  throw new InvalidModel(
    `the weights take ${((4 * count) / 2 ** 30).toFixed(1)} GiB, and an ONNX file holds less than 2 GiB: export to safetensors in its place`,
  );
}

function onnxOf({ description, tensors }: ExportedModel, options: OnnxOptions): Uint8Array<ArrayBuffer> {
  const { config } = description;
  assertFitsOnnx(config);
  const multiple = leastSize(config);
  const { graph, heads } = network(config, { batch: 1, size: multiple });
  const head: Node = heads[0]!;
  const needed = ancestorsOf(head);
  const nameOf = (node: Node): string => (node === head ? 'logits' : node.name);
  const nodes: OnnxNode[] = [];
  const initializers = new Map<string, Initializer>();
  for (const node of graph.nodes) {
    if (!needed.has(node)) continue;
    const { name, layer, inputs, shape } = node;
    const own = layer!.parameters?.(inputs.map((input) => input.shape)) ?? [];
    const fragment = fragmentOf(layer!.operation, {
      name,
      inputs: inputs.map(nameOf),
      output: nameOf(node),
      channels: shape.channels,
      tensors: new Map(own.map((spec) => [spec.name, tensors.get(`${name}.${spec.name}`)!])),
      upsampling: options.upsampling ?? 'transposed',
    });
    nodes.push(...fragment.nodes);
    for (const [key, initializer] of fragment.initializers) initializers.set(key, initializer);
  }
  const lengths = ['z', 'y', 'x'];
  return writeOnnx({
    description: `A 3D U-Net; lengths are multiples of ${multipleInWords(multiple)}. Its metadata ${descriptionKey} says how images are prepared.`,
    producer: ['unet3d-gpu', version],
    nodes,
    initializers,
    input: {
      name: 'image',
      shape: ['batch', config.inChannels, ...lengths],
      description: 'a prepared image',
    },
    output: {
      name: 'logits',
      shape: ['batch', config.classes, ...lengths],
      description: 'a logit per class',
    },
    metadata: {
      [descriptionKey]: descriptionText(description),
      [`${descriptionKey}.sizeMultiple`]: JSON.stringify(multiple),
    },
  });
}

/** A node and all that it is computed from. */
function ancestorsOf(node: Node, found = new Set<Node>()): ReadonlySet<Node> {
  if (found.has(node)) return found;
  found.add(node);
  for (const input of node.inputs) ancestorsOf(input, found);
  return found;
}
