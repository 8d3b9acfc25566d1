/** The self-test from beginning to end, with next to no time for kernels: test/self-test/self-test.test.ts tries some. */
import { expect, onTestFinished, test, vi } from 'vitest';
import { Aborted } from '../../src/errors.ts';
import { Program } from '../../src/gpu/program.ts';
import { readJson } from '../../src/json.ts';
import { trialsOf } from '../../src/self-test/kernels.ts';
import { reportSchema } from '../../src/self-test/report.ts';
import { runSelfTest } from '../../src/self-test/run.ts';
import { version } from '../../src/version.ts';
import { testDevice } from '../support/device.ts';

/** Counts how often the plans of single passes are run, by what they compute. */
function countedRuns(): Map<string, number> {
  const counts = new Map<string, number>();
  const count = ({ plan }: Program): void => {
    const label = plan.dispatches[0]!.label.split(' ')[0]!;
    counts.set(label, (counts.get(label) ?? 0) + 1);
  };
  const { run, profile } = Program.prototype; // oxlint-disable-line typescript/unbound-method
  const runs = vi.spyOn(Program.prototype, 'run').mockImplementation(function (this: Program, options) {
    count(this);
    return run.call(this, options);
  });
  const profiles = vi.spyOn(Program.prototype, 'profile').mockImplementation(function (this: Program, to) {
    count(this);
    return profile.call(this, to);
  });
  onTestFinished(() => [runs, profiles].forEach((spy) => spy.mockRestore()));
  return counts;
}

test('the report says what was tried, what was left, how long kernels took, and what the device is', async () => {
  const gpu = await testDevice();
  const runs = countedRuns();
  const parts: string[] = [];
  const report = await runSelfTest(gpu, {
    kernelsMs: 0,
    stopIfAsked: () => undefined,
    onProgress: (part, done, all) => void parts.push(`${part}: ${done} of ${all}`),
  });
  const trials = trialsOf(gpu);
  expect(report.kernels.length + report.left.length).toBe(trials.length);
  expect(report.left.length).toBeGreaterThanOrEqual(trials.length - 1);
  expect(new Set(report.left).size).toBe(report.left.length);
  expect(parts).toHaveLength(report.kernels.length + 2);
  expect(parts.at(-1)).toBe(`times: ${parts.length - 1} of ${trials.length + 2}`);
  // Losses are PyTorch's.
  expect(report.training).toMatchObject({ right: true, sameBits: true });
  expect(report).toMatchObject({
    version,
    adapter: gpu.identity,
    adapterClass: gpu.adapterClass,
    right: true,
  });
  expect(report.features).toEqual([...gpu.device.features].sort());
  expect(report.limits['maxBufferSize']).toBe(gpu.device.limits.maxBufferSize);
  if (gpu.device.features.has('timestamp-query')) expect(report.timings).toHaveLength(2);
  for (const { pass, kernel, ms, gflops } of report.timings) {
    const kind = pass.split(' ')[0]!;
    expect(kernel).toBe(gpu.limits.kernels[kind === 'forward' ? 'conv3' : 'conv3Weights']);
    expect(gflops * ms * 1e6).toBeCloseTo(
      2 * 27 * 16 * 16 * Number(pass.split(' ')[2]!.split('x')[0]) ** 3,
      -6,
    );
    // Those that only warm it up, and three at least that count.
    expect(runs.get(kind)).toBeGreaterThanOrEqual(5);
  }
  expect(readJson(JSON.stringify(report), reportSchema, (problem) => new Error(problem))).toEqual(report);
});

test('it ends where it is asked to', async () => {
  const stopIfAsked = (): void => {
    throw new Aborted('stopped');
  };
  const stopped = runSelfTest(await testDevice(), { stopIfAsked, onProgress: undefined });
  await expect(stopped).rejects.toThrow(Aborted);
});
