/** Gradients in pieces: each word is in one, and nothing before the update writes a piece after it was called whole. */
import { describe, expect, test } from 'vitest';
import { gradientPieces, updateBegins } from '../../src/distributed/pieces.ts';
import { writtenBindings } from '../../src/gpu/shader.ts';
import { completeConfig } from '../../src/model/complete-config.ts';
import { lossShape, weightedDice } from '../../src/model/losses.ts';
import { layoutParameters } from '../../src/model/parameters.ts';
import type { TrainingShape } from '../../src/model/plan-shape.ts';
import { planTraining } from '../../src/model/plan.ts';

const config = completeConfig({ inChannels: 1, classes: 3, features: [4, 8, 8, 16], deepSupervision: true });
const shape: TrainingShape = {
  config,
  size: [16, 16, 16],
  batch: 1,
  loss: lossShape(weightedDice(), 3),
  optimizer: { kind: 'adam' },
};
const layout = layoutParameters(config);

describe.each([
  ['one batch', {}],
  ['accumulated', { accumulate: 2 }],
  ['a frozen encoder', { freeze: 'encoder' as const }],
])('%s', (_, changes) => {
  const { plan } = planTraining({ ...shape, ...changes });
  const freeze = 'freeze' in changes ? changes.freeze : undefined;
  const pieces = gradientPieces(plan, layout, freeze, { pieces: 6, words: 64 });
  const name = 'accumulate' in changes ? 'accumulated' : 'gradients';

  test('cover what is trained, once', () => {
    const sorted = pieces.toSorted((a, b) => a.from - b.from);
    const trained = [...layout.parameters.values()].filter(
      ({ name: of }) => !freeze || !of.startsWith('encoder.'),
    );
    expect(sorted[0]!.from).toBe(trained[0]!.offset);
    sorted.slice(1).forEach((piece, i) => expect(piece.from).toBe(sorted[i]!.to));
    expect(sorted.at(-1)!.to).toBe(layout.trainedWords);
    expect(pieces.length).toBeGreaterThan(2);
  });

  test('are written to their last bit before they are called whole, and not after', () => {
    const last = new Int32Array(layout.parameterWords).fill(-1);
    plan.dispatches.slice(0, updateBegins(plan)).forEach(({ shader, bindings }, index) => {
      for (const [binding, { tensor, offset, size }] of Object.entries(bindings))
        if (tensor.name === name && writtenBindings(shader).has(binding))
          last.fill(index, offset / 4, (offset + size) / 4);
    });
    for (const { from, to, after } of pieces) expect(after).toBe(1 + Math.max(...last.subarray(from, to)));
    expect(pieces.map(({ after }) => after)).toEqual(pieces.map(({ after }) => after).sort((a, b) => a - b));
  });
});

test('those of the last layers are whole long before the backward pass ends', () => {
  const { plan } = planTraining(shape);
  const pieces = gradientPieces(plan, layout, undefined, { pieces: 6, words: 64 });
  const words = pieces.slice(0, -1).reduce((sum, { from, to }) => sum + to - from, 0);
  expect(words / layout.trainedWords).toBeGreaterThan(0.7);
  expect(pieces.at(-2)!.after).toBeLessThan(pieces.at(-1)!.after);
});
