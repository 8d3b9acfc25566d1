/** A network's last layer on the CPU, over the mean of the features that windows give. */
import { allocate, copyIn, copyOut, wasm, type WasmExports } from '../../../data/wasm.ts';

interface Kernels extends WasmExports {
  linearMap(
    source: number,
    weights: number,
    bias: number,
    voxels: number,
    channels: number,
    heads: number,
    target: number,
  ): void;
}

/**
 * A 1×1×1 convolution: [channel][voxel] to [head][voxel].
 * @param weights [head][channel]
 */
export function linearHead(
  weights: Float32Array,
  bias: Float32Array,
): (features: Float32Array) => Float32Array<ArrayBuffer> {
  const heads = bias.length;
  const channels = weights.length / heads;
  return (features) => {
    const voxels = features.length / channels;
    wasm().reset();
    const [source, factors, shift] = [copyIn(features), copyIn(weights), copyIn(bias)];
    const target = allocate(4 * heads * voxels);
    (wasm() as Kernels).linearMap(source, factors, shift, voxels, channels, heads, target);
    return copyOut(target, heads * voxels);
  };
}
