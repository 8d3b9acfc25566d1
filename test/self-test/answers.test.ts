/** What the self-test holds devices to: every kernel is tried, and stored answers are those of float64 loops and PyTorch. */
import { expect, test } from 'vitest';
import { opAnswers, pytorchLosses } from '../../scripts/self-test-answers.ts';
import { setAdapterProvider } from '../../src/gpu/device.ts';
import { requestNodeAdapter } from '../../src/gpu/node.ts';
import { defaultLimits, type PlanLimits } from '../../src/gpu/plan.ts';
import { shaders } from '../../src/generated/shaders.ts';
import { answers, losses } from '../../src/self-test/answers.ts';
import { OpBench } from '../../src/self-test/bench.ts';
import { conv3 } from '../../src/self-test/cases/convolutions.ts';
import { kernelsOf } from '../../src/gpu/passes.ts';
import { distance } from '../../src/model/tune.ts';
import { opCases } from '../../src/self-test/kernels.ts';
import { decodeSketch, encodeSketch, sketch } from '../../src/self-test/sketch.ts';
import { withoutPytorch } from '../support/python.ts';

test('every kernel belongs to an op that is tried', () => {
  const used = (limits: Partial<PlanLimits>, op = conv3) =>
    new OpBench(op, { ...defaultLimits, ...limits }).recorder.dispatches.map(({ shader }) => shader);
  const { kernels } = defaultLimits;
  const precision = 'f32';
  const units = { shapes: [{ m: 8, n: 8, k: 8 }], subgroup: 8, precisions: [precision] } as const;
  const tried = new Set([
    ...opCases.flatMap((op) => used({}, op)),
    ...kernelsOf({ kind: 'forward', precision }, units).flatMap((conv3) =>
      used({ kernels: { ...kernels, conv3 } as typeof kernels }),
    ),
    ...kernelsOf({ kind: 'weights', precision }, units).flatMap((conv3Weights) =>
      used({ kernels: { ...kernels, conv3Weights } as typeof kernels }),
    ),
  ]);
  // The probe measures speed; its result is not used.
  const left = Object.keys(shaders).filter((name) => !tried.has(name as never) && !name.startsWith('probe/'));
  expect(left).toEqual([]);
});

test('stored answers are those of the loops: else run `npx tsx scripts/self-test-answers.ts`', () => {
  const made = opAnswers();
  expect(Object.keys(answers)).toEqual(Object.keys(made));
  for (const [name, text] of Object.entries(made))
    expect(distance(decodeSketch(answers[name]!), decodeSketch(text)), name).toBeLessThan(1e-6);
});

test('stored losses are those of PyTorch', async ({ skip }) => {
  if (withoutPytorch !== undefined) skip(withoutPytorch);
  setAdapterProvider(requestNodeAdapter);
  const made = await pytorchLosses();
  expect(losses).toHaveLength(made.length);
  made.forEach((loss, i) => expect(losses[i]).toBeCloseTo(loss, 9));
});

test('a sketch shows a difference as large as it is, and a single wrong value in full', () => {
  const values = Float64Array.from({ length: 1000 }, (_, i) => Math.sin(i));
  const norm = Math.hypot(...values);
  const stored = decodeSketch(encodeSketch(sketch(values)));
  expect(Math.hypot(...stored) / norm).toBeGreaterThan(0.5);
  expect(Math.hypot(...stored) / norm).toBeLessThan(2);
  for (const at of [0, 31, 32, 999]) {
    const wrong = values.slice();
    wrong[at]! += 0.01;
    const difference = distance(sketch(wrong), stored) * Math.hypot(...stored);
    expect(difference).toBeCloseTo(0.01, 5);
  }
  const broken = values.slice();
  broken[500] = NaN;
  expect(distance(sketch(broken), stored)).toBeNaN();
});
