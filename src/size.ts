/** An axis of the network's grid: x to the right, y to the front, z up. */
export type Axis = 'x' | 'y' | 'z';

/** Voxels, or another measure, along x, y, z. */
export type Size3 = readonly [x: number, y: number, z: number];
