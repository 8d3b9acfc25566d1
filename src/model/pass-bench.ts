/** One pass of a plan by itself, on random data: its result and its time with each of its kernels. */
import { random } from '../data/random.ts';
import type { KernelChoices } from '../gpu/choices.ts';
import { emptyRound, hostClock, type Clock, type Round } from '../gpu/clock.ts';
import type { Gpu } from '../gpu/device.ts';
import { fromHalf } from '../gpu/half.ts';
import { toStored } from '../gpu/layout.ts';
import { withKernel, type ConvPass } from '../gpu/passes.ts';
import { Recorder, type Tensor, type VolumeTensor } from '../gpu/plan.ts';
import { usualWalk, type Walk } from '../gpu/walk.ts';
import type { Size3 } from '../size.ts';
import { Program } from '../gpu/program.ts';
import type { Input } from '../ops/common.ts';
import { convBackwardWeight, convForward } from '../ops/conv.ts';
import { tapsOf } from '../ops/conv/shape.ts';
import { measurePlanes, normForward } from '../ops/norm.ts';
import { transposedForward } from '../ops/transposed.ts';
import { upconvBackwardInput, upconvBackwardWeight, upconvForward } from '../ops/upconv.ts';

/** A pass with one of its kernels. */
export interface Trial {
  /**
   * The result in parts, to be compared each by itself: all its numbers; or of a large volume the first, the last, and of
   * each plane how far the voxels of each channel spread. Of a `measured` pass, scale and shift of a norm behind it follow.
   */
  output(): Promise<readonly Float32Array[]>;
  /** Milliseconds of one run; only roughly measured where it is more than twice `enough`. */
  time(enough: number): Promise<number>;
  /** Frees its buffers. */
  dispose(): void;
}

/** One pass on made-up volumes, to be run by several kernels. */
export interface PassBench {
  /** Compiles kernels side by side, as far as they compile, so that opening them takes less time. */
  compile(kernels: readonly string[]): Promise<void>;
  /** Makes a kernel ready to run. Throws `GpuError` where it does not compile. */
  open(kernel: string): Promise<Trial>;
  /** Frees its buffers. */
  dispose(): void;
}

/**
 * Work and bytes of one run: more planes of a large volume would tell nothing new, but a GPU must be full several times
 * over, for the last workgroups leave it half empty.
 */
const mostWork = ({ adapterClass, speed, limits }: Gpu, memoryBudget: number) => {
  const isHardware = adapterClass === 'hardware';
  return {
    flops: Math.max(isHardware ? 0 : 2e10, 10 * speed),
    bytes: Math.min((isHardware ? 512 : 128) * 2 ** 20, limits.maxBufferBytes, memoryBudget),
  };
};
/** Bytes that are compared at either end of a volume. */
const comparedBytes = 2 ** 20;

const channelsOf = ({ inputs }: ConvPass): number => inputs.reduce((sum, { channels }) => sum + channels, 0);

/** A slab of the pass's planes, as one sample: what is seen of the source, and the output. */
function slabOf(gpu: Gpu, pass: ConvPass, memoryBudget: number): { source: Size3; target: Size3 } {
  const { channelsOut, grid, walk = usualWalk } = pass;
  const { stride, dilation } = walk;
  const each = (size: (axis: 0 | 1 | 2) => number): Size3 => [size(0), size(1), size(2)];
  const seenOf = (grid: Size3): Size3 =>
    each((axis) => Math.ceil(grid[axis] / dilation[axis]) * stride[axis]);
  const { flops, bytes } = mostWork(gpu, memoryBudget);
  const [x, y] = seenOf(grid);
  const planeFlops =
    (2 * tapsOf(walk.kernel) * channelsOf(pass) * channelsOut * x * y) / (stride[0] * stride[1]);
  const planeBytes =
    4 * (channelsOf(pass) * x * y * stride[2] + channelsOut * grid[0] * grid[1] * dilation[2]);
  const most = Math.floor(Math.min(flops / planeFlops, bytes / planeBytes)) * dilation[2];
  const source = seenOf([grid[0], grid[1], Math.max(1, Math.min(grid[2], most))]);
  return { source, target: each((axis) => (source[axis] / stride[axis]) * dilation[axis]) };
}

