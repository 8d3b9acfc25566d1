/** Measuring by the host's clock, on a made-up device whose speed, round trip and clock are known. */
import { describe, expect, test } from 'vitest';
import { emptyRound, type Clock } from '../../src/gpu/clock.ts';
import type { PipelineCache } from '../../src/gpu/pipelines.ts';
import { multiplyAddSpeed } from '../../src/gpu/speed.ts';
import { ClockTooCoarse, hostTime, isCoarse } from '../../src/model/pass-bench.ts';
import { testDevice } from '../support/device.ts';

await testDevice(); // brings WebGPU's constants

interface Made {
  /** Floating-point operations per millisecond. */
  readonly speed?: number;
  /** Milliseconds of a round trip. */
  readonly trip: number;
  /** Milliseconds in which the clock moves. */
  readonly step: number;
  /** By how much trips differ. */
  readonly jitter?: number;
}

/** A device on which time passes only where work is awaited. */
function madeUp({ speed = 1, trip, step, jitter = 0 }: Made) {
  let now = 0;
  let waiting = 0;
  let trips = 0;
  let rounds = 0;
  const clock: Clock = () => {
    now += 1e-3;
    return Math.floor(now / step) * step;
  };
  const work = (ms: number) => void (waiting += ms);
  const queue = {
    writeBuffer: (_buffer: unknown, _offset: number, [count]: Uint32Array) => (rounds = count!),
    submit: (commands: { flops: number }[]) =>
      work(commands.reduce((sum, { flops }) => sum + flops, 0) / speed),
    onSubmittedWorkDone: () => {
      now += waiting + trip + jitter * (trips++ % 3);
      waiting = 0;
      return Promise.resolve(undefined);
    },
  };
  const flopsPerRound = 2 ** 18 * 256 * 3 * 4 * 2; // of probe/multiply_add
  const device = {
    queue,
    createBuffer: () => ({ destroy: () => undefined }),
    createBindGroup: () => ({}),
    createCommandEncoder: () => {
      const recorded = { flops: 0 };
      return {
        beginComputePass: () => ({
          setPipeline: () => undefined,
          setBindGroup: () => undefined,
          dispatchWorkgroups: () => (recorded.flops += rounds * flopsPerRound),
          end: () => undefined,
        }),
        finish: () => recorded,
      };
    },
  } as unknown as GPUDevice;
  const pipelines = {
    get: () => Promise.resolve({ getBindGroupLayout: () => ({}) }),
  } as unknown as PipelineCache;
  return { device, pipelines, clock, work, queue };
}

describe('the speed of multiply-adds', () => {
  const devices: [string, Made][] = [
    ['a GPU behind a short trip', { speed: 1e10, trip: 0.1, step: 1e-3 }],
    ['a GPU behind a trip of 100 ms', { speed: 1e10, trip: 100, step: 1 }],
    ['an integrated GPU behind a trip of 100 ms', { speed: 4e8, trip: 100, step: 1, jitter: 3 }],
    ['a CPU behind a trip of 100 ms', { speed: 2e7, trip: 100, step: 1 }],
    ['a clock in steps of 100 ms', { speed: 1e9, trip: 5, step: 100 }],
  ];
  test.each(devices)('is found within a third: %s', async (_, made) => {
    const { device, pipelines, clock } = madeUp(made);
    const measured = await multiplyAddSpeed(device, pipelines, clock);
    expect(measured / made.speed!).toBeGreaterThan(2 / 3);
    expect(measured / made.speed!).toBeLessThan(4 / 3);
  });
});

describe('the time of a kernel', () => {
  /** What is measured of a kernel of `ms` per run. */
  async function measured(ms: number, made: Made, enough = Infinity): Promise<number> {
    const { device, clock, work, queue } = madeUp(made);
    const run = () => Promise.resolve(work(ms));
    return hostTime(queue, run, await emptyRound(device, clock), enough, clock);
  }

  test.each([0.5, 3, 40])('of %d ms is told from one 10 % longer, behind a trip of 100 ms', async (ms) => {
    const made = { trip: 100, step: 0.02, jitter: 0.2 };
    const [short, long] = [await measured(ms, made), await measured(1.1 * ms, made)];
    expect(Math.abs(short / ms - 1)).toBeLessThan(0.05);
    expect(Math.abs(long / short - 1.1)).toBeLessThan(0.05);
  });

  test('is measured roughly where it is far from the best', async () => {
    expect(await measured(900, { trip: 100, step: 1 }, 40)).toBeCloseTo(900, -1);
  });

  test('is not taken from a clock of the GPU in the steps that browsers have', () => {
    expect(isCoarse([0, 0, 0])).toBe(true);
    expect(isCoarse([0.1, 0, 2.3])).toBe(true);
    expect(isCoarse([0.065536, 0, 1068 * 0.065536])).toBe(true);
    expect(isCoarse([0.012345, 0.2])).toBe(false);
  });

  test('is not made up where the clock cannot tell', async () => {
    const coarse = measured(0.05, { trip: 100, step: 100 });
    await expect(coarse).rejects.toThrow(ClockTooCoarse);
    await expect(coarse).rejects.toThrow(/a round trip to the GPU takes \d+\.\d ms here/);
  });
});
