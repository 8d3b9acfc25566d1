/**
 * A transposed convolution with a kernel as large as its strides, without one: a 1×1×1 convolution makes all voxels
 * that an input voxel becomes, as channels, and these are moved into place.
 */
import type { NamedTensor } from '../../weights/safetensors.ts';
import type { Initializer, OnnxNode } from './format.ts';
import type { Fragment, Place } from './fragment.ts';

/** @param stride along z, y, x */
export function shuffled(stride: readonly [number, number, number], place: Place): Fragment {
  const { name, inputs, output, channels, tensors } = place;
  const taps = stride.reduce((product, step) => product * step, 1);
  const initializers = new Map<string, Initializer>();
  const integers = (part: string, ...values: readonly number[]): string => {
    const key = `${name}.${part}`;
    initializers.set(key, { shape: [values.length], data: BigInt64Array.from(values, BigInt) });
    return key;
  };
  const weights = [`${name}.weight`];
  initializers.set(weights[0]!, transposed(tensors.get('weight')!, channels * taps));
  const bias = tensors.get('bias');
  if (bias) {
    weights.push(`${name}.bias`);
    const data = Float32Array.from(
      { length: channels * taps },
      (_, index) => bias.data[Math.floor(index / taps)]!,
    );
    initializers.set(weights[1]!, { shape: [channels * taps], data });
  }
  const of = (part: string): string => `${name}.${part}`;
  const concat = (parts: readonly string[], to: string): OnnxNode => ({
    operator: 'Concat',
    inputs: parts,
    output: to,
    attributes: { axis: 0 },
  });
  // Of whatever batch: -1 is as many as are left.
  const [batch, made] = [integers('batch', -1), integers('made', channels, ...stride)];
  const [steps, kept] = [integers('steps', ...stride), integers('channels', channels)];
  const nodes: OnnxNode[] = [
    { operator: 'Shape', inputs, output: of('size'), attributes: { start: 2 } },
    {
      operator: 'Conv',
      inputs: [...inputs, ...weights],
      output: of('all'),
      attributes: { kernel_shape: [1, 1, 1] },
    },
    concat([batch, made, of('size')], of('apart')),
    { operator: 'Reshape', inputs: [of('all'), of('apart')], output: of('voxels') },
    {
      // batch, channel, and along each axis its length and its stride
      operator: 'Transpose',
      inputs: [of('voxels')],
      output: of('placed'),
      attributes: { perm: [0, 1, 5, 2, 6, 3, 7, 4] },
    },
    { operator: 'Mul', inputs: [of('size'), steps], output: of('larger') },
    concat([batch, kept, of('larger')], of('joined')),
    { operator: 'Reshape', inputs: [of('placed'), of('joined')], output },
  ];
  return { nodes, initializers };
}

/** From (in, out, z, y, x) to (out · z · y · x, in, 1, 1, 1). */
function transposed({ shape, data }: NamedTensor, rows: number): NamedTensor {
  const columns = shape[0]!;
  const turned = new Float32Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      turned[row * columns + column] = data[column * rows + row]!;
  return { shape: [rows, columns, 1, 1, 1], data: turned };
}
