/** Logits of whole volumes, plane by plane: at once where the plan fits the memory, else through windows. */
import { arrayFor } from '../data/allocation.ts';
import { areFinite } from '../data/prepare-checks.ts';
import { InvalidOption, NotFinite, OutOfMemory } from '../errors.ts';
import { formatBytes } from '../format.ts';
import { toStored } from '../gpu/layout.ts';
import type { Size3 } from '../size.ts';
import { awaited, Program } from '../gpu/program.ts';
import { chooseWindow, type Trained } from './choose-window.ts';
import { proveKernels } from './kernels.ts';
import { bytesOf, needText } from '../model/budget.ts';
import { paddedSize, wholeSize } from '../model/sizes.ts';
import { planSlabs, type ResultKind, type SlabsPlan } from '../model/plan.ts';
import type { ModelState } from '../model/state.ts';
import type { DenseCase } from './evaluator.ts';
import { windowPlanes, type WindowProgress } from './window.ts';

/** How a volume is segmented. */
export interface SegmentOptions {
  /** Of neighbouring windows, where windows are needed. Default 0.5. */
  readonly overlap?: number;
  /** x, y, z; forces windows of this size. */
  readonly window?: Size3;
  /** Looked at between windows; the call then throws `Aborted`. */
  readonly signal?: AbortSignal;
  /** Called after each window. */
  readonly onProgress?: (progress: WindowProgress) => void;
}

/** Holds the plan of one window size, from one volume to the next. */
export class Inference {
  #made: { readonly key: string; readonly planned: SlabsPlan; readonly program: Program } | undefined;

  constructor(
    readonly state: ModelState,
    /** Bytes that the plan may take. */
    readonly budget: number,
  ) {}

  /**
   * Logits of a prepared volume [channel][z][y][x], as planes [class][y][x] from z = 0 on. Of a volume that goes through
   * at once, its planes are read as they are asked for: nothing else may run on this network until the last of them.
   * @param trained what it was trained on; see `wholeSize`
   * @param prepare called in front of each window: the weights are the right ones then
   * @throws InvalidOption for another number of channels or an overlap out of range; OutOfMemory; Aborted; DeviceLost;
   *   NotFinite if what comes out is not, naming the first tensor that is not
   */
  async *planes(
    { image, shape }: DenseCase,
    trained: Trained,
    options: SegmentOptions = {},
    prepare: () => Promise<void> = () => Promise.resolve(),
  ): AsyncGenerator<Float32Array<ArrayBuffer>> {
    const { state } = this;
    const { inChannels, classes } = state.config;
    const channels = image.length / (shape[0] * shape[1] * shape[2]);
    if (channels !== inChannels)
      throw new InvalidOption(`the volume has ${channels} channel(s); this model takes ${inChannels}`);
    const window = await this.#windowFor(shape, trained, options);
    const run = async function* (this: Inference, part: Float32Array, signal?: AbortSignal) {
      await prepare();
      for await (const slab of (await this.#slabsAt(window, 'logits'))(part, signal)) {
        if (!areFinite(slab)) throw await notFinite(state, image);
        yield slab;
      }
    };
    yield* windowPlanes({ image, shape, channels }, window, classes, run.bind(this), options);
  }

  /** All of them, [class][z][y][x]. @throws as `planes` */
  async logits(
    volume: DenseCase,
    trained: Trained,
    options: SegmentOptions = {},
  ): Promise<Float32Array<ArrayBuffer>> {
    return stacked(this.planes(volume, trained, options), volume.shape, this.state.config.classes);
  }

  /** Whether a volume goes through at once. */
  async isWhole(shape: Size3, trained: Trained, options: SegmentOptions = {}): Promise<boolean> {
    const window = await this.#windowFor(shape, trained, options);
    return shape.every((n, axis) => n <= window[axis]!);
  }

  /**
   * The network at one size, which it can take: logits [class][z][y][x] of volumes [channel][z][y][x] of that size, with
   * the weights that the state then has. Valid until another size is asked for.
   */
  async at(size: Size3): Promise<(part: Float32Array, signal?: AbortSignal) => Promise<Float32Array>> {
    const slabs = await this.#slabsAt(size, 'logits');
    return (part, signal) => stacked(slabs(part, signal), size, this.state.config.classes);
  }

  /**
   * The same some planes at a time, in order: `take` gets [channel][z][y][x]. No more of a result is in memory than these.
   */
  async planesAt(
    size: Size3,
    kind: ResultKind,
  ): Promise<
    (part: Float32Array, take: (planes: Float32Array) => void, signal?: AbortSignal) => Promise<void>
  > {
    const slabs = await this.#slabsAt(size, kind);
    return async (part, take, signal) => {
      for await (const planes of slabs(part, signal)) take(planes);
    };
  }

  async #slabsAt(
    size: Size3,
    kind: ResultKind,
  ): Promise<(part: Float32Array, signal?: AbortSignal) => AsyncGenerator<Float32Array>> {
    const { planned, program } = await this.#for(size, kind);
    const { plan, image, slabs } = planned;
    return async function* (part, signal) {
      program.write(image, toStored(image, part));
      let from = 0;
      for (const { tensor, end } of slabs) {
        const { first } = plan.tensors[tensor.id]!; // until then, others may be in its place
        await program.run({ signal, from, to: first });
        program.write(tensor, awaited);
        await program.run({ signal, from: first, to: end });
        from = end;
        yield await program.readPlanes(tensor);
      }
    };
  }