/** Whether it is that of a transposed convolution with a kernel as large as its strides, which has ops of its own. */
export const isUpconv = ({ kernel }: Walk = usualWalk): boolean => kernel.includes(2);

/** Random numbers between -1 and 1 for a tensor, the same in every run; long arrays repeat a pattern. */
function noise(name: string, length: number): Float32Array<ArrayBuffer> {
  const source = random(0, 'tuning', name);
  const values = new Float32Array(length);
  const pattern = Math.min(length, 65_521);
  for (let i = 0; i < pattern; i++) values[i] = source.uniform(-1, 1);
  for (let filled = pattern; filled < length; filled += pattern) values.copyWithin(filled, 0, pattern);
  return values;
}

/**
 * Fills buffers with a pass's inputs. Dispose of it, and of each trial.
 * @param memoryBudget bytes that its volumes may take, but for those of a single plane
 */
export function benchPass(gpu: Gpu, pass: ConvPass, memoryBudget = Infinity): PassBench {
  const { source, target } = slabOf(gpu, pass, memoryBudget);
  const { kind, walk = usualWalk, inputs, channelsOut, precision, measured } = pass;
  const { kernel: shape, stride, dilation } = walk;
  const weightCount = tapsOf(shape) * channelsOut * channelsOf(pass);
  const buffers = new Map<string, GPUBuffer>();
  let round: Promise<Round> | undefined;

  const share = (tensor: Tensor, fill: () => ArrayBufferView<ArrayBuffer>): void => {
    if (buffers.has(tensor.name)) return;
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
    const buffer = gpu.createBuffer(tensor.name, tensor.bytes, usage);
    buffers.set(tensor.name, buffer);
    const data = fill();
    gpu.device.queue.writeBuffer(buffer, 0, data.buffer, data.byteOffset, data.byteLength);
  };

  const free = (): void => {
    for (const buffer of buffers.values()) gpu.destroyBuffer(buffer);
    buffers.clear();
  };

  /** As `record`; where there is no memory for inputs, none of them stays. */
  async function recorded(kernel: string) {
    try {
      return await gpu.checked('inputs of a pass', () => record(kernel));
    } catch (error) {
      free();
      throw error;
    }
  }

  /** The pass with one kernel; inputs are shared by name. */
  function record(kernel: string) {
    const table = { ...gpu.limits.kernels, tuned: {}, statistics: measured };
    const [noted] = recordWith(table).plan.passes;
    return recordWith(withKernel(table, noted!, kernel));
  }

  function recordWith(kernels: KernelChoices) {
    const recorder = new Recorder({ ...gpu.limits, kernels }, precision);
    const volume = (name: string, channels: number, size: Size3): VolumeTensor => {
      const tensor = recorder.volume(name, 1, channels, size, 'shared');
      share(tensor, () => toStored(tensor, noise(name, channels * size[0] * size[1] * size[2])));
      return tensor;
    };
    const flat = (name: string, length: number): Tensor => {
      const tensor = recorder.flat(name, length, 'shared');
      share(tensor, () => noise(name, length));
      return tensor;
    };
    const normed = (tensor: VolumeTensor): Input => ({
      tensor,
      scaleShifts: flat(`scaleShifts of ${tensor.name}`, 2 * tensor.channels),
      slope: 0,
    });
    const read = inputs.map(({ channels, norm }, i): Input => {
      const tensor = volume(`input ${i}`, channels, source);
      return norm ? normed(tensor) : { tensor };
    });
    const [{ tensor: first }] = read as [Input];
    const whole = (tensor: Tensor) => ({ tensor, offset: 0, size: tensor.bytes });
    if (kind === 'weights') {
      const result = recorder.flat('dWeights', weightCount, 'resident');
      const dWeights = whole(result);
      const small = volume('gradient', channelsOut, target);
      if (isUpconv(walk)) {
        const exchanged = { input: normed(small), dOutput: first, dWeights };
        upconvBackwardWeight(recorder, 'weights', exchanged, stride);
      } else {
        const tensors = { input: read[0]!, dOutput: small, dWeights };
        convBackwardWeight(recorder, 'weights', tensors, {}, { kernel: shape, stride });
      }
      const timed = recorder.dispatches.length;
      return { plan: recorder.finish(), timed, result, bytes: weightCount * 4 };
    }
    const result = recorder.volume('target', 1, channelsOut, target, 'resident');
    const weights = whole(flat('weights', weightCount));
    const tensors = { inputs: read as [Input, Input?], weights, target: result };
    const isDilated = dilation.some((n) => n > 1);
    let scaleShifts: Tensor | undefined;
    if (!isUpconv(walk)) {
      const asked = { ...tensors, measured: measured !== undefined };
      const parts = isDilated
        ? transposedForward(recorder, 'forward', asked, { kernel: shape, stride: dilation })
        : convForward(recorder, 'forward', asked, { kernel: shape, stride });
      if (measured) scaleShifts = normalise(recorder, result, parts);
    } else if (isDilated) {
      upconvForward(recorder, 'forward', { ...tensors, input: read[0]! }, dilation);
    } else {
      upconvBackwardInput(recorder, 'forward', { dOutput: first, weights, dInput: result }, stride);
    }
    const timed = recorder.dispatches.length;
    let spreads: Tensor | undefined;
    if (result.dataBytes > 2 * comparedBytes) {
      spreads = recorder.flat('spreads', 2 * result.planes * channelsOut, 'resident');
      measurePlanes(recorder, 'compared', result, spreads);
    }
    return { plan: recorder.finish(), timed, result, bytes: result.dataBytes, scaleShifts, spreads };
  }

  return {
    async compile(kernels) {
      const format = gpu.storageFormat(precision);
      const all = async () => {
        const plans = await Promise.all(kernels.map(recorded));
        const dispatches = plans.flatMap(({ plan }) => plan.dispatches);
        await Promise.allSettled(
          dispatches.map(({ shader, constants }) => gpu.pipelines.get(shader, constants, format)),
        );
      };
      await all().catch(() => undefined); // opening the kernel reports it
    },
    async open(kernel) {
      const { plan, timed, result, bytes, scaleShifts, spreads } = await recorded(kernel);
      const program = await Program.create(gpu, plan, buffers);
      return {
        async output() {
          await program.run();
          const halves = kind === 'forward' && precision === 'f16';
          const numbers = async (from: number, count: number): Promise<Float32Array> => {
            const part = await program.read(result, from, count);
            return halves ? fromHalf(new Uint16Array(part)) : new Float32Array(part);
          };
          const parts = spreads
            ? [await numbers(0, comparedBytes), await numbers(bytes - comparedBytes, comparedBytes)]
            : [await numbers(0, bytes)];
          if (spreads) {
            const all = new Float32Array(await program.read(spreads)).filter((_, i) => i % 2 === 1);
            for (let at = 0; at + channelsOut <= all.length; at += channelsOut)
              parts.push(all.subarray(at, at + channelsOut));
          }
          if (scaleShifts) parts.push(new Float32Array(await program.read(scaleShifts, 0, 8 * channelsOut)));
          return parts;
        },
        async time(enough) {
          const ms = await time(gpu, program, timed, () => (round ??= emptyRound(gpu.device)), enough);
          gpu.assertAlive(); // what it reported is this kernel's
          return ms;
        },
        dispose: () => program.dispose(),
      };
    },
    dispose: free,
  };
}

