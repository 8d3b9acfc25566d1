/**
 * The topology of MONAI's UNet: units of a convolution with norm and PReLU, with what they begin with added behind
 * them; every level, the first one too, begins with its stride, and transposed convolutions go back up. What the last
 * one of the decoder gives are the logits.
 */
import type { Size3 } from '../size.ts';
import { isOnes, numbered, ones } from './blocks.ts';
import { headName } from './supervision.ts';
import { wholeConfig, type UNet3DConfig } from './config.ts';
import { Graph, type Node, type Shape } from './graph.ts';
import { conv } from './layers/conv.ts';
import type { Network } from './layers/head.ts';
import { logits } from './layers/logits.ts';
import { norm } from './layers/norm.ts';
import { prelu } from './layers/prelu.ts';
import { sum } from './layers/sum.ts';
import { transposed } from './layers/transposed.ts';

const threes: Size3 = [3, 3, 3];

/** The network for batches of this many samples of this size, a multiple of `sizeMultiple`. */
export function residualUnits(config: UNet3DConfig, shape: Omit<Shape, 'channels'>): Network {
  const { features, classes, inChannels, bias, scaleAndShift, strides, units, ...rest } = wholeConfig(config);
  const graph = new Graph({ ...shape, channels: inChannels });
  const activated = (name: string, convolved: Node): Node => {
    const normed = graph.add(`${name}.norm`, norm(rest.norm, 1, { weighted: scaleAndShift }), convolved);
    return graph.add(`${name}.act`, prelu, normed);
  };

  /** A unit of a convolution; the last of all is nothing else. */
  const unit = (name: string, channels: number, stride: Size3, x: Node, isLast = false): Node => {
    const convolved = graph.add(`${name}.conv`, conv(channels, { stride, bias }), x);
    return isLast ? convolved : activated(name, convolved);
  };

  /** Units one after the other, the first of which strides, and what they begin with. The sum has no activation. */
  const residual = (name: string, channels: number, stride: Size3, x: Node): Node => {
    let own = x;
    for (const number of numbered(units))
      own = unit(`${name}.unit${number}`, channels, number === 1 ? stride : ones, own);
    let skip = x;
    if (!isOnes(stride) || x.shape.channels !== channels) {
      const kernel = isOnes(stride) ? ones : threes;
      skip = graph.add(`${name}.skip`, conv(channels, { kernel, stride, bias }), x);
    }
    return graph.add(`${name}.sum`, sum, own, skip);
  };

  const encoded: Node[] = [];
  let x = graph.image;
  for (const [level, channels] of features.entries()) {
    const stride = strides[level] ?? ones;
    const name = `encoder.${level}`;
    x = units > 0 ? residual(name, channels, stride, x) : unit(name, channels, stride, x);
    encoded.push(x);
  }
  for (let level = features.length - 2; level >= 0; level--) {
    const isLast = level === 0;
    const channels = isLast ? classes : features[level - 1]!;
    const name = `decoder.${level}`;
    const layer = transposed(channels, { kernel: threes, stride: strides[level]!, bias });
    const up = graph.add(`${name}.up`, layer, encoded[level]!, x);
    x = isLast && units === 0 ? up : activated(name, up);
    if (units > 0) x = graph.add(`${name}.sum`, sum, unit(`${name}.unit1`, channels, ones, x, isLast), x);
  }
  return { graph, heads: [graph.add(headName(0), logits(classes), x)] };
}
