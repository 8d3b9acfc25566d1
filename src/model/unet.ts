/** The topology of the U-Net: everything else about the network follows from this graph. */
import { activationSlope, headName, stridesOf, supervisedLevels, type UNet3DConfig } from './config.ts';
import { Graph, type Node, type Shape } from './graph.ts';
import { conv } from './layers/conv.ts';
import { head, type HeadPass } from './layers/head.ts';
import { norm } from './layers/norm.ts';
import { pool } from './layers/pool.ts';
import { upconv } from './layers/upconv.ts';

export interface Network {
  readonly graph: Graph;
  /** The finest first; coarser ones with deep supervision. */
  readonly heads: readonly Node<HeadPass>[];
}

/** The network for batches of this many samples of this size, a multiple of `sizeMultiple`. */
export function unet(config: UNet3DConfig, shape: Omit<Shape, 'channels'>): Network {
  const { features, classes, inChannels } = config;
  /** Between a level and the one above. */
  const strideTo = (level: number) => stridesOf(config)[level - 1]!;
  const graph = new Graph({ ...shape, channels: inChannels });
  const normed = norm(config.norm, activationSlope(config));
  const block = (name: string, channels: number, ...inputs: Node[]): Node => {
    const first = graph.add(`${name}.norm1`, normed, graph.add(`${name}.conv1`, conv(channels), ...inputs));
    return graph.add(`${name}.norm2`, normed, graph.add(`${name}.conv2`, conv(channels), first));
  };
  /** What comes out of the encoder at each level, then of the decoder. */
  const levels: Node[] = [];
  let x = graph.image;
  for (const [level, channels] of features.entries()) {
    if (level > 0) x = graph.add(`encoder.${level}.pool`, pool(strideTo(level)), x);
    levels[level] = x = block(`encoder.${level}`, channels, x);
  }
  for (let level = features.length - 2; level >= 0; level--) {
    const channels = features[level]!;
    const up = graph.add(`decoder.${level}.up`, upconv(channels, strideTo(level + 1)), x);
    levels[level] = x = block(`decoder.${level}`, channels, levels[level]!, up);
  }
  const heads = supervisedLevels(config).map((level) =>
    graph.add(headName(level), head(classes), levels[level]!),
  );
  return { graph, heads };
}
