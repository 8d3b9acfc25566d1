/** Voxels, or another measure, along x, y, z. */
export type Size3 = readonly [x: number, y: number, z: number];
