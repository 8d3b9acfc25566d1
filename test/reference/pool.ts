/** Max-pool 2×2×2, stride 2, and its gradient, in float64, by plain loops. */
import { dense, type Dense } from '../support/run.ts';

/** For each output voxel, the index of its maximum in the input: the first one in z, y, x order. */
function winners(input: Dense): { shape: Dense['shape']; from: number[] } {
  const [batch, channels, depth, height, width] = input.shape;
  const [d, h, w] = [depth >> 1, height >> 1, width >> 1];
  const from: number[] = [];
  for (let volume = 0; volume < batch * channels; volume++)
    for (let z = 0; z < d; z++)
      for (let y = 0; y < h; y++)
        for (let x = 0; x < w; x++) {
          let best = -1;
          for (const k of [2 * z, 2 * z + 1])
            for (const j of [2 * y, 2 * y + 1])
              for (const i of [2 * x, 2 * x + 1]) {
                const at = ((volume * depth + k) * height + j) * width + i;
                if (best < 0 || input.data[at]! > input.data[best]!) best = at;
              }
          from.push(best);
        }
  return { shape: [batch, channels, d, h, w], from };
}

export function pool(input: Dense): Dense {
  const { shape, from } = winners(input);
  return { shape, data: Float64Array.from(from, (at) => input.data[at]!) };
}

/** `dInput` holds what was there before: the gradient is added. */
export function poolGradient(input: Dense, dOutput: Dense, before: Dense): Dense {
  const dInput = dense(input.shape, (i) => before.data[i]!);
  winners(input).from.forEach((at, i) => {
    dInput.data[at]! += dOutput.data[i]!;
  });
  return dInput;
}
