/**
 * MONAI's networks with weights in its own files: logits, and gradients of all parameters and of the input, as MONAI's
 * code computes them in float64.
 */
import { expect, test } from 'vitest';
import { toOurs, toTheirs, weightsOf } from '../../src/interop/mapping.ts';
import { readNetwork } from '../../src/interop/monai/network.ts';
import { monaiMapping } from '../../src/interop/monai/weights.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { readStateDict } from '../../src/weights/pytorch/state-dict.ts';
import { interopFixture, interopFolder, type InteropFixture } from '../support/interop.ts';
import { expectForward } from '../support/network.ts';

interface MonaiFixture extends InteropFixture {
  readonly network: unknown;
  readonly files: readonly string[];
  /** Sizes that the strides do not divide. */
  readonly oddForward?: InteropFixture['forward'];
  /** All names in the order of the file, with their shapes. */
  readonly stateDict: Record<string, readonly number[]>;
}

const all = ['unet-res2', 'dynunet', 'dynunet-res', 'basicunet', 'segresnet'];
const names = typeof window === 'undefined' ? all : ['segresnet'];

for (const name of names)
  test(`monai-${name}`, async ({ skip }) => {
    const found = await interopFixture<MonaiFixture>(`monai-${name}`);
    if (!found) return skip(`${interopFolder} is not there`);
    const { fixture, bytesAt } = found;
    const described = readNetwork(fixture.network, 'fixture.json');
    const mapping = monaiMapping(described);
    expect(mapping.map(({ theirs }) => theirs)).toEqual(Object.keys(fixture.stateDict));
    const { parameters, statistics } = layoutParameters(described.config);
    const dict = await readStateDict(await bytesAt(fixture.files[0]!), fixture.files[0]);
    const file = { name: fixture.files[0]!, describedBy: 'fixture.json' };
    const ours = toOurs(mapping, dict, new Map([...parameters, ...statistics]), file);
    const weights = await weightsOf(described.config, ours);
    const theirs = (gradients: Parameters<typeof toTheirs>[1]) => toTheirs(mapping, gradients);
    for (const forward of [fixture.forward, ...(fixture.oddForward ? [fixture.oddForward] : [])]) {
      const beside = { ...found, fixture: { forward } };
      await expectForward(beside, described.config, weights, theirs, { axes: 'xyz' });
    }
  });
