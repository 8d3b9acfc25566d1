/**
 * Runs recorded ops on the test device: fills tensors, replays the plan inside an error scope, checks
 * that nothing was written outside the volumes, and gives results back in PyTorch's order.
 */
import { expect } from 'vitest';
import {
  defaultLimits,
  Recorder,
  type PlanLimits,
  type Tensor,
  type View,
  type VolumeTensor,
} from '../../src/gpu/plan.ts';
import type { Gpu } from '../../src/gpu/device.ts';
import type { Precision } from '../../src/gpu/precision.ts';
import type { Size3 } from '../../src/size.ts';
import { fromHalf, toHalf } from '../../src/gpu/half.ts';
import { labelsToDense } from '../../src/gpu/layout.ts';
import { Program } from '../../src/gpu/program.ts';
import type { Input } from '../../src/ops/common.ts';
import { dense, type Dense } from './dense.ts';
import { testDevice } from './device.ts';
import { normals } from './normals.ts';

export { dense, normals, type Dense };

/** Every device's limits, some lowered. */
export const limitsOf = (limits: Partial<PlanLimits> = {}): PlanLimits => ({ ...defaultLimits, ...limits });

export function randomDense(shape: Dense['shape']): Dense {
  const values = normals(shape.reduce((product, length) => product * length, 1));
  return { shape, data: values };
}

/** The same values, rounded to float16. */
export const halves = (values: Float64Array): Float64Array =>
  Float64Array.from(fromHalf(toHalf(Float32Array.from(values))));

const sentinel = 12345.678;

/** Records, fills and reads back. Tensors made here are kept for the whole plan. */
export class Bench {
  readonly recorder: Recorder;
  readonly #contents = new Map<
    Tensor,
    Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>
  >();
  #program: Program | undefined;

  /** @param gpu where it runs; default: the test device */
  constructor(
    limits: Partial<PlanLimits> = {},
    precision: Precision = 'f32',
    private readonly gpu?: Gpu,
  ) {
    this.recorder = new Recorder(limitsOf(limits), precision);
  }

  /** A volume with these contents. */
  volume(name: string, values: Dense): VolumeTensor {
    const [n, c, z, y, x] = values.shape;
    const tensor = this.recorder.volume(name, n, c, [x, y, z], 'resident');
    this.#contents.set(tensor, stored(tensor, pad(tensor, values)));
    return tensor;
  }

