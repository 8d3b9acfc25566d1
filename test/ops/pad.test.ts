/** Padding with the last voxels and its gradient against PyTorch and float64 loops: odd sizes, float16, tiny bindings. */
import { expect, test } from 'vitest';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import type { Size3 } from '../../src/size.ts';
import { padBackward, padForward } from '../../src/ops/pad.ts';
import fixture from '../fixtures/torch/pad.json';
import { sum } from '../reference/sum.ts';
import { Bench, dense, expectClose, expectSameBits, randomDense, type Dense } from '../support/run.ts';
import { floats, volume } from '../support/torch.ts';

async function run(
  source: Dense,
  dTarget: Dense,
  before: Dense,
  limits: Partial<PlanLimits> = {},
  precision?: Precision,
) {
  using bench = new Bench(limits, precision);
  const { recorder } = bench;
  const sizeOf = ({ shape: [, , z, y, x] }: Dense): Size3 => [x, y, z];
  const [batch, channels] = source.shape;
  const target = bench.output('target', batch, channels, sizeOf(dTarget));
  padForward(recorder, 'forward', bench.volume('source', source), target);
  const upstream = bench.volume('dTarget', dTarget);
  const dSource = bench.output('dSource', batch, channels, sizeOf(source));
  const added = bench.volume('added', before);
  padBackward(recorder, 'backward', { dTarget: upstream, dSource });
  padBackward(recorder, 'added', { dTarget: upstream, dSource: added }, true);
  await bench.run();
  return {
    output: (await bench.read(target)).data,
    dSource: (await bench.read(dSource)).data,
    added: (await bench.read(added)).data,
    dispatches: recorder.dispatches.length,
  };
}

/** For each voxel of the padded volume, the one of the source that it is. */
function places([n, c, z, y, x]: Dense['shape'], padded: Dense['shape']): number[] {
  const [, , d, h, w] = padded;
  return Array.from({ length: n * c * d * h * w }, (_, at) => {
    const [i, j, k] = [at % w, Math.floor(at / w) % h, Math.floor(at / (w * h)) % d];
    const channel = Math.floor(at / (w * h * d));
    return ((channel * z + Math.min(k, z - 1)) * y + Math.min(j, y - 1)) * x + Math.min(i, x - 1);
  });
}

test.each<[string, Size3, Size3, Partial<PlanLimits>?, Precision?]>([
  ['a quad more along x', [4, 2, 6], [5, 2, 6]],
  ['along y and z, in float16', [6, 4, 2], [6, 5, 3], {}, 'f16'],
  ['z-slabs', [10, 6, 6], [11, 7, 7], { maxBindingBytes: 6144 }],
])('pad: %s', async (_, [x, y, z], [w, h, d], limits, precision) => {
  const source = randomDense([2, 3, z, y, x]);
  const before = randomDense(source.shape);
  const dTarget = randomDense([2, 3, d, h, w]);
  const found = await run(source, dTarget, before, limits, precision);
  const from = places(source.shape, dTarget.shape);
  const gradient = dense(source.shape);
  from.forEach((place, at) => (gradient.data[place]! += dTarget.data[at]!));
  const tolerance = precision === 'f16' ? 1e-3 : undefined;
  const copies = from.map((place) => source.data[place]!);
  expectClose(found.output, copies, 'output', tolerance);
  expectClose(found.dSource, gradient.data, 'gradient', tolerance);
  expectClose(found.added, sum(gradient, before).data, 'gradient on top of another', tolerance);
  if (!limits?.maxBindingBytes) return;
  const whole = await run(source, dTarget, before);
  expect(found.dispatches).toBeGreaterThan(whole.dispatches);
  for (const what of ['output', 'dSource', 'added'] as const) expectSameBits(found[what], whole[what], what);
});

test('pad: as PyTorch computes it', async () => {
  const source = volume(fixture.input);
  const found = await run(source, volume(fixture.dOutput), source);
  expectClose(found.output, floats(fixture.output), 'output');
  expectClose(found.dSource, floats(fixture.dInput), 'gradient');
});

test('pad refuses a smaller volume', () => {
  const recorder = new Recorder();
  const [source, target] = [recorder.volume('a', 1, 2, [4, 4, 4]), recorder.volume('b', 1, 2, [5, 3, 4])];
  expect(() => padForward(recorder, 'op', source, target)).toThrow(
    'op: 1×2×[4,4,4] cannot be padded to 1×2×[5,3,4]',
  );
});
