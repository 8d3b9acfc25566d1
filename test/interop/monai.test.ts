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
import { expectForward, runNetwork, turned } from '../support/network.ts';
import type { Dense } from '../support/run.ts';

interface MonaiFixture extends InteropFixture {
  readonly network: unknown;
  readonly files: readonly string[];
  /** Sizes that the strides do not divide. */
  readonly oddForward?: InteropFixture['forward'];
  /** What the network gives while it trains with deep supervision: all heads in one array, brought to the finest size. */
  readonly trainingForward?: InteropFixture['forward'];
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
      await expectForward(beside, described.config, weights, theirs, [2, 1, 0]);
    }
    if (!fixture.trainingForward) return;
    const {
      input,
      outputs: [stack],
    } = fixture.trainingForward;
    const stored = await found.floatsAt(`forward/${input.file}`);
    const image = turned({ shape: input.shape as Dense['shape'], data: Float64Array.from(stored) });
    const { logits } = await runNetwork(described.config, weights, image);
    const [, heads, classes, ...size] = stack!.shape as [1, number, number, number, number, number];
    expect(logits.length).toBe(heads);
    const expected = await found.floatsAt(`forward/${stack!.file}`);
    const length = classes * size[0] * size[1] * size[2];
    logits.forEach((head, index) => {
      const whole = turned({
        shape: [1, classes, ...size],
        data: Float64Array.from(expected.subarray(index * length, (index + 1) * length)),
      });
      const { data } = repeated(head, whole.shape);
      const most = data.reduce((sum, value, at) => Math.max(sum, Math.abs(value - whole.data[at]!)), 0);
      expect(most, `head ${index}`).toBeLessThanOrEqual(1e-4 * stack!.maxAbs);
    });
  });

/** Each voxel as often as the larger size asks for. */
function repeated({ shape: from, data }: Dense, shape: Dense['shape']): Dense {
  const [n, c, z, y, x] = shape;
  const result = new Float64Array(n * c * z * y * x);
  for (let at = 0; at < result.length; at++) {
    const [i, j, k] = [at % x, Math.floor(at / x) % y, Math.floor(at / (x * y)) % z];
    const channel = Math.floor(at / (x * y * z));
    const [i0, j0, k0] = [(i * from[4]) / x, (j * from[3]) / y, (k * from[2]) / z].map(Math.floor);
    result[at] = data[((channel * from[2] + k0!) * from[3] + j0!) * from[4] + i0!]!;
  }
  return { shape, data: result };
}
