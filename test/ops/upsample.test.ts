/** Trilinear upsampling and its gradient against float64 loops and PyTorch: odd sizes, float16, tiny bindings. */
import { expect, test } from 'vitest';
import { Recorder, type PlanLimits } from '../../src/gpu/plan.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import type { Size3 } from '../../src/size.ts';
import { upsampleBackward, upsampleForward } from '../../src/ops/upsample.ts';
import fixture from '../fixtures/torch/upsample.json';
import { sum } from '../reference/sum.ts';
import { upsample, upsampleGradient } from '../reference/upsample.ts';
import { Bench, expectClose, expectSameBits, randomDense, type Dense } from '../support/run.ts';
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
  const [batch, channels, z, y, x] = source.shape;
  const target = bench.output('target', batch, channels, [2 * x, 2 * y, 2 * z]);
  upsampleForward(recorder, 'forward', bench.volume('source', source), target);
  const upstream = bench.volume('dTarget', dTarget);
  const dSource = bench.output('dSource', batch, channels, [x, y, z]);
  const added = bench.volume('added', before);
  upsampleBackward(recorder, 'backward', { dTarget: upstream, dSource });
  upsampleBackward(recorder, 'added', { dTarget: upstream, dSource: added }, true);
  await bench.run();
  return {
    output: (await bench.read(target)).data,
    dSource: (await bench.read(dSource)).data,
    added: (await bench.read(added)).data,
    dispatches: recorder.dispatches.length,
  };
}

test.each<[string, Size3, Partial<PlanLimits>?, Precision?]>([
  ['odd sizes', [7, 3, 5]],
  ['one voxel', [1, 1, 1]],
  ['float16', [5, 2, 3], {}, 'f16'],
  ['z-slabs', [6, 3, 7], { maxBindingBytes: 8192 }],
])('upsample: %s', async (_, [x, y, z], limits, precision) => {
  const source = randomDense([2, 3, z, y, x]);
  const before = randomDense(source.shape);
  const dTarget = randomDense([2, 3, 2 * z, 2 * y, 2 * x]);
  const found = await run(source, dTarget, before, limits, precision);
  const gradient = upsampleGradient(dTarget);
  const tolerance = precision === 'f16' ? 1e-3 : undefined;
  expectClose(found.output, upsample(source).data, 'output', tolerance);
  expectClose(found.dSource, gradient.data, 'gradient', tolerance);
  expectClose(found.added, sum(gradient, before).data, 'gradient on top of another', tolerance);
  if (!limits?.maxBindingBytes) return;
  const whole = await run(source, dTarget, before);
  expect(found.dispatches).toBeGreaterThan(whole.dispatches);
  for (const what of ['output', 'dSource', 'added'] as const) expectSameBits(found[what], whole[what], what);
});

test('upsample: as PyTorch computes it', async () => {
  const source = volume(fixture.input);
  const found = await run(source, volume(fixture.dOutput), source);
  expectClose(found.output, floats(fixture.output), 'output');
  expectClose(found.dSource, floats(fixture.dInput), 'gradient');
});

test('upsample refuses a volume that is not twice the size', () => {
  const recorder = new Recorder();
  const [source, target] = [recorder.volume('a', 1, 2, [4, 4, 4]), recorder.volume('b', 1, 2, [8, 8, 7])];
  expect(() => upsampleForward(recorder, 'op', source, target)).toThrow(
    'op: 1×[4,4,4] grows to [8,8,8], not to 1×[8,8,7]',
  );
});
