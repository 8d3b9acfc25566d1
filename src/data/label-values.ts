/** Label values as files hold them. */

/** Scaled integers leave no more than this of a whole number: 0.99998 in a file is a 1. */
const nearly = 1e-3;

/** The label that a voxel's value stands for: the whole number that it nearly is, else the value itself. */
export function labelOf(value: number): number {
  const whole = Math.round(value);
  return Math.abs(value - whole) <= nearly ? whole + 0 : value;
}