  /** The plan of a window, as it would run here. */
  plan(size: Size3, kind: ResultKind): SlabsPlan {
    const { config, limits, precision } = this.state;
    return planSlabs({ config, size, batch: 1, limits, precision }, kind);
  }

  /**
   * Of a window that belongs to a model: through another its results would be others.
   * @param whose what messages call it
   * @throws OutOfMemory if its plan exceeds the budget
   */
  requireWindow(size: Size3, kind: ResultKind, whose: string): void {
    const bytes = bytesOf(() => this.plan(size, kind));
    if (bytes <= this.budget) return;
    const smaller =
      this.state.precision === 'f16'
        ? ''
        : `, or store volumes in float16 (precision 'f16', --precision f16)`;
    throw new OutOfMemory(
      `a window of ${size.join(' x ')} voxels, ${whose}, needs ${needText(bytes)}; the memory budget is ` +
        `${formatBytes(this.budget)}: raise it (memoryBudget, --memory)${smaller}`,
      bytes,
      this.budget,
    );
  }

  async #windowFor(shape: Size3, trained: Trained, { window }: SegmentOptions): Promise<Size3> {
    const { config } = this.state;
    if (window) return paddedSize(config, window);
    await proveKernels(this.state); // what a plan takes depends on them
    const { limits, precision } = this.state;
    const whole = wholeSize(config, shape, trained.inputSize);
    return chooseWindow({ config, whole, trained }, this.budget, { limits, precision });
  }

  async #for(size: Size3, kind: ResultKind) {
    const key = `${kind} ${size.join()}`;
    if (this.#made?.key === key) return this.#made;
    this.release();
    await proveKernels(this.state);
    const { gpu } = this.state;
    const planned = this.plan(size, kind);
    const shared = await this.state.shared(['parameters', 'statistics']);
    const program = await Program.create(gpu, planned.plan, shared);
    return (this.#made = { key, planned, program });
  }

  /** Frees the plan's buffers. */
  release(): void {
    this.#made?.program.dispose();
    this.#made = undefined;
  }
}

/** [class][z][y][x] of slabs [class][planes][y][x] in order. */
export async function stacked(
  slabs: AsyncIterable<Float32Array>,
  [x, y, z]: Size3,
  classes: number,
): Promise<Float32Array<ArrayBuffer>> {
  const voxels = x * y * z;
  const all = arrayFor(
    Float32Array,
    classes * voxels,
    `the stack of ${classes} heads at ${x} x ${y} x ${z} voxels`,
  );
  let at = 0;
  for await (const slab of slabs) {
    const length = slab.length / classes;
    for (let c = 0; c < classes; c++) all.set(slab.subarray(c * length, (c + 1) * length), c * voxels + at);
    at += length;
  }
  return all;
}

/** What to say of results that are NaN or infinite: the first thing on the way to them that is. */
export async function notFinite(state: ModelState, image: Float32Array): Promise<NotFinite> {
  const because = (where: string, remedy: string): NotFinite =>
    new NotFinite(`the network's results are NaN or infinite, since ${where}: ${remedy}`, undefined, where);
  if (!areFinite(image))
    return because(
      'voxels of the prepared image are not finite',
      "look at the image and at the model's preprocessing",
    );
  const { parameters, statistics } = await state.readWeights();
  for (const [entries, values] of [
    [state.layout.parameters, parameters],
    [state.layout.statistics, statistics],
  ] as const)
    for (const { name, offset, length } of entries.values())
      if (!areFinite(values.subarray(offset, offset + length)))
        return because(
          `weights in ${name} are not finite`,
          'take another copy of the model, or train it anew',
        );
  return because(
    `values overflow within the network (stored in ${state.precision})`,
    state.precision === 'f16'
      ? "predict with precision 'f32', or train the model further in float16"
      : 'look at the range of the image, or train the model anew with a lower learning rate',
  );
}