/** Statistics of a volume as an instance norm has them. */
function normalise(recorder: Recorder, target: VolumeTensor, parts: VolumeTensor | undefined): Tensor {
  const none = recorder.flat('none', 1);
  const state = { kind: 'instance', running: { tensor: none, offset: 0, size: none.bytes } } as const;
  const numbers = { biasOffset: 0, varianceOffset: 0, epsilon: 1e-5, momentum: 0 };
  return normForward(recorder, 'norm', target, { ...state, ...numbers }, parts).scaleShifts;
}

/** Time for repeats of one measurement, and how many there are at least and at most. */
const repeatMs = 50;
const [leastRepeats, mostRepeats] = [3, 25];
/**
 * Where the clock is the host's, one measurement is of so many runs that it takes this long, and so many times what the
 * clock may be wrong by: kernels differ by some per cent.
 */
const [hostMs, timesError] = [5, 20];
const mostRuns = 1000;
/** A kernel whose first run takes so many times as long as one that is good enough is not run again. */
const hopeless = 4;

/** Steps in ms in which browsers give the GPU's clock, which are too coarse here: 100 µs, and Dawn's 2¹⁶ ns. */
const coarseSteps = [0.1, 0.065536];

/** Whether times by the GPU's clock are multiples of such a step. */
export const isCoarse = (times: readonly number[]): boolean =>
  coarseSteps.some((step) => times.every((ms) => Math.abs(ms / step - Math.round(ms / step)) < 1e-6));

