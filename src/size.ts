/** Of the network's grid: x to the right, y to the front, z up. */
export const allAxes = ['x', 'y', 'z'] as const;
/** An axis of the network's grid. */
export type Axis = (typeof allAxes)[number];

/** Voxels, or another measure, along x, y, z. */
export type Size3 = readonly [x: number, y: number, z: number];
