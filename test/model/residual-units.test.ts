/** MONAI's UNet as a configuration, against PyTorch in float64: logits, gradients of all parameters and of the image. */
import { expect, test } from 'vitest';
import { completeConfig } from '../../src/model/complete-config.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import { planTraining } from '../../src/model/plan.ts';
import type { Size3 } from '../../src/size.ts';
import fixture from '../fixtures/torch/residual-units.json';
import { runNetwork } from '../support/network.ts';
import { expectClose } from '../support/run.ts';
import { floats, volume, type PackedFloats } from '../support/torch.ts';

const config = completeConfig({
  architecture: 'residualUnits',
  inChannels: 1,
  classes: fixture.classes,
  features: fixture.features,
  norm: 'instance',
  activation: 'prelu',
  scaleAndShift: false,
  strides: fixture.strides as unknown as Size3[],
  units: 2,
});

test('logits and gradients', async () => {
  const layout = layoutParameters(config);
  const weights: Record<string, PackedFloats> = fixture.weights;
  expect([...layout.parameters.keys()].sort()).toEqual(Object.keys(weights).sort());
  const parameters = new Float32Array(layout.parameterWords);
  for (const { name, offset, shape } of layout.parameters.values()) {
    expect(shape).toEqual(weights[name]!.shape);
    parameters.set(floats(weights[name]!), offset);
  }
  const statistics = new Float32Array(layout.statisticsWords);
  const found = await runNetwork(config, { parameters, statistics }, volume(fixture.image), [
    volume(fixture.dLogits),
  ]);
  expectClose(found.logits[0]!.data, floats(fixture.logits), 'logits', 1e-5);
  expectClose(found.inputGradient!.data, floats(fixture.dImage), 'gradient of the image', 1e-4);
  for (const [name, packed] of Object.entries<PackedFloats>(fixture.gradients)) {
    const { data } = found.gradients.get(name)!;
    // A norm takes the mean away: the true gradient of a bias in front of it is zero.
    const isCentred = /(unit\d\.conv|\.up)\.bias$/.test(name) && name !== 'decoder.0.unit1.conv.bias';
    if (isCentred) expect(Math.max(...data.map(Math.abs)), name).toBe(0);
    else expectClose(data, floats(packed), name, 1e-4);
  }
});

test('a step does not keep what it makes again at nearly no cost', () => {
  const loss = { classes: 2, dice: 1, crossEntropy: 1, smooth: 1e-5, batchDice: false };
  const shape = { config, size: [32, 32, 32] as Size3, batch: 1, loss, optimizer: { kind: 'adam' } as const };
  const { plan, recomputed } = planTraining(shape);
  expect(recomputed).toContain('encoder.0.unit1.act');
  expect(recomputed).toContain('encoder.1.sum');
  expect(planTraining({ ...shape, keepAll: true }).plan.flops).toBeLessThan(plan.flops);
});
