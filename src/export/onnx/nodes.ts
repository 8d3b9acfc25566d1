/** What each operation of a network is in ONNX's operators. */
import type { Operation } from '../../model/operation.ts';
import type { Size3 } from '../../size.ts';
import type { Initializer, OnnxNode } from './format.ts';
import { joined, type Fragment, type Place } from './fragment.ts';
import { shuffled, type Lengths, type TransposedShape } from './shuffle.ts';

/** ONNX counts axes as PyTorch does. */
const zyx = ([x, y, z]: Size3): Lengths => [z, y, x];

export function fragmentOf(operation: Operation, place: Place): Fragment {
  switch (operation.kind) {
    case 'conv':
      return conv(operation, place);
    case 'upconv':
      return upwards(
        { kernel: zyx(operation.stride), stride: zyx(operation.stride), padding: [0, 0, 0] },
        place,
      );
    case 'transposed': {
      const [kernel, stride] = [zyx(operation.kernel), zyx(operation.stride)];
      return upwards({ kernel, stride, padding: halved(kernel) }, place);
    }
    case 'norm':
      return norm(operation, place);
    case 'act':
      return { nodes: act(operation.slope, place.inputs[0]!, place.output), initializers: new Map() };
    case 'prelu':
      return prelu(place);
    case 'pool':
      return pool(operation, place);
    case 'sum':
      return bare('Add', place);
    case 'upsample':
      return upsample(place);
    case 'logits':
      return bare('Identity', place);
    case 'pad':
      throw new Error('lengths that are multiples of all strides are halved without a rest');
    default:
      return operation satisfies never;
  }
}

/** An operator without parameters. */
const bare = (operator: string, { inputs, output }: Place): Fragment => ({
  nodes: [{ operator, inputs, output }],
  initializers: new Map(),
});

type Of<Kind extends Operation['kind']> = Extract<Operation, { kind: Kind }>;

/** Weights under the layer's name; those that the layer has not are left out. */
const own = ({ name, tensors }: Place): Map<string, Initializer> =>
  new Map([...tensors].map(([key, tensor]) => [`${name}.${key}`, tensor]));

/** A convolution of whichever direction. */
function convolving(operator: string, place: Place, attributes: OnnxNode['attributes'] & object): Fragment {
  const initializers = own(place);
  const { input, nodes } = joined(place);
  const inputs = [input, ...initializers.keys()];
  return { nodes: [...nodes, { operator, inputs, output: place.output, attributes }], initializers };
}

/** The zeros around a volume that keep its size under a kernel. */
const halved = ([z, y, x]: Lengths): Lengths => [(z - 1) / 2, (y - 1) / 2, (x - 1) / 2];

function conv({ kernel, stride }: Of<'conv'>, place: Place): Fragment {
  const padding = halved(zyx(kernel));
  const pads = [...padding, ...padding];
  return convolving('Conv', place, { kernel_shape: zyx(kernel), strides: zyx(stride), pads });
}

function upwards(shape: TransposedShape, place: Place): Fragment {
  if (place.upsampling === 'shuffled') return shuffled(shape, place);
  const { kernel, stride, padding } = shape;
  return convolving('ConvTranspose', place, {
    kernel_shape: kernel,
    strides: stride,
    pads: [...padding, ...padding],
    output_padding: stride.map((step, axis) => step - kernel[axis]! + 2 * padding[axis]!),
  });
}

/** To twice the size, between the centres of voxels. */
function upsample({ name, inputs, output }: Place): Fragment {
  const scales = `${name}.scales`;
  const attributes = {
    mode: { text: 'linear' },
    coordinate_transformation_mode: { text: 'half_pixel' },
  };
  return {
    nodes: [{ operator: 'Resize', inputs: [...inputs, '', scales], output, attributes }],
    initializers: new Map([[scales, { shape: [5], data: Float32Array.of(1, 1, 2, 2, 2) }]]),
  };
}

