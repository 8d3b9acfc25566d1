/** The network that a configuration describes: everything else about it follows from its graph. */
import type { UNet3DConfig } from './config.ts';
import type { Shape } from './graph.ts';
import type { Network } from './layers/head.ts';
import { residualUnits } from './residual-units.ts';
import { segResNet } from './seg-res-net.ts';
import { unet } from './unet.ts';

const topologies = { unet, residualUnits, segResNet };

/** The network for batches of this many samples of this size, a multiple of `sizeMultiple`. */
export const network = (config: UNet3DConfig, shape: Omit<Shape, 'channels'>): Network =>
  topologies[config.architecture ?? 'unet'](config, shape);
