/**
 * The topology of MONAI's SegResNet: blocks of norm, activation and convolution, twice, with what they begin with added
 * behind them; strided convolutions go down, trilinear interpolation up, where what the encoder gave is added.
 */
import type { Size3 } from '../size.ts';
import { numbered, ones } from './blocks.ts';
import { headName } from './supervision.ts';
import { wholeConfig, type UNet3DConfig } from './config.ts';
import { Graph, type Node, type Shape } from './graph.ts';
import { conv } from './layers/conv.ts';
import { head, type Network } from './layers/head.ts';
import { norm } from './layers/norm.ts';
import { sum } from './layers/sum.ts';
import { upsample } from './layers/upsample.ts';

const twos: Size3 = [2, 2, 2];

/** The network for batches of this many samples of this size, a multiple of `sizeMultiple`. */
export function segResNet(config: UNet3DConfig, shape: Omit<Shape, 'channels'>): Network {
  const { features, classes, inChannels, groups, encoderBlocks, decoderBlocks } = wholeConfig(config);
  const graph = new Graph({ ...shape, channels: inChannels });
  const normed = (name: string, x: Node): Node => graph.add(name, norm('group', 0, { groups }), x);

  const blocks = (name: string, count: number, x: Node): Node => {
    for (const number of numbered(count)) {
      const layer = conv(x.shape.channels, { bias: false });
      const block = `${name}.block${number}`;
      const first = graph.add(`${block}.conv1`, layer, normed(`${block}.norm1`, x));
      const second = graph.add(`${block}.conv2`, layer, normed(`${block}.norm2`, first));
      x = graph.add(`${block}.sum`, sum, second, x);
    }
    return x;
  };

  const encoded: Node[] = [];
  let x = graph.add('encoder.stem', conv(features[0]!, { bias: false }), graph.image);
  for (const [level, channels] of features.entries()) {
    const name = `encoder.${level}`;
    if (level > 0) x = graph.add(`${name}.down`, conv(channels, { stride: twos, bias: false }), x);
    encoded.push((x = blocks(name, encoderBlocks[level]!, x)));
  }
  for (let level = features.length - 2; level >= 0; level--) {
    const name = `decoder.${level}`;
    const narrowed = graph.add(`${name}.conv`, conv(features[level]!, { kernel: ones, bias: false }), x);
    const up = graph.add(`${name}.up`, upsample, narrowed);
    x = blocks(name, decoderBlocks[level]!, graph.add(`${name}.sum`, sum, up, encoded[level]!));
  }
  return { graph, heads: [graph.add(headName(0), head(classes), normed('decoder.norm', x))] };
}
