/** Trilinear interpolation to twice the size and its gradient, in float64, as PyTorch defines it (align_corners=false). */
import { dense, type Dense } from '../support/dense.ts';

/** Visits every input voxel that an output voxel is made of, with its weight. */
function eachShare(
  [batch, channels, depth, height, width]: Dense['shape'],
  visit: (output: number, input: number, weight: number) => void,
): void {
  const along = (at: number, length: number): [number, number][] => {
    const place = Math.max(0, (at + 0.5) / 2 - 0.5);
    const low = Math.floor(place);
    return [
      [low, 1 - (place - low)],
      [Math.min(low + 1, length - 1), place - low],
    ];
  };
  const [d, h, w] = [2 * depth, 2 * height, 2 * width];
  for (let n = 0; n < batch * channels; n++)
    for (let z = 0; z < d; z++)
      for (let y = 0; y < h; y++)
        for (let x = 0; x < w; x++)
          for (const [k, wk] of along(z, depth))
            for (const [j, wj] of along(y, height))
              for (const [i, wi] of along(x, width))
                visit(
                  ((n * d + z) * h + y) * w + x,
                  ((n * depth + k) * height + j) * width + i,
                  wk * wj * wi,
                );
}

export function upsample(source: Dense): Dense {
  const [n, c, z, y, x] = source.shape;
  const output = dense([n, c, 2 * z, 2 * y, 2 * x]);
  eachShare(source.shape, (to, from, weight) => (output.data[to]! += weight * source.data[from]!));
  return output;
}

export function upsampleGradient(dOutput: Dense): Dense {
  const [n, c, z, y, x] = dOutput.shape;
  const dInput = dense([n, c, z / 2, y / 2, x / 2]);
  eachShare(dInput.shape, (to, from, weight) => (dInput.data[from]! += weight * dOutput.data[to]!));
  return dInput;
}
