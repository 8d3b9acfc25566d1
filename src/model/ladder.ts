/**
 * Kernels that a device was seen to compute rightly. Drivers give wrong numbers without an error, for float16 and for
 * tiles in workgroup memory more than for anything else. So before a kernel is first used on an adapter and driver, it
 * computes small convolutions of odd sizes, which are compared with the plain kernel's in float32; where it differs, the
 * next one down serves: what was tuned, be it on matrix units or in tiles → the next fastest that was measured → the
 * adapter's table → the plain kernels, which need neither float16, workgroup memory nor subgroups, in 64 threads; sums by
 * workgroups → by single threads; volumes of float16 natively → packed in pairs. Results are kept with the choices.
 */
import { DeviceLost, OutOfMemory } from '../errors.ts';
import type { ForwardKernel, KernelChoices, WeightKernel } from '../gpu/choices.ts';
import type { Gpu } from '../gpu/device.ts';
import type { PassKind } from '../gpu/matrix-units.ts';
import { kindName, kindOf, mayServe, plainKernel, type ConvPass } from '../gpu/passes.ts';
import type { Precision } from '../gpu/precision.ts';
import { benchPass, isUpconv, type PassBench } from './pass-bench.ts';
import { reductionsOf } from './reduction-bench.ts';
import { toldOfBroken, trialName, Trials } from './trials.ts';
import { agree, toleranceOf } from './tune.ts';
import { readCache, writeCache, type TuningStore } from './tuning-cache.ts';

export interface ProofOptions {
  /** Where proofs are kept, and which kernels were measured to be the next fastest. */
  readonly store?: TuningStore | undefined;
  /** Told each kernel that is dropped. */
  readonly warn: (message: string) => void;
  /** Runs the kernels of a pass; for tests. */
  readonly bench?: Bench;
  /** Runs the sums; for tests. */
  readonly reductions?: typeof reductionsOf;
}

const plain = { forward: 'voxels', weights: 'lines' } as const;

/** What all others are held against. */
const plainOf = ({ kind, walk }: PassKind): string => (walk ? plainKernel : plain[kind]);

/**
 * No side is whole in the blocks of any kernel: one pass of several blocks, and one of several blocks of channels. Weights
 * are summed from one input at a time.
 */
const smallPasses = (
  of: PassKind,
  precision: Precision,
  statistics: KernelChoices['statistics'],
): readonly ConvPass[] =>
  (
    [
      { channels: [3, 2], channelsOut: 5, grid: [37, 7, 5] },
      { channels: [19, 18], channelsOut: 35, grid: [5, 3, 2] },
    ] as const
  ).map(({ channels: [first, second], channelsOut, grid }) => ({
    ...of,
    // Behind up-convolutions there are no norms.
    ...(of.kind === 'forward' && statistics === 'joined' && !isUpconv(of.walk) && { measured: statistics }),
    inputs: [
      { channels: first, norm: true },
      ...(of.kind === 'forward' ? [{ channels: second, norm: false }] : []),
    ],
    channelsOut,
    grid,
    precision,
  }));

/**
 * The choices for plans of a precision, without kernels that the device computes wrongly; where that is so of float16
 * itself, `gpu` packs it from here on.
 * @throws DeviceLost
 */
