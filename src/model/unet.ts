/** The topology of this package's own U-Net, which those of nnU-Net are, too. */
import type { Size3 } from '../size.ts';
import { isOnes, numbered, ones } from './blocks.ts';
import { headName, supervisedLevels } from './supervision.ts';
import { wholeConfig, type UNet3DConfig } from './config.ts';
import { Graph, type Layer, type Node, type Shape } from './graph.ts';
import { act } from './layers/act.ts';
import { conv } from './layers/conv.ts';
import { head, type HeadRecording, type Network } from './layers/head.ts';
import { norm } from './layers/norm.ts';
import { pad } from './layers/pad.ts';
import { pool } from './layers/pool.ts';
import { sum } from './layers/sum.ts';
import { upconv } from './layers/upconv.ts';

/** What the blocks of a level have in common. */
interface Level {
  readonly name: string;
  readonly channels: number;
  readonly kernel: Size3;
}

/** The network for batches of this many samples of this size, a multiple of `sizeMultiple`. */
export function unet(config: UNet3DConfig, shape: Omit<Shape, 'channels'>): Network {
  const { features, classes, inChannels, kernels, bias, slope, scaleAndShift, ...rest } = wholeConfig(config);
  /** Into each level from the one above; the first has none. */
  const strides = [ones, ...rest.strides];
  const graph = new Graph({ ...shape, channels: inChannels });
  /** A convolution with norm and, for values below 0, this slope. */
  const normed = (
    name: string,
    number: number | '',
    layer: Layer,
    below: number,
    ...inputs: Node[]
  ): Node => {
    const convolved = graph.add(`${name}.conv${number}`, layer, ...inputs);
    return graph.add(`${name}.norm${number}`, norm(rest.norm, below, { weighted: scaleAndShift }), convolved);
  };

  /** Plain blocks; the first one strides. */
  const plain = ({ name, channels, kernel }: Level, count: number, first: Size3, ...inputs: Node[]): Node => {
    let read = inputs;
    for (const number of numbered(count)) {
      const stride = number === 1 ? first : ones;
      read = [normed(name, number, conv(channels, { kernel, stride, bias }), slope, ...read)];
    }
    return read[0]!;
  };

  /** A residual block: what it adds to is pooled and projected as far as its stride and channels ask for. */
  const residual = ({ name, channels, kernel }: Level, stride: Size3, x: Node): Node => {
    const inner = normed(name, 1, conv(channels, { kernel, stride, bias }), slope, x);
    const own = normed(name, 2, conv(channels, { kernel, bias }), 1, inner);
    const pooled = rest.shortcut === 'pool' && !isOnes(stride);
    let skip = pooled ? graph.add(`${name}.skip.pool`, pool(stride, 'average'), x) : x;
    const left = pooled ? ones : stride;
    if (x.shape.channels !== channels || !isOnes(left))
      skip = normed(`${name}.skip`, '', conv(channels, { kernel: ones, stride: left, bias: false }), 1, skip);
    return graph.add(`${name}.act`, act(slope), graph.add(`${name}.sum`, sum, own, skip));
  };

  /** The blocks of a level of the encoder; the first one strides. */
  const encoded = (level: Level, count: number, first: Size3, x: Node): Node => {
    if (rest.block === 'plain') return plain(level, count, first, x);
    let read = x;
    for (const number of numbered(count)) {
      const block = { ...level, name: `${level.name}.block${number}` };
      read = residual(block, number === 1 ? first : ones, read);
    }
    return read;
  };

  /** What comes out of the encoder at each level, then of the decoder. */
  const levels: Node[] = [];
  let x = graph.image;
  if (rest.block === 'residual' && rest.stem)
    x = plain({ name: 'encoder.stem', channels: features[0]!, kernel: kernels[0]! }, 1, ones, x);
  for (const level of features.keys()) {
    const stride = strides[level]!;
    const pooled = rest.down === 'pool' && !isOnes(stride);
    if (pooled) x = graph.add(`encoder.${level}.pool`, pool(stride), x);
    const own = { name: `encoder.${level}`, channels: features[level]!, kernel: kernels[level]! };
    levels[level] = x = encoded(own, rest.encoderBlocks[level]!, pooled ? ones : stride, x);
  }
  for (let level = features.length - 2; level >= 0; level--) {
    const name = `decoder.${level}`;
    const skip = levels[level]!;
    const layer = upconv(rest.upFeatures[level]!, strides[level + 1]!, { bias: rest.upBias });
    let up = graph.add(`${name}.up`, layer, x);
    if (up.shape.size.join() !== skip.shape.size.join())
      up = graph.add(`${name}.pad`, pad(skip.shape.size), up);
    const kernel = rest.decoderKernels[level]!;
    const own = { name, channels: rest.decoderFeatures[level]!, kernel };
    levels[level] = x = plain(own, rest.decoderBlocks[level]!, ones, skip, up);
  }
  const supervised = supervisedLevels(config);
  const heads = supervised.map((level) => graph.add(headName(level), head(classes), levels[level]!));
  for (let level = supervised.length; level < rest.heads; level++)
    graph.add(headName(level), untrained(head(classes)), levels[level]!);
  return { graph, heads };
}

/** A head that has its parameters, but that nothing is computed from. */
const untrained = (layer: Layer<HeadRecording>): Layer => ({ ...layer, at: () => ({}) });