  /** A volume to be written: filled with a sentinel, which must survive beyond the last plane. */
  output(name: string, batch: number, channels: number, size: Size3): VolumeTensor {
    const tensor = this.recorder.volume(name, batch, channels, size, 'resident');
    this.#contents.set(
      tensor,
      stored(tensor, new Float32Array((tensor.bytes / tensor.quadBytes) * 4).fill(sentinel)),
    );
    return tensor;
  }

  flat(name: string, values: ArrayLike<number>): Tensor {
    const tensor = this.recorder.flat(name, values.length, 'resident');
    const data = new Float32Array(tensor.bytes / 4).fill(sentinel);
    data.set(Float32Array.from(values));
    this.#contents.set(tensor, data);
    return tensor;
  }

  /** Label bytes [n][z][y][x], padded with 255. */
  labels(name: string, size: Size3, batch: number, values: ArrayLike<number>): VolumeTensor {
    const tensor = this.recorder.labels(name, batch, size, 'resident');
    const bytes = new Uint8Array(tensor.bytes).fill(255);
    const pitch = tensor.rowQuads * 4;
    for (let i = 0; i < values.length; i++)
      bytes[Math.floor(i / size[0]) * pitch + (i % size[0])] = values[i]!;
    this.#contents.set(tensor, new Uint32Array(bytes.buffer));
    return tensor;
  }

  async run(): Promise<this> {
    const gpu = this.gpu ?? (await testDevice());
    const program = await Program.create(gpu, this.recorder.finish());
    this.#program = program;
    for (const [tensor, data] of this.#contents) program.write(tensor, data);
    // In one submit, so that all of it is watched.
    await gpu.checked('test', () => program.run({ submitMs: Infinity }));
    return this;
  }

  /** A volume's contents; checks padding columns (zero) and the sentinel behind the last plane. */
  async read(tensor: VolumeTensor): Promise<Dense> {
    const data = loaded(tensor, await this.#program!.read(tensor));
    const [x, y, z] = tensor.size;
    const result = dense([tensor.batch, tensor.channels, z, y, x]);
    let used = 0;
    eachRow(tensor, (stored, logical) => {
      for (let i = 0; i < tensor.rowQuads * 4; i++) {
        if (i < x) result.data[logical + i] = data[stored + i]!;
        else expect(data[stored + i], `${tensor.name}: padding column`).toBe(0);
      }
      used = Math.max(used, stored + tensor.rowQuads * 4);
    });
    const original = loaded(tensor, this.#contents.get(tensor)!.buffer);
    for (let i = used; i < data.length; i++) expect(data[i], `${tensor.name}: sentinel`).toBe(original[i]);
    return result;
  }

  async readFlat(tensor: Tensor, length: number): Promise<Float32Array> {
    const data = new Float32Array(await this.#program!.read(tensor));
    const original = this.#contents.get(tensor) as Float32Array;
    for (let i = length; i < data.length; i++) expect(data[i], `${tensor.name}: sentinel`).toBe(original[i]);
    return data.slice(0, length);
  }

  /** Label bytes [n][z][y][x]; checks the sentinel behind the last plane. */
  async readLabels(tensor: VolumeTensor): Promise<Uint8Array> {
    const bytes = new Uint8Array(await this.#program!.read(tensor));
    const used = tensor.planes * tensor.planeBytes;
    const original = new Uint8Array(this.#contents.get(tensor)!.buffer);
    expect(bytes.subarray(used), `${tensor.name}: sentinel`).toEqual(original.subarray(used));
    return labelsToDense(tensor, bytes);
  }

  [Symbol.dispose](): void {
    this.#program?.dispose();
  }
}

/** The first `length` words of a tensor, as parameters and their gradients are bound. */
export function view(tensor: Tensor, length: number): View {
  return { tensor, offset: 0, size: length * 4 };
}

function eachRow(tensor: VolumeTensor, visit: (stored: number, logical: number) => void): void {
  const [x, y, z] = tensor.size;
  const pitch = tensor.rowQuads * 4;
  for (let n = 0; n < tensor.batch; n++)
    for (let c = 0; c < tensor.channels; c++)
      for (let k = 0; k < z; k++)
        for (let j = 0; j < y; j++)
          visit(
            (((n * z + k) * tensor.channels + c) * y + j) * pitch,
            (((n * tensor.channels + c) * z + k) * y + j) * x,
          );
}

function pad(tensor: VolumeTensor, values: Dense): Float32Array<ArrayBuffer> {
  const data = new Float32Array((tensor.bytes / tensor.quadBytes) * 4).fill(sentinel);
  eachRow(tensor, (stored, logical) => {
    for (let i = 0; i < tensor.rowQuads * 4; i++)
      data[stored + i] = i < tensor.size[0] ? values.data[logical + i]! : 0;
  });
  return data;
}

const stored = ({ quadBytes }: VolumeTensor, data: Float32Array<ArrayBuffer>) =>
  quadBytes === 8 ? toHalf(data) : data;

const loaded = ({ quadBytes }: VolumeTensor, buffer: ArrayBuffer): Float32Array =>
  quadBytes === 8 ? fromHalf(new Uint16Array(buffer)) : new Float32Array(buffer);

/** ‖actual − expected‖ / ‖expected‖; 0 where they are equal, all zeros, too. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / norm);
}

/** float32 against float64: numbers agree to 1e-5 in the norm, unless said otherwise. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  label: string,
  tolerance = 1e-5,
): void {
  expect(relativeError(actual, expected), label).toBeLessThanOrEqual(tolerance);
}

/** The same float32 bits, element by element. */
export function expectSameBits(actual: ArrayLike<number>, expected: ArrayLike<number>, label: string): void {
  const bits = (values: ArrayLike<number>) => new Uint32Array(Float32Array.from(values).buffer);
  expect(bits(actual), label).toEqual(bits(expected));
}

/** An input that is read through a norm: scale and shift per sample and channel, and a slope. */
export function activatedInput(
  bench: Bench,
  tensor: VolumeTensor,
  scaleShifts: Float64Array,
  slope: number,
): Input {
  return { tensor, scaleShifts: bench.flat(`${tensor.name}.scaleShifts`, scaleShifts), slope };
}
