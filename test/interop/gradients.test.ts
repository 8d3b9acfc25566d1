/**
 * Gradients of MONAI's networks for which MONAI's own are not stored: with the weights of its files, a parameter tensor
 * moved along its gradient changes the loss by as much as the gradient says. The loss is linear in all heads, and summed
 * up in float64 from the network's logits.
 */
import { expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import { weightsOf } from '../../src/interop/mapping.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { interopFolder, monaiModel } from '../support/interop.ts';
import { runNetwork } from '../support/network.ts';
import type { Dense } from '../support/run.ts';

const noise = (shape: Dense['shape'], name: string): Dense => {
  const source = random(3, name);
  const length = shape.reduce((product, n) => product * n, 1);
  return { shape, data: Float64Array.from({ length }, () => source.normal()) };
};

test.for([
  ['dynunet', 16, 16, 16],
  ['dynunet-res', 16, 16, 16],
  ['basicunet', 33, 34, 17], // odd sizes, and more than two voxels in the last norm, which is steep there
] as const)('monai-%s', async ([name, ...size], { skip }) => {
  const model = await monaiModel(name);
  if (!model) return skip(`${interopFolder} is not there`);
  const { config } = model.network;
  const weights = await weightsOf(config, model.weights);
  const image = noise([1, config.inChannels, ...size], 'image');
  const { logits } = await runNetwork(config, weights, image);
  const factors = logits.map(({ shape }, head) => {
    const { data } = noise(shape, `head ${head}`);
    return { shape, data: data.map((value) => value / data.length) };
  });
  const { gradients } = await runNetwork(config, weights, image, factors);
  const lossWith = async (parameters: Float32Array<ArrayBuffer>): Promise<number> => {
    const found = await runNetwork(config, { ...weights, parameters }, image);
    return found.logits.reduce(
      (sum, { data }, head) =>
        sum + factors[head]!.data.reduce((part, factor, at) => part + factor * data[at]!, 0),
      0,
    );
  };
  const { parameters } = layoutParameters(config);
  const errors: number[] = [];
  // Every fifth: blocks repeat after six, so that tensors of all kinds are among them.
  for (const [tensor, { data }] of [...gradients].filter((_, index) => index % 5 === 0)) {
    const norm = Math.hypot(...Array.from(data));
    if (norm < 1e-5) continue; // in front of a norm, which takes the mean away
    const { offset } = parameters.get(tensor)!;
    const at = (distance: number): Promise<number> => {
      const moved = weights.parameters.slice();
      data.forEach((d, i) => (moved[offset + i]! += (distance * d) / norm));
      return lossWith(moved);
    };
    // Small, because rectifiers and maxima that switch within the step spoil the difference.
    const h = 1e-3;
    const slope = ((await at(h)) - (await at(-h))) / (2 * h);
    errors.push(Math.abs(slope / norm - 1));
    expect(errors.at(-1)!, `${tensor}: ${slope} by differences, ${norm}`).toBeLessThan(0.1);
  }
  errors.sort((a, b) => a - b);
  expect(errors.length).toBeGreaterThan(6);
  expect(errors[errors.length >> 1]!, 'median').toBeLessThan(0.01);
});
