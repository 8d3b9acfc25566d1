/**
 * Tile sizes of the convolution kernels that work from workgroup memory, by the name under which a plan
 * chooses them. Devices differ in how much of that memory and how many threads a workgroup may have.
 */

/** What a kernel asks of a device beyond WebGPU's least: bytes of workgroup memory, threads of a workgroup. */
export interface Needs {
  readonly bytes: number;
  readonly threads: number;
}

export function fits({ bytes, threads }: Needs, limits: GPUSupportedLimits): boolean {
  const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX } =
    limits;
  const most = Math.min(maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX);
  return bytes <= maxComputeWorkgroupStorageSize && threads <= most;
}

/** Sizes from which the constants of conv3/forward_tiled follow. */
export interface ForwardTile {
  /**
   * Threads along x (each takes a quad), y and z. There are at least as many as quads in a plane with its halo,
   * (quads + 2) × (rows × lines + 2): each stages one.
   */
  readonly quads: number;
  readonly lines: number;
  readonly planes: number;
  /** Rows of y of one thread: two with eight output channels, or one with sixteen. */
  readonly rows: 1 | 2;
  /**
   * Quads between staged rows, `quads` + 2 or more. Eight threads read 16 bytes each from all 32 banks at once;
   * where they span several rows, rows × pitch modulo 8 must set these side by side.
   */
  readonly pitch: number;
}

/** Names say voxels of a workgroup along x, y, z, then output channels. */
export const forwardTiles = {
  'tiled 32x8x4, 8': { quads: 8, lines: 4, planes: 4, rows: 2, pitch: 10 },
  'tiled 32x8x4, 16': { quads: 8, lines: 8, planes: 4, rows: 1, pitch: 10 },
  'tiled 32x8x8, 8': { quads: 8, lines: 4, planes: 8, rows: 2, pitch: 10 },
  'tiled 16x8x4, 8': { quads: 4, lines: 4, planes: 4, rows: 2, pitch: 6 },
  'tiled 16x8x8, 8': { quads: 4, lines: 4, planes: 8, rows: 2, pitch: 6 },
  'tiled 16x8x4, 16': { quads: 4, lines: 8, planes: 4, rows: 1, pitch: 6 },
  'tiled 16x8x8, 16': { quads: 4, lines: 8, planes: 8, rows: 1, pitch: 6 },
  'tiled 8x8x8, 8': { quads: 2, lines: 4, planes: 8, rows: 2, pitch: 5 },
  'tiled 8x8x8, 16': { quads: 2, lines: 8, planes: 8, rows: 1, pitch: 6 },
} as const satisfies Readonly<Record<string, ForwardTile>>;

/** A tiled kernel of convolutions, by the sizes of its tiles. */
export type ForwardTileName = keyof typeof forwardTiles;

export const isForwardTile = (name: string): name is ForwardTileName => Object.hasOwn(forwardTiles, name);

export const forwardConstants = ({ quads, lines, planes, rows, pitch }: ForwardTile) => ({
  QUADS: quads,
  LINES: lines,
  PLANES: planes,
  ROWS: rows,
  PITCH: pitch,
});

export function forwardNeeds({ quads, lines, planes, rows, pitch }: ForwardTile): Needs {
  const staged = (planes + 2) * (rows * lines + 2) * pitch;
  return { bytes: 16 * staged, threads: quads * lines * planes };
}

/** Sizes from which the constants of conv3/weight_gradient_tiled follow, once the input channels are known. */
export interface WeightTile {
  /** Input channels of a workgroup; where there are fewer, several threads share a pair of channels. */
  readonly columns: number;
  /** Threads along the output channels, and output channels of each: 4 or 8. */
  readonly groups: number;
  readonly outs: 4 | 8;
  /** A staged block of the gradient: quads along x, rows of y. */
  readonly quads: number;
  readonly lines: number;
}

/** Names say input by output channels of a workgroup, voxels of a block, then output channels of a thread. */
export const weightTiles = {
  'tiled 8x16, 16x2, 4': { columns: 8, groups: 4, outs: 4, quads: 4, lines: 2 },
  'tiled 8x32, 16x2, 4': { columns: 8, groups: 8, outs: 4, quads: 4, lines: 2 },
  'tiled 8x32, 16x2, 8': { columns: 8, groups: 4, outs: 8, quads: 4, lines: 2 },
  'tiled 16x16, 16x2, 8': { columns: 16, groups: 2, outs: 8, quads: 4, lines: 2 },
  'tiled 16x32, 16x2, 8': { columns: 16, groups: 4, outs: 8, quads: 4, lines: 2 },
} as const satisfies Readonly<Record<string, WeightTile>>;

/** A tiled kernel of weight gradients, by the sizes of its tiles. */
export type WeightTileName = keyof typeof weightTiles;

export const isWeightTile = (name: string): name is WeightTileName => Object.hasOwn(weightTiles, name);

/** The kernel's constants for a source of so many channels. */
export function weightConstants({ columns, groups, outs, quads, lines }: WeightTile, channels: number) {
  let inputs = 1;
  while (inputs < Math.min(columns, channels)) inputs *= 2;
  const lanes = columns / inputs;
  const wide = Math.max(quads, lanes);
  // Eight threads read 16 bytes each from all 32 banks at once: lanes side by side, then input channels.
  let span = (lines + 2) * (wide + 2);
  while (lanes < 8 && span % (2 * lanes) !== lanes) span++;
  return { INPUTS: inputs, LANES: lanes, GROUPS: groups, OUTS: outs, QUADS: wide, LINES: lines, SPAN: span };
}

/** Fewer input channels than columns need less. */
export function weightNeeds(tile: WeightTile, channels = tile.columns): Needs {
  const { INPUTS, LANES, GROUPS, OUTS, QUADS, LINES, SPAN } = weightConstants(tile, channels);
  return {
    bytes: 16 * (3 * INPUTS * SPAN + OUTS * GROUPS * LINES * QUADS),
    threads: LANES * INPUTS * 3 * GROUPS,
  };
}