/** Norms without weights get ones and zeros: ONNX has none without. */
function norm(operation: Of<'norm'>, place: Place): Fragment {
  const { of: kind, epsilon, slope } = operation;
  if (kind === 'group') return groupNorm(operation, place);
  const { name, inputs, output, channels } = place;
  const constant = (value: number): Initializer => ({
    shape: [channels],
    data: new Float32Array(channels).fill(value),
  });
  const found = own(place);
  const initializers = new Map<string, Initializer>();
  const names = ['weight', 'bias', ...(kind === 'batch' ? ['running_mean', 'running_var'] : [])];
  for (const key of names.map((part) => `${name}.${part}`))
    initializers.set(key, found.get(key) ?? constant(key.endsWith('weight') ? 1 : 0));
  const normed = slope === 1 ? output : `${name}.normed`;
  const node: OnnxNode = {
    operator: kind === 'batch' ? 'BatchNormalization' : 'InstanceNormalization',
    inputs: [...inputs, ...initializers.keys()],
    output: normed,
    attributes: { epsilon: { float: epsilon } },
  };
  return { nodes: [node, ...act(slope, normed, output)], initializers };
}

/** Groups are the channels of an instance norm; the weights are those of the channels. */
function groupNorm({ groups, epsilon, slope }: Of<'norm'>, place: Place): Fragment {
  const { name, inputs, output, channels, tensors } = place;
  const of = (part: string): string => `${name}.${part}`;
  const perGroup = (value: number): Initializer => ({
    shape: [groups],
    data: new Float32Array(groups).fill(value),
  });
  const initializers = new Map<string, Initializer>([
    [of('ones'), perGroup(1)],
    [of('zeros'), perGroup(0)],
    // 0 is the batch's own length, -1 what is left.
    [of('groups'), { shape: [3], data: BigInt64Array.of(0n, BigInt(groups), -1n) }],
  ]);
  const nodes: OnnxNode[] = [
    { operator: 'Shape', inputs, output: of('shape') },
    { operator: 'Reshape', inputs: [...inputs, of('groups')], output: of('grouped') },
    {
      operator: 'InstanceNormalization',
      inputs: [of('grouped'), of('ones'), of('zeros')],
      output: of('standard'),
      attributes: { epsilon: { float: epsilon } },
    },
    { operator: 'Reshape', inputs: [of('standard'), of('shape')], output: of('apart') },
  ];
  let last = of('apart');
  for (const [part, operator] of [
    ['weight', 'Mul'],
    ['bias', 'Add'],
  ] as const) {
    const tensor = tensors.get(part);
    if (!tensor) continue;
    initializers.set(of(part), { shape: [channels, 1, 1, 1], data: tensor.data });
    nodes.push({ operator, inputs: [last, of(part)], output: of(operator) });
    last = of(operator);
  }
  return { nodes: [...nodes, ...act(slope, last, output)], initializers };
}

/** None for a slope of 1, where input and output have one name. */
function act(slope: number, input: string, output: string): readonly OnnxNode[] {
  if (input === output) return [];
  const inputs = [input];
  if (slope === 0) return [{ operator: 'Relu', inputs, output }];
  return [{ operator: 'LeakyRelu', inputs, output, attributes: { alpha: { float: slope } } }];
}

function prelu(place: Place): Fragment {
  const initializers = own(place);
  const inputs = [...place.inputs, ...initializers.keys()];
  return { nodes: [{ operator: 'PRelu', inputs, output: place.output }], initializers };
}

function pool({ of: kind, stride }: Of<'pool'>, { inputs, output }: Place): Fragment {
  const attributes = { kernel_shape: zyx(stride), strides: zyx(stride) };
  const operator = kind === 'max' ? 'MaxPool' : 'AveragePool';
  return { nodes: [{ operator, inputs, output, attributes }], initializers: new Map() };
}
