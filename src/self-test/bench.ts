/**
 * An op on small volumes of odd sizes. What it is given follows from names alone, in every engine, so that the right
 * results can be stored; numbers are multiples of 1/128 below 4, which float16 holds exactly.
 */
import { random } from '../data/random.ts';
import type { Gpu } from '../gpu/device.ts';
import { labelsToDense, labelsToStored, toDense, toStored } from '../gpu/layout.ts';
import { Recorder, type PlanLimits, type Tensor, type View, type VolumeTensor } from '../gpu/plan.ts';
import type { Precision } from '../gpu/precision.ts';
import { Program } from '../gpu/program.ts';
import { words, type Input } from '../ops/common.ts';
import type { Size3 } from '../size.ts';

/** One or several ops, with inputs and results by name. */
export interface OpCase {
  /** Such as `conv3`. */
  readonly name: string;
  /** Largest relative error in float32, where the default is too strict. */
  readonly tolerance?: number;
  record(bench: OpBench): void;
}

/** A volume as PyTorch orders it. */
export interface Dense {
  readonly shape: readonly [n: number, c: number, z: number, y: number, x: number];
  readonly data: Float64Array;
}

/** Samples of every volume. */
export const batch = 2;
export const oddSize: Size3 = [7, 6, 5];

/** In place of what an op has not written; float16 holds it. */
const untouched = 12_344;

type Result =
  | { readonly kind: 'volume' | 'labels'; readonly tensor: VolumeTensor }
  | { readonly kind: 'words'; readonly tensor: Tensor; readonly length: number };

export class OpBench {
  readonly recorder: Recorder;
  /** What the op is given, by name. */
  readonly volumes = new Map<string, Dense>();
  readonly numbers = new Map<string, Float64Array>();
  readonly labels = new Map<string, Uint8Array>();
  readonly #name: string;
  readonly #contents = new Map<Tensor, ArrayBufferView<ArrayBuffer>>();
  readonly #results = new Map<string, Result>();

  constructor(op: OpCase, limits: PlanLimits, precision: Precision = 'f32') {
    this.#name = op.name;
    this.recorder = new Recorder(limits, precision);
    op.record(this);
  }

  /** Normal numbers of this name. */
  #drawn(name: string, length: number): Float64Array {
    const source = random(7, this.#name, name);
    const drawn = () => Math.max(-4, Math.min(4, Math.round(128 * source.normal()) / 128));
    return Float64Array.from({ length }, drawn);
  }

  volume(name: string, channels: number, [x, y, z] = oddSize, values?: Float64Array): VolumeTensor {
    const data = values ?? this.#drawn(name, batch * channels * x * y * z);
    const tensor = this.recorder.volume(name, batch, channels, [x, y, z], 'resident');
    this.volumes.set(name, { shape: [batch, channels, z, y, x], data });
    this.#contents.set(tensor, toStored(tensor, Float32Array.from(data)));
    return tensor;
  }

  /** A volume that is read through a norm and an activation. */
  normed(
    name: string,
    channels: number,
    size = oddSize,
  ): Required<Pick<Input, 'tensor' | 'scaleShifts' | 'slope'>> {
    const tensor = this.volume(name, channels, size);
    return {
      tensor,
      scaleShifts: this.words(`${name} scaleShifts`, 2 * batch * channels).tensor,
      slope: 0.125,
    };
  }

  words(name: string, given: number | ArrayLike<number>): View {
    const values = typeof given === 'number' ? this.#drawn(name, given) : Float64Array.from(given);
    const tensor = this.recorder.flat(name, values.length, 'resident');
    this.numbers.set(name, values);
    this.#contents.set(tensor, Float32Array.from(values));
    return words(tensor, values.length);
  }

  /** Words that are no numbers. */
  bits(name: string, given: Uint32Array<ArrayBuffer>): Tensor {
    const tensor = this.recorder.flat(name, given.length, 'resident');
    this.#contents.set(tensor, given);
    return tensor;
  }

  /** Label bytes of these values and, every ninth voxel, 255. */
  labelled(name: string, of: readonly number[], [x, y, z] = oddSize): VolumeTensor {
    const source = random(7, this.#name, name);
    const voxels = Uint8Array.from({ length: batch * x * y * z }, (_, i) =>
      i % 9 === 4 ? 255 : of[source.int(of.length)]!,
    );
    const tensor = this.recorder.labels(name, batch, [x, y, z], 'resident');
    this.labels.set(name, voxels);
    this.#contents.set(tensor, labelsToStored(tensor, voxels));
    return tensor;
  }

  /** A volume that the op assigns: a result. */
  target(name: string, channels: number, [x, y, z] = oddSize): VolumeTensor {
    const tensor = this.recorder.volume(name, batch, channels, [x, y, z], 'resident');
    const before = new Float32Array(batch * channels * x * y * z).fill(untouched);
    this.#contents.set(tensor, toStored(tensor, before));
    return this.changed(name, tensor);
  }

  targetWords(name: string, length: number): View {
    const tensor = this.recorder.flat(name, length, 'resident');
    this.#contents.set(tensor, new Float32Array(length).fill(untouched));
    return this.changedWords(name, words(tensor, length));
  }

  targetLabels(name: string, size = oddSize): VolumeTensor {
    const tensor = this.recorder.labels(name, batch, size, 'resident');
    this.#results.set(name, { kind: 'labels', tensor });
    return tensor;
  }

  /** What the op was given and changes is a result as well. */
  changed(name: string, tensor: VolumeTensor): VolumeTensor {
    this.#results.set(name, { kind: 'volume', tensor });
    return tensor;
  }

  changedWords(name: string, view: View): View {
    this.#results.set(name, { kind: 'words', tensor: view.tensor, length: view.size / 4 });
    return view;
  }

  /** Names of the results, in the order in which they were made. */
  get results(): string[] {
    return [...this.#results.keys()];
  }

  /** Runs the op. Padding columns that are not 0 make a result NaN. */
  async run(gpu: Gpu): Promise<Map<string, ArrayLike<number>>> {
    using program = await Program.create(gpu, this.recorder.finish());
    for (const [tensor, data] of this.#contents) program.write(tensor, data);
    await gpu.checked(this.#name, () => program.run({ submitMs: Infinity }));
    const found = new Map<string, ArrayLike<number>>();
    for (const [name, result] of this.#results) found.set(name, await read(program, result));
    return found;
  }
}

async function read(program: Program, result: Result): Promise<ArrayLike<number>> {
  const { kind, tensor } = result;
  if (kind === 'words') return new Float32Array(await program.read(tensor, 0, result.length * 4));
  const bytes = await program.read(tensor, 0, result.tensor.dataBytes);
  if (kind === 'labels') return labelsToDense(result.tensor, new Uint8Array(bytes));
  const values = toDense(result.tensor, bytes);
  const clean = new Uint8Array(toStored(result.tensor, values).buffer);
  const stored = new Uint8Array(bytes);
  return stored.every((byte, i) => byte === clean[i]) ? values : values.fill(NaN);
}
