/** Learning-rate schedules against PyTorch's, step by step (test/fixtures/pytorch.py). */
import { describe, expect, test } from 'vitest';
import { InvalidOption } from '../../src/errors.ts';
import { constant, cosine, oneCycle, poly, scheduleAt, type Schedule } from '../../src/train/schedules.ts';
import fixture from '../fixtures/torch/schedules.json';

interface Options {
  max_lr: number;
  pct_start?: number;
  div_factor?: number;
  final_div_factor?: number;
  anneal_strategy?: string;
  three_phase?: boolean;
  cycle_momentum?: boolean;
  base_momentum?: number;
  max_momentum?: number;
  power?: number;
}

/** The same schedule by this package's names. */
function scheduleOf(options: Options): Schedule {
  if (options.power !== undefined) return poly({ learningRate: options.max_lr, power: options.power });
  const given = {
    pctStart: options.pct_start,
    divFactor: options.div_factor,
    finalDivFactor: options.final_div_factor,
    anneal: options.anneal_strategy,
    threePhase: options.three_phase,
    cycleMomentum: options.cycle_momentum,
    baseMomentum: options.base_momentum,
    maxMomentum: options.max_momentum,
  };
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return oneCycle({ maxLearningRate: options.max_lr, ...set });
}

const cases: [string, { total: number; options: Options; rows: number[][] }][] = Object.entries(fixture);

test.each(cases)('%s', (_, { total, options, rows }) => {
  const schedule = scheduleOf(options);
  expect(rows).toHaveLength(total);
  rows.forEach(([learningRate, momentum], step) => {
    const value = scheduleAt(schedule, step, total);
    expect(Math.abs(value.learningRate / learningRate! - 1), `step ${step}`).toBeLessThan(1e-9);
    const cycles = schedule.name === 'oneCycle' && schedule.cycleMomentum;
    if (cycles) expect(value.momentum, `momentum at ${step}`).toBeCloseTo(momentum!, 12);
    else expect(value.momentum).toBeUndefined();
  });
});

test('poly in stages is constant within each, and then as it would be at their first step', () => {
  const [epochs, steps] = [7, 30];
  const smooth = poly({ learningRate: 0.01 });
  const staged = poly({ learningRate: 0.01, stages: epochs });
  for (let step = 0; step < epochs * steps; step++) {
    const first = step - (step % steps);
    expect(scheduleAt(staged, step, epochs * steps)).toEqual(scheduleAt(smooth, first, epochs * steps));
  }
});

describe('OneCycle', () => {
  test('whose first phase is one step begins at the top', () => {
    const schedule = oneCycle({ maxLearningRate: 1, pctStart: 0.1 }); // PyTorch divides by zero here
    expect(scheduleAt(schedule, 0, 10).learningRate).toBe(1);
    expect(scheduleAt(schedule, 9, 10).learningRate).toBeCloseTo(1 / 25e4, 12);
  });

  test.each([
    [{ pctStart: 1.5 }, 'pctStart is 1.5'],
    [{ divFactor: 0 }, 'divFactor is 0'],
    [{ finalDivFactor: -1 }, 'finalDivFactor is -1'],
  ])('refuses %o', (options, message) => {
    const make = () => oneCycle({ maxLearningRate: 1, ...options });
    expect(make).toThrow(InvalidOption);
    expect(make).toThrow(message);
  });
});

describe('others', () => {
  test('cosine rises for its warm-up and falls to the end', () => {
    const schedule = cosine({ learningRate: 1, finalLearningRate: 0.1, warmup: 0.2 });
    const rates = Array.from({ length: 20 }, (_, step) => scheduleAt(schedule, step, 20).learningRate);
    expect(rates.slice(0, 4)).toEqual([0.25, 0.5, 0.75, 1]);
    for (let step = 5; step < 20; step++) expect(rates[step]).toBeLessThan(rates[step - 1]!);
    expect(rates[19]).toBeGreaterThan(0.1);
  });

  test('constant stays', () => {
    expect(scheduleAt(constant({ learningRate: 0.3 }), 7, 8)).toEqual({ learningRate: 0.3 });
  });

  test.each([-1, 8, NaN])('step %s of 8 is refused', (step) => {
    expect(() => scheduleAt(constant({ learningRate: 0.3 }), step, 8)).toThrow(InvalidOption);
  });
});
