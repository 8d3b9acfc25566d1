/**
 * Kernels that a device was seen to compute rightly. Drivers give wrong numbers without an error, for float16 and for
 * tiles in workgroup memory more than for anything else. So before a kernel is first used on an adapter and driver, it
 * computes a small convolution of odd sizes, which is compared with the plain kernel's in float32; where it differs, the
 * next one down serves: what was tuned → the adapter's table → the plain kernels, which need neither float16, workgroup
 * memory nor subgroups, in 64 threads; volumes of float16 natively → packed in pairs. Results are kept with the choices.
 */
import { OutOfMemory } from '../errors.ts';
import type { ForwardKernel, KernelChoices, WeightKernel } from '../gpu/choices.ts';
import type { Gpu } from '../gpu/device.ts';
import type { PassKind } from '../gpu/matrix-units.ts';
import { kindName, kindOf, plainKernel, type ConvPass } from '../gpu/passes.ts';
import type { Precision } from '../gpu/precision.ts';
import { benchPass, type PassBench } from './pass-bench.ts';
import { distance, toleranceOf } from './tune.ts';
import { readProofs, writeCache, type TuningStore } from './tuning-cache.ts';

export interface ProofOptions {
  /** Where proofs are kept. */
  readonly store?: TuningStore | undefined;
  /** Told each kernel that is dropped. */
  readonly warn: (message: string) => void;
  /** Runs the kernels of a pass; for tests. */
  readonly bench?: Bench;
}

const plain = { forward: 'voxels', weights: 'lines' } as const;

/** What all others are held against. */
const plainOf = ({ kind, walk }: PassKind): string => (walk ? plainKernel : plain[kind]);

/** No side is whole in the blocks of any kernel; weights are summed from one input at a time. */
const smallPass = (
  of: PassKind,
  precision: Precision,
  statistics: KernelChoices['statistics'],
): ConvPass => ({
  ...of,
  // Of other walks the plain kernel alone leaves statistics.
  ...(of.kind === 'forward' && !of.walk && statistics === 'joined' && { measured: statistics }),
  inputs: [{ channels: 3, norm: true }, ...(of.kind === 'forward' ? [{ channels: 2, norm: false }] : [])],
  channelsOut: 5,
  grid: [37, 7, 5],
  precision,
});

/**
 * The choices for plans of a precision, without kernels that the device computes wrongly; where that is so of float16
 * itself, `gpu` packs it from here on.
 * @throws DeviceLost
 */
export async function proved(
  gpu: Gpu,
  choices: KernelChoices,
  precision: Precision,
  { store, warn, bench = benchPass }: ProofOptions,
): Promise<KernelChoices> {
  const known = new Map(Object.entries(await readProofs(store, gpu, warn)));
  const fresh: Record<string, boolean> = {};
  const dropped = new Set<string>();
  const references = new Map<string, Promise<Float32Array>>();
  const reference = (of: PassKind): Promise<Float32Array> => {
    const known =
      references.get(kindName(of)) ??
      outputOf(gpu, smallPass(of, 'f32', choices.statistics), plainOf(of), bench);
    references.set(kindName(of), known);
    return known;
  };

  async function holds(of: PassKind, kernel: string): Promise<boolean> {
    const format = gpu.storageFormat(precision);
    if (kernel === plainOf(of) && format !== 'f16') return true;
    const pass = smallPass(of, precision, choices.statistics);
    const name = `${kindName(of)} ${kernel} ${format}${pass.measured ? ' with statistics' : ''}`;
    const verdict =
      known.get(name) ?? (await isRight(gpu, { pass, kernel, expected: () => reference(of), bench }));
    if (!known.has(name) && verdict !== undefined) fresh[name] = verdict;
    const right = verdict ?? false;
    known.set(name, right);
    if (!right && !dropped.has(name))
      warn(
        `this adapter and driver compute the kernel '${name}' wrongly; a plainer one takes its place, and results may ` +
          'differ in the last digits from those of other runs',
      );
    if (!right) dropped.add(name);
    return right;
  }

  try {
    const native = gpu.storageFormat(precision) === 'f16';
    const [forward, weights] = [{ kind: 'forward' }, { kind: 'weights' }] as const;
    if (native && !((await holds(forward, plain.forward)) && (await holds(weights, plain.weights))))
      gpu.packHalves();
    const tuned: Record<string, string> = {};
    for (const [key, kernel] of Object.entries(choices.tuned ?? {}))
      if (!key.endsWith(` ${precision}`) || (await holds(kindOf(key), kernel))) tuned[key] = kernel;
    const conv3: ForwardKernel = (await holds(forward, choices.conv3)) ? choices.conv3 : plain.forward;
    const conv3Weights: WeightKernel = (await holds(weights, choices.conv3Weights))
      ? choices.conv3Weights
      : plain.weights;
    return { ...choices, conv3, conv3Weights, ...(choices.tuned && { tuned }) };
  } finally {
    // Those before a kernel that loses the device, too.
    if (Object.keys(fresh).length > 0) await writeCache(store, gpu, { proofs: fresh }, warn);
  }
}

type Bench = (gpu: Gpu, pass: ConvPass) => PassBench;

/** What a kernel makes of the small convolution. */
async function outputOf(gpu: Gpu, pass: ConvPass, kernel: string, bench: Bench): Promise<Float32Array> {
  const under = bench(gpu, pass);
  try {
    const trial = await under.open(kernel);
    try {
      return await trial.output();
    } finally {
      trial.dispose();
    }
  } finally {
    under.dispose();
  }
}

/**
 * Whether a kernel gives what the plain one gives in float32. One that does not compile or run does not; undefined where
 * there was no memory for it, or the plain one does not run, which says nothing of the kernel.
 * @throws DeviceLost
 */
async function isRight(
  gpu: Gpu,
  {
    pass,
    kernel,
    expected,
    bench,
  }: {
    readonly pass: ConvPass;
    readonly kernel: string;
    readonly expected: () => Promise<Float32Array>;
    readonly bench: Bench;
  },
): Promise<boolean | undefined> {
  const assertThere = async (): Promise<void> => {
    if (gpu.disposed || (await gpu.isLost())) throw gpu.lossError();
  };
  let right: Float32Array;
  try {
    right = await expected();
  } catch {
    await assertThere();
    return undefined;
  }
  try {
    const output = await outputOf(gpu, pass, kernel, bench);
    const tolerance = toleranceOf(kernel, pass.precision);
    // Statistics are few numbers: by themselves, lest they pass among the many of the output.
    const ends = pass.measured ? [right.length - 2 * pass.channelsOut, right.length] : [right.length];
    return (
      output.length === right.length &&
      ends.every((end, i) => {
        const begin = ends[i - 1] ?? 0;
        return distance(output.subarray(begin, end), right.subarray(begin, end)) <= tolerance;
      })
    );
  } catch (error) {
    await assertThere();
    return error instanceof OutOfMemory ? undefined : false;
  }
}