export async function proved(
  gpu: Gpu,
  choices: KernelChoices,
  precision: Precision,
  { store, warn, bench = benchPass, reductions = reductionsOf }: ProofOptions,
): Promise<KernelChoices> {
  const known = await readCache(store, gpu, warn);
  const { proofs, next } = known;
  const trials = new Trials(gpu, store, known);
  const seen = new Map(Object.entries(proofs).map(([name, right]): [string, Seen] => [name, { right }]));
  const fresh: Record<string, boolean> = {};
  const dropped = new Set<string>();
  const references = new Map<string, Promise<Float32Array[]>>();
  const reference = (of: PassKind): Promise<Float32Array[]> => {
    const made =
      references.get(kindName(of)) ??
      outputOf(gpu, smallPasses(of, 'f32', choices.statistics), plainOf(of), bench);
    references.set(kindName(of), made);
    return made;
  };

  /**
   * Whether what is named is right, from earlier or as `look` sees; one that is not is told once.
   * @param tried the name that it is tried under
   */
  async function isRight(
    name: string,
    look: () => Promise<Seen>,
    tried = name,
  ): Promise<boolean | undefined> {
    const before = trials.isBroken(tried) ? broken : seen.get(name);
    const found = before ?? (await look());
    const { right, problem } = found;
    if (!before && right !== undefined && problem === undefined) fresh[name] = right;
    seen.set(name, found);
    if (!right && !dropped.has(name)) warn(toldOf(found === broken ? tried : name, found));
    if (!right) dropped.add(name);
    return right;
  }

  async function holds(of: PassKind, kernel: string): Promise<boolean | undefined> {
    const format = gpu.storageFormat(precision);
    if (kernel === plainOf(of) && format !== 'f16') return true;
    const passes = smallPasses(of, precision, choices.statistics);
    const tried = trialName(of, kernel, format);
    const name = passes[0]!.measured ? `${tried} with statistics` : tried;
    const output = () => trials.run(tried, () => outputOf(gpu, passes, kernel, bench));
    const look = () => compared(gpu, output, () => reference(of), toleranceOf(kernel, precision));
    return isRight(name, look, tried);
  }

  /** What was tuned for the pass of a key, or the next fastest kernel, whichever is right; else the table's is to serve. */
  async function firstRight(key: string, tuned: string): Promise<string | undefined> {
    const others = (next[key] ?? []).filter((name) => mayServe(key, name, gpu.abilities));
    for (const name of [tuned, ...others]) if (await holds(kindOf(key), name)) return name;
    return undefined;
  }

  async function sumsHold(reduction: KernelChoices['reduction']): Promise<boolean | undefined> {
    const format = gpu.storageFormat(precision);
    if (reduction === 'serial' && format !== 'f16') return true;
    const { statistics = 'apart' } = choices;
    const name = `sums ${reduction} ${format}, statistics ${statistics}`;
    return isRight(name, () =>
      compared(
        gpu,
        () => trials.run(name, () => reductions(gpu, precision, { ...choices, reduction })),
        () => reductions(gpu, 'f32', { ...choices, reduction: 'serial' }),
        toleranceOf('sums', precision),
      ),
    );
  }

  try {
    const native = gpu.storageFormat(precision) === 'f16';
    const [forward, weights] = [{ kind: 'forward' }, { kind: 'weights' }] as const;
    // What could not be seen is no reason to pack.
    const plainFails = async (): Promise<boolean> =>
      (await holds(forward, plain.forward)) === false ||
      (await holds(weights, plain.weights)) === false ||
      (await sumsHold('serial')) === false;
    if (native && (await plainFails())) gpu.packHalves();
    const tuned: Record<string, string> = {};
    for (const [key, kernel] of Object.entries(choices.tuned ?? {})) {
      const right = key.endsWith(` ${precision}`) ? await firstRight(key, kernel) : kernel;
      if (right !== undefined) tuned[key] = right;
    }
    const conv3: ForwardKernel = (await holds(forward, choices.conv3)) ? choices.conv3 : plain.forward;
    const conv3Weights: WeightKernel = (await holds(weights, choices.conv3Weights))
      ? choices.conv3Weights
      : plain.weights;
    const reduction = (await sumsHold(choices.reduction)) ? choices.reduction : 'serial';
    return { ...choices, conv3, conv3Weights, reduction, ...(choices.tuned && { tuned }) };
  } finally {
    // Those before a kernel that loses the device, too.
    if (Object.keys(fresh).length > 0) await writeCache(store, gpu, { proofs: fresh }, warn);
  }
}

type Bench = (gpu: Gpu, pass: ConvPass) => PassBench;

/** What a kernel makes of small convolutions. */
async function outputOf(
  gpu: Gpu,
  passes: readonly ConvPass[],
  kernel: string,
  bench: Bench,
): Promise<Float32Array[]> {
  const parts: Float32Array[] = [];
  for (const pass of passes) {
    const under = bench(gpu, pass);
    try {
      const trial = await under.open(kernel);
      try {
        parts.push(...(await trial.output()));
      } finally {
        trial.dispose();
      }
    } finally {
      under.dispose();
    }
  }
  return parts;
}

/** What was seen of a kernel. */
interface Seen {
  /** Undefined where there was no memory for it, or the plain one does not run, which says nothing of the kernel. */
  readonly right: boolean | undefined;
  /** Why no numbers were compared. It may be better another time, so that this is not kept. */
  readonly problem?: string;
}

/** It lost the device or ended a process. */
const broken: Seen = { right: false };

function toldOf(name: string, found: Seen): string {
  const { right, problem } = found;
  if (found === broken) return toldOfBroken(name);
  const differ = 'and results may differ in the last digits from those of other runs';
  if (problem === undefined)
    return `this adapter and driver compute the kernel '${name}' wrongly; another takes its place, ${differ}`;
  return right === false
    ? `the kernel '${name}' does not run on this adapter and driver (${problem}); another takes its place, ${differ}`
    : `the kernel '${name}' could not be tried (${problem}); a plain one serves this time, ${differ}`;
}

/**
 * Whether a kernel gives what the plain one gives in float32. One that twice does not compile or run does not.
 * @throws DeviceLost
 */
async function compared(
  gpu: Gpu,
  found: () => Promise<readonly Float32Array[]>,
  expected: () => Promise<readonly Float32Array[]>,
  tolerance: number,
): Promise<Seen> {
  const assertThere = async (): Promise<void> => {
    if (gpu.disposed || (await gpu.isLost())) throw gpu.lossError();
  };
  let right: readonly Float32Array[];
  try {
    right = await expected();
  } catch (error) {
    await assertThere();
    return { right: undefined, problem: (error as Error).message };
  }
  let problem = '';
  for (let tries = 0; tries < 2; tries++) {
    try {
      return { right: agree(await found(), right, tolerance) };
    } catch (error) {
      if (error instanceof DeviceLost) throw error;
      problem = (error as Error).message;
      if (error instanceof OutOfMemory) return { right: undefined, problem };
    }
  }
  return { right: false, problem };
}
