/** Max-pool and average-pool of windows as large as their strides, and their gradients, in float64, by plain loops. */
import type { Size3 } from '../../src/size.ts';
import { dense, type Dense } from '../support/dense.ts';

/** For each output voxel, the index of its maximum in the input: the first one in z, y, x order. */
function winners(input: Dense, [sx, sy, sz]: Size3): { shape: Dense['shape']; from: number[] } {
  const [batch, channels, depth, height, width] = input.shape;
  const [d, h, w] = [Math.floor(depth / sz), Math.floor(height / sy), Math.floor(width / sx)];
  const from: number[] = [];
  for (let volume = 0; volume < batch * channels; volume++)
    for (let z = 0; z < d; z++)
      for (let y = 0; y < h; y++)
        for (let x = 0; x < w; x++) {
          let best = -1;
          for (let k = sz * z; k < sz * (z + 1); k++)
            for (let j = sy * y; j < sy * (y + 1); j++)
              for (let i = sx * x; i < sx * (x + 1); i++) {
                const at = ((volume * depth + k) * height + j) * width + i;
                if (best < 0 || input.data[at]! > input.data[best]!) best = at;
              }
          from.push(best);
        }
  return { shape: [batch, channels, d, h, w], from };
}

/** Visits every voxel of every window with the window's number. */
function eachWindow(input: Dense, [sx, sy, sz]: Size3, visit: (from: number, to: number) => void): void {
  const [batch, channels, depth, height, width] = input.shape;
  const [d, h, w] = [Math.floor(depth / sz), Math.floor(height / sy), Math.floor(width / sx)];
  for (let volume = 0; volume < batch * channels; volume++)
    for (let z = 0; z < sz * d; z++)
      for (let y = 0; y < sy * h; y++)
        for (let x = 0; x < sx * w; x++) {
          const [k, j, i] = [Math.floor(z / sz), Math.floor(y / sy), Math.floor(x / sx)];
          visit(((volume * depth + z) * height + y) * width + x, ((volume * d + k) * h + j) * w + i);
        }
}

export function pool(input: Dense, stride: Size3 = [2, 2, 2]): Dense {
  const { shape, from } = winners(input, stride);
  return { shape, data: Float64Array.from(from, (at) => input.data[at]!) };
}

/** Mean of each window. */
export function averagePool(input: Dense, stride: Size3): Dense {
  const output = dense(winners(input, stride).shape);
  eachWindow(input, stride, (from, to) => {
    output.data[to]! += input.data[from]! / (stride[0] * stride[1] * stride[2]);
  });
  return output;
}

/** `dInput` holds what was there before: the gradient is added. */
export function averagePoolGradient(dOutput: Dense, before: Dense, stride: Size3): Dense {
  const dInput = dense(before.shape, (i) => before.data[i]!);
  eachWindow(before, stride, (from, to) => {
    dInput.data[from]! += dOutput.data[to]! / (stride[0] * stride[1] * stride[2]);
  });
  return dInput;
}

/** `dInput` holds what was there before: the gradient is added. */
export function poolGradient(input: Dense, dOutput: Dense, before: Dense, stride: Size3 = [2, 2, 2]): Dense {
  const dInput = dense(input.shape, (i) => before.data[i]!);
  winners(input, stride).from.forEach((at, i) => {
    dInput.data[at]! += dOutput.data[i]!;
  });
  return dInput;
}