/** The host's clock, which alone is at hand, cannot tell kernels of this device apart. */
export class ClockTooCoarse extends Error {
  constructor({ ms, error }: Round) {
    super(
      `a round trip to the GPU takes ${ms.toFixed(1)} ms here, give or take ${error.toFixed(1)} ms, which is too coarse a ` +
        'measure of kernels',
    );
  }
}

/** Milliseconds of one run of the first `timed` dispatches: the mean of the middle half of several, by the GPU's clock where it has a fine one. */
async function time(
  gpu: Gpu,
  program: Program,
  timed: number,
  emptyRound: () => Promise<Round>,
  enough: number,
): Promise<number> {
  const { device } = gpu;
  const sumOf = (times: readonly number[]): number => times.reduce((sum, ms) => sum + ms, 0);
  const first = device.features.has('timestamp-query') ? await program.profile(timed) : [];
  if (first.length > 0 && !isCoarse(first)) {
    // One that takes so long does so when the clock has risen, too.
    if (sumOf(first) > hopeless * enough) return sumOf(first);
    return typicalTime(async () => sumOf(await program.profile(timed)), enough);
  }
  return hostTime(device.queue, () => program.run({ to: timed }), await emptyRound(), enough);
}

/**
 * The same by the host's clock, which also counts the round trip to the device.
 * @throws ClockTooCoarse where no number of runs makes up for that
 */
export async function hostTime(
  queue: Pick<GPUQueue, 'onSubmittedWorkDone'>,
  run: () => Promise<void>,
  round: Round,
  enough: number,
  clock: Clock = hostClock,
): Promise<number> {
  const timeOf = async (runs: number): Promise<number> => {
    const started = clock();
    for (let i = 0; i < runs; i++) await run();
    await queue.onSubmittedWorkDone();
    return clock() - started - round.ms;
  };
  const wanted = Math.max(hostMs, timesError * round.error);
  let runs = 1;
  let ms = await timeOf(runs); // not counted below: clocks rise, caches fill
  if (ms - round.error > 2 * enough) return ms;
  while (ms < wanted) {
    if (runs === mostRuns) throw new ClockTooCoarse(round);
    runs = Math.min(mostRuns, Math.ceil(runs * Math.min(10, (1.2 * wanted) / Math.max(ms, 1e-3))));
    ms = await timeOf(runs);
  }
  return typicalTime(async () => (await timeOf(runs)) / runs, enough, clock);
}

async function typicalTime(
  once: () => Promise<number>,
  enough: number,
  clock: Clock = hostClock,
): Promise<number> {
  const first = await once(); // not counted: clocks rise, caches fill
  if (first > 2 * enough) return first;
  const times: number[] = [];
  const started = clock();
  while (times.length < leastRepeats || (times.length < mostRepeats && clock() - started < repeatMs))
    times.push(await once());
  times.sort((a, b) => a - b);
  const quarter = Math.floor(times.length / 4);
  const middle = times.slice(quarter, times.length - quarter);
  return middle.reduce((sum, ms) => sum + ms, 0) / middle.length;
}
