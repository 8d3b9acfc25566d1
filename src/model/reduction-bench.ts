/** Sums over voxels by themselves, on small volumes of odd sizes: one thread takes them, or a workgroup does. */
import { random } from '../data/random.ts';
import type { KernelChoices } from '../gpu/choices.ts';
import type { Gpu } from '../gpu/device.ts';
import { toDense, toStored } from '../gpu/layout.ts';
import { Recorder, type Tensor, type View, type VolumeTensor } from '../gpu/plan.ts';
import type { Precision } from '../gpu/precision.ts';
import { Program } from '../gpu/program.ts';
import { biasGradient, words } from '../ops/common.ts';
import { conv1BackwardWeight } from '../ops/conv1.ts';
import { convForward } from '../ops/conv.ts';
import { grownSize, usualShape } from '../ops/conv/shape.ts';
import { normBackward, normForward, type NormKind } from '../ops/norm.ts';
import { sumForward } from '../ops/sum.ts';
import { upconvBackwardWeight } from '../ops/upconv.ts';
import type { Size3 } from '../size.ts';

const [batch, channels, channelsOut] = [2, 3, 5];
/** Fewer rows in a plane than a workgroup has threads, and more quads. */
const sizes: readonly Size3[] = [
  [7, 6, 5],
  [37, 9, 3],
];
/** Where the second half of weight and bias, or of mean and variance, begins: at a binding of its own. */
const second = 64;
const norm = { biasOffset: second, varianceOffset: second, epsilon: 1e-5, momentum: 0 } as const;

/** Twice these are around the largest number of float16: 65504 itself, the least that it has not, and more. */
const nearlyTooLarge = [32_752, -32_752, 32_768, -32_768, 40_000, -65_504];

/** Whether a number is beyond those of float16, which has infinity in its place, and on which side. */
const beyondHalf = (value: number): number => (Math.abs(value) >= 65_520 ? Math.sign(value) : 0);

/**
 * Gradients through norms, of a volume and of what a convolution leaves of its statistics; of a bias; and of the weights
 * of 1×1×1 and up-convolutions. One list for each result, which is the same however it is summed; and one of where sums
 * of two volumes are too large for float16, by which trainings see that gradients overflow.
 * @param kernels how; convolutions are plain ones
 */
export async function reductionsOf(
  gpu: Gpu,
  precision: Precision,
  kernels: KernelChoices,
): Promise<Float32Array[]> {
  const found: Float32Array[] = [];
  for (const size of sizes) {
    const bench = new ReductionBench(gpu, precision, { ...kernels, conv3: 'voxels', tuned: {} });
    bench.record(size);
    found.push(...(await bench.run()));
  }
  return found;
}

/** Multiples of 1/64 between -1 and 1, which float16 holds exactly. */
function drawn(name: string, length: number): Float32Array<ArrayBuffer> {
  const source = random(0, 'reductions', name);
  return Float32Array.from({ length }, () => Math.round(64 * source.uniform(-1, 1)) / 64);
}

class ReductionBench {
  readonly #recorder: Recorder;
  readonly #contents = new Map<Tensor, ArrayBufferView<ArrayBuffer>>();
  readonly #results: (View | VolumeTensor)[] = [];
  /** Results of which is looked at no more than where they are too large for float16. */
  readonly #large = new Set<VolumeTensor>();

  constructor(
    readonly gpu: Gpu,
    precision: Precision,
    kernels: KernelChoices,
  ) {
    this.#recorder = new Recorder({ ...gpu.limits, kernels }, precision);
  }

