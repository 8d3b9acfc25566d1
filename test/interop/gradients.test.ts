/**
 * Gradients of networks for which the tools' own are not stored, with the weights of their files: against the same network
 * written in PyTorch, in float64, which gives the tool's logits (test/fixtures/interop/make.py).
 */
import { expect, test } from 'vitest';
import { toTheirs, weightsOf, type Mapping } from '../../src/interop/mapping.ts';
import { monaiMapping } from '../../src/interop/monai/weights.ts';
import { openNnunet } from '../../src/interop/nnunet/folder.ts';
import { nnunetMapping } from '../../src/interop/nnunet/weights.ts';
import type { UNet3DConfig } from '../../src/model/config.ts';
import type { Weights } from '../../src/model/state.ts';
import reference from '../fixtures/interop/gradients.json';
import {
  interopFixture,
  interopFolder,
  monaiModel,
  nnunetFixture,
  type NnunetFixture,
} from '../support/interop.ts';
import { runNetwork, turned } from '../support/network.ts';
import type { Dense } from '../support/run.ts';

interface Opened {
  readonly config: UNet3DConfig;
  readonly weights: Weights;
  readonly mapping: Mapping;
  /** An array of the tool's with x fastest, or one of ours as the tool's. */
  readonly turn: (dense: Dense) => Dense;
}

async function opened(name: string): Promise<Opened | undefined> {
  const [tool, ...rest] = name.split('-');
  if (tool === 'monai') {
    const model = await monaiModel(rest.join('-'));
    if (!model) return undefined;
    const { config } = model.network;
    const weights = await weightsOf(config, model.weights);
    return { config, weights, mapping: monaiMapping(model.network), turn: turned };
  }
  const found = await nnunetFixture(rest.join('-'));
  if (!found) return undefined;
  const { config, folds } = await openNnunet(found.files);
  const weights = await weightsOf(config, folds[0]!.weights);
  return { config, weights, mapping: nnunetMapping(config), turn: (dense) => dense };
}

/** Numbers from -1 to 1, as make.py draws them. */
function noise(seed: number, shape: readonly number[]): Float64Array {
  const length = shape.reduce((product, n) => product * n, 1);
  return Float64Array.from({ length }, (_, at) => {
    let h = (at + (seed << 20)) >>> 0;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return ((h ^ (h >>> 16)) >>> 0) / 2 ** 31 - 1;
  });
}

test.for([
  'nnunet-plain-aniso',
  'nnunet-totalsegmentator',
  'monai-dynunet',
  'monai-dynunet-res',
  'monai-basicunet',
] as const)('%s', async (name, { skip }) => {
  const { shape, heads, gradients } = reference[name];
  const network = await opened(name);
  if (!network) return skip(`${interopFolder} is not there`);
  const { config, weights, mapping, turn } = network;
  const { canonicalNames } = (await interopFixture<NnunetFixture>(name))!.fixture;
  const drawn = (seed: number, of: readonly number[]): Dense =>
    turn({ shape: of as Dense['shape'], data: noise(seed, of) });
  const factors = heads.map((of, index): Dense => {
    const { shape, data } = drawn(2 + index, of);
    return { shape, data: data.map((value) => value / data.length) };
  });
  const found = await runNetwork(config, weights, drawn(1, shape), factors);
  expect(found.logits.map((head) => head.shape)).toEqual(factors.map((head) => head.shape));
  const named = toTheirs(mapping, found.gradients);
  const tensors = [...canonicalNames.map((key) => named.get(key)!), turn(found.inputGradient!)];
  expect(tensors.length).toBe(gradients.length);
  for (const [at, [norm, ...products]] of gradients.entries()) {
    const { shape, data } = tensors[at]!;
    const what = canonicalNames[at] ?? 'input';
    // Of float32; 0 but for rounding in front of a norm, which takes the mean away.
    const allowed = 1e-4 * norm! + 1e-6;
    expect(Math.abs(Math.hypot(...data) - norm!), what).toBeLessThanOrEqual(allowed);
    products.forEach((expected, k) => {
      const direction = noise(16 + 2 * at + k, shape);
      const product = direction.reduce((sum, value, i) => sum + value * data[i]!, 0);
      expect(Math.abs(product - expected), `${what}, direction ${k}`).toBeLessThanOrEqual(allowed);
    });
  }
});
