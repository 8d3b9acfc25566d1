/** Label values as files hold them. */

/** Scaled integers leave no more than this of a whole number: 0.99998 in a file is a 1. */
const nearly = 1e-3;

/** The label that a voxel's value stands for: the whole number that it nearly is, else the value itself. */
export function labelOf(value: number): number {
  const whole = Math.round(value);
  return Math.abs(value - whole) <= nearly ? whole + 0 : value;
}

/** The highest label of some voxels that may be a class, 0 if there is none. */
export function highestLabel(data: ArrayLike<number>, ignoreLabel?: number): number {
  let most = 0;
  for (let at = 0; at < data.length; at++) {
    const label = labelOf(data[at]!);
    if (Number.isInteger(label) && label > most && label < 255 && label !== ignoreLabel) most = label;
  }
  return most;
}