  #volume(name: string, channels: number, size: Size3, make = drawn): VolumeTensor {
    const tensor = this.#recorder.volume(name, batch, channels, size, 'resident');
    this.#contents.set(tensor, toStored(tensor, make(name, batch * channels * size[0] * size[1] * size[2])));
    return tensor;
  }

  #words(name: string, length: number): View {
    const tensor = this.#recorder.flat(name, length, 'resident');
    this.#contents.set(tensor, drawn(name, length));
    return words(tensor, length);
  }

  #result(name: string, length: number): View {
    const view = words(this.#recorder.flat(name, length, 'resident'), length);
    this.#results.push(view);
    return view;
  }

  record(size: Size3): void {
    const recorder = this.#recorder;
    const source = this.#volume('source', channels, size);
    const gradient = this.#volume('gradient', channelsOut, size);
    for (const kind of ['instance', 'batch'] as const) this.#norm(kind, { source, kind, slope: 0.5 });
    const weights = this.#words('weights', 27 * channels * channelsOut);
    const target = recorder.volume('target', batch, channelsOut, size, 'resident');
    const tensors = { inputs: [{ tensor: source }], weights, target, measured: true } as const;
    const parts = convForward(recorder, 'convolution', tensors, usualShape);
    // A voxel at the edge of an activation would fall on either side of it, once the volume is rounded.
    this.#norm('joined', { source: target, kind: 'instance', slope: 1, parts });
    biasGradient(recorder, 'bias', gradient, this.#result('dBias', channelsOut));
    const scaleShifts = this.#words('scaleShifts', 2 * batch * channels).tensor;
    const input = { tensor: source, scaleShifts, slope: 0.5 };
    const ones = { input, dOutput: gradient, dWeights: this.#result('dOnes', channels * channelsOut) };
    conv1BackwardWeight(recorder, 'ones', ones);
    const dOutput = this.#volume('large gradient', channelsOut, grownSize(size, [2, 2, 2]));
    const dWeights = this.#result('dUp', 8 * channels * channelsOut);
    this.#overflow(size);
    upconvBackwardWeight(recorder, 'up', { input, dOutput, dWeights });
  }

  #overflow(size: Size3): void {
    const large = this.#volume('large', channels, size, (_, length) =>
      Float32Array.from({ length }, (_, i) => nearlyTooLarge[i % nearlyTooLarge.length]!),
    );
    const sum = this.#recorder.volume('sum', batch, channels, size, 'resident');
    sumForward(this.#recorder, 'overflow', [{ tensor: large }, { tensor: large }], sum);
    this.#large.add(sum);
    this.#results.push(sum);
  }

  /** Results are the gradients of a norm's input, weight and bias. */
  #norm(
    name: string,
    {
      source,
      kind,
      slope,
      parts,
    }: {
      readonly source: VolumeTensor;
      readonly kind: NormKind;
      readonly slope: number;
      readonly parts?: VolumeTensor | undefined;
    },
  ): void {
    const recorder = this.#recorder;
    const length = second + source.channels;
    const state = { ...norm, kind, weightBias: this.#words(`${name} weights`, length) };
    const running = this.#words(`${name} running`, length);
    const result = normForward(recorder, name, source, { ...state, running }, parts);
    const dActivated = this.#volume(`${name} dActivated`, source.channels, source.size);
    const dSource = recorder.volume(`${name} dSource`, batch, source.channels, source.size, 'resident');
    const dWeightBias = this.#result(`${name} dWeights`, length);
    const tensors = { source, dActivated, result, dWeightBias, dSource };
    normBackward(recorder, `${name} back`, tensors, { ...state, slope });
    this.#results.push(dSource);
  }

  async run(): Promise<Float32Array[]> {
    using program = await Program.create(this.gpu, this.#recorder.finish());
    for (const [tensor, data] of this.#contents) program.write(tensor, data);
    await this.gpu.checked('reductions', () => program.run({ submitMs: Infinity }));
    const found: Float32Array[] = [];
    for (const result of this.#results) {
      if ('tensor' in result) {
        found.push(new Float32Array(await program.read(result.tensor, 0, result.size)));
        continue;
      }
      const values = Float32Array.from(toDense(result, await program.read(result, 0, result.dataBytes)));
      found.push(this.#large.has(result) ? values.map(beyondHalf) : values);
    }
    return found;
  }
}
