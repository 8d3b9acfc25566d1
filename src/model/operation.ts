/** What layers compute, as data: for those who write a network down for other programs. */
import type { NormKind } from '../ops/norm.ts';
import type { PoolKind } from '../ops/pool.ts';
import type { Size3 } from '../size.ts';

/** Kernels and strides are along x, y, z; weights are the layer's parameters, under their names. */
export type Operation =
  /** Of all inputs, one after the other, with (kernel - 1) / 2 zeros around them. */
  | { readonly kind: 'conv'; readonly kernel: Size3; readonly stride: Size3 }
  /** Transposed, with a kernel as large as the strides. */
  | { readonly kind: 'upconv'; readonly stride: Size3 }
  /** Transposed, with (kernel - 1) / 2 zeros less around it: the size is multiplied by the stride. */
  | { readonly kind: 'transposed'; readonly kernel: Size3; readonly stride: Size3 }
  /** With the activation behind it. */
  | {
      readonly kind: 'norm';
      readonly of: NormKind;
      /** Of group norm: into how many its channels are divided. */
      readonly groups: number;
      readonly epsilon: number;
      readonly slope: number;
    }
  /** For values below 0: 0 is ReLU, 1 none. */
  | { readonly kind: 'act'; readonly slope: number }
  /** With one trained slope, `weight`. */
  | { readonly kind: 'prelu' }
  /** Of windows as large as the strides. */
  | { readonly kind: 'pool'; readonly of: PoolKind; readonly stride: Size3 }
  | { readonly kind: 'sum' }
  /** Repeats the last voxels at the far ends, where an odd length was halved. */
  | { readonly kind: 'pad' }
  /** Trilinear to twice the size, voxel centres as they lie in space. */
  | { readonly kind: 'upsample' }
  /** The input is the logits. */
  | { readonly kind: 'logits' };
