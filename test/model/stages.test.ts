/**
 * Networks configured by stages against PyTorch in float64 (test/fixtures/pytorch_stages.py): names and shapes of the
 * parameters, logits, loss, every gradient, and what a step makes of them.
 */
import { describe, expect, test } from 'vitest';
import { soleRegion } from '../../src/data/regions.ts';
import { toDense, toStored } from '../../src/gpu/layout.ts';
import { Program } from '../../src/gpu/program.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import type { UNet3DConfig } from '../../src/model/config.ts';
import { diceCrossEntropy, lossOfHeads } from '../../src/model/losses.ts';
import { planInference } from '../../src/model/plan.ts';
import { ModelState } from '../../src/model/state.ts';
import type { Size3 } from '../../src/size.ts';
import { sgd } from '../../src/train/optimizers.ts';
import { TrainingSession } from '../../src/train/session.ts';
import { flatFrom, namedTensors } from '../../src/weights/named-tensors.ts';
import plain from '../fixtures/torch/stages-plain.json';
import region from '../fixtures/torch/stages-region.json';
import residual from '../fixtures/torch/stages-residual.json';
import { testDevice } from '../support/device.ts';
import { expectClose, relativeError } from '../support/run.ts';
import { bytes, floats, type PackedFloats } from '../support/torch.ts';

describe.each(Object.entries({ residual, plain, region }))('%s', (_, fixture) => {
  const config = completeConfig(fixture.config as unknown as UNet3DConfig);
  const size = fixture.size as unknown as Size3;
  const batchSize = 2;
  const weights: Record<string, PackedFloats> = fixture.weights;
  const image = Float32Array.from(floats(fixture.image));

  async function model(): Promise<ModelState> {
    const state = new ModelState(await testDevice(), config, 0);
    const { layout } = state;
    const tensors = new Map(
      Object.entries(weights).map(([name, one]) => [
        name,
        { shape: one.shape, data: Float32Array.from(floats(one)) },
      ]),
    );
    state.writeWeights({
      parameters: flatFrom(layout.parameters, layout.parameterWords, tensors),
      statistics: new Float32Array(layout.statisticsWords),
    });
    return state;
  }

  test('names and shapes of the parameters', async () => {
    const state = await model();
    const shapes = (entries: Iterable<readonly [string, { readonly shape: readonly number[] }]>) =>
      Object.fromEntries([...entries].map(([name, { shape }]) => [name, shape]));
    expect(shapes(state.layout.parameters)).toEqual(shapes(Object.entries(weights)));
    state.dispose();
  });

  test('logits', async () => {
    const state = await model();
    const planned = planInference({ config, size, batch: batchSize, limits: state.gpu.limits });
    const shared = await state.shared(['parameters', 'statistics']);
    const program = await Program.create(state.gpu, planned.plan, shared);
    program.write(planned.image, toStored(planned.image, image));
    await program.run();
    const logits = toDense(planned.logits, await program.read(planned.logits));
    expectClose(logits, floats(fixture.logits), 'logits', 1e-4);
    program.dispose();
    state.dispose();
  });

  test('loss, gradients of all parameters, and a step', async () => {
    const state = await model();
    const { learningRate, momentum, weightDecay } = fixture.sgd;
    const optimizer = sgd({ momentum, weightDecay });
    const session = await TrainingSession.create(state, {
      size,
      batchSize,
      loss: lossOfHeads(diceCrossEntropy(), config.classes === 1 ? soleRegion() : undefined),
      optimizer,
    });
    const { result } = await session.step([{ image, label: bytes(fixture.labels) }], {
      ...optimizer,
      learningRate,
      maxNorm: Infinity,
      applied: 0,
    });
    expectClose([(await result).loss], [fixture.loss], 'loss', 1e-5);
    const expected: Record<string, PackedFloats> = fixture.gradients;
    const norm = (values: ArrayLike<number>) => Math.hypot(...Array.from(values));
    for (const [name, { data }] of namedTensors(state.layout.parameters, await state.read('gradients'))) {
      const gradient = expected[name];
      // A head that no loss is computed from.
      if (!gradient) expect(norm(data), name).toBe(0);
      else if (/conv\d+\.bias$/.test(name)) {
        // A norm follows: the true gradient is zero.
        const weight = floats(expected[name.replace('bias', 'weight')]!);
        const difference = norm(floats(gradient).map((d, i) => data[i]! - d));
        expect(difference, name).toBeLessThanOrEqual(1e-5 * norm(weight));
      } else expect(relativeError(data, floats(gradient)), name).toBeLessThanOrEqual(1e-3);
    }

    const after = namedTensors(state.layout.parameters, await state.read('parameters'));
    for (const [name, one] of Object.entries(fixture.after as Record<string, PackedFloats>)) {
      const before = floats(weights[name]!);
      const change = (values: ArrayLike<number>) => before.map((value, i) => values[i]! - value);
      const data = after.get(name)!.data;
      // Without a gradient, no weight decay either.
      if (!expected[name]) expect(Float64Array.from(data), name).toEqual(before);
      else expect(relativeError(change(data), change(floats(one))), name).toBeLessThanOrEqual(1e-3);
    }
    session.dispose();
    state.dispose();
  });
});
