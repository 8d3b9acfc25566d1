/** Every kernel on the device, held against stored answers of float64 loops. */
import type { KernelChoices } from '../gpu/choices.ts';
import type { Gpu } from '../gpu/device.ts';
import { kernelsOf, roundsToHalf, runsOn, withKernel } from '../gpu/passes.ts';
import { matrixKernels, operandTolerance } from '../gpu/matrix-units.ts';
import type { Precision } from '../gpu/precision.ts';
import { shaderInfo, type StorageFormat } from '../gpu/shader.ts';
import { distance } from '../model/tune.ts';
import { answers } from './answers.ts';
import { OpBench, type OpCase } from './bench.ts';
import { conv3, convolutions, otherConvolutions } from './cases/convolutions.ts';
import { layers } from './cases/layers.ts';
import { learning } from './cases/learning.ts';
import { decodeSketch, sketch } from './sketch.ts';

export const opCases: readonly OpCase[] = [...convolutions, ...layers, ...learning];

/** What an op's results were like. */
export interface KernelRow {
  /** The op. */
  readonly op: string;
  /** Which of several kernels, or `table`: those that this adapter begins with. */
  readonly kernels: string;
  /** How volumes were stored. */
  readonly storage: StorageFormat;
  /** The largest relative error of its results, ‖x − answer‖ / ‖answer‖; null where something was no number. */
  readonly error: number | null;
  /** Whether that is what rounding explains. */
  readonly right: boolean;
  /** What went wrong: the results that are off, or what the GPU said. */
  readonly problem?: string | undefined;
}

/** One way of computing an op. */
export interface Trial {
  readonly op: OpCase;
  readonly kernels: string;
  readonly choices: KernelChoices;
  readonly precision: Precision;
}

/** Relative error that rounding explains: see CONTRIBUTING.md. The sketch of a difference may be off by an eighth. */
const tolerances = { f32: 1e-5, f16: 1e-3 };

/** All that can be computed in several ways on a device, what its plans use first, then some of each kind in turns. */
export function trialsOf(gpu: Gpu): Trial[] {
  const choices = gpu.limits.kernels;
  const ops = (precision: Precision, cases = opCases): Trial[] =>
    cases.map((op) => ({ op, kernels: 'table', choices, precision }));
  const other: KernelChoices = {
    ...choices,
    reduction: choices.reduction === 'serial' ? 'parallel' : 'serial',
  };
  const sums = opCases.filter(({ name }) => / norm$/.test(name));
  const available = (kind: 'forward' | 'weights', precision: Precision) =>
    kernelsOf({ kind, precision }, gpu.matrixUnits).filter((name) => runsOn(name, gpu.abilities));
  return [
    ...ops('f32'),
    ...ops('f16', opCases.filter(storesVolumes(gpu))),
    ...sums.map((op): Trial => ({
      op,
      kernels: `${other.reduction} reduction`,
      choices: other,
      precision: 'f32',
    })),
    ...inTurns(
      (['f32', 'f16'] as const).flatMap((precision) => [
        without(available('forward', precision), choices.conv3).map((name): Trial => ({
          op: conv3,
          kernels: name,
          choices: { ...choices, conv3: name } as KernelChoices,
          precision,
        })),
        without(available('weights', precision), choices.conv3Weights).map((name): Trial => ({
          op: conv3,
          kernels: `weights ${name}`,
          choices: { ...choices, conv3Weights: name } as KernelChoices,
          precision,
        })),
        otherConvolutions.flatMap((op) => onMatrices(gpu, op, precision)),
      ]),
    ),
  ];
}

/** The first of each list, then the second of each, and so on. */
function inTurns(lists: readonly Trial[][]): Trial[] {
  const longest = Math.max(...lists.map(({ length }) => length));
  return Array.from({ length: longest }, (_, i) => lists.flatMap((list) => list.slice(i, i + 1))).flat();
}

/** A convolution of another walk, forward and backward on matrix units where the device has the memory for it. */
function onMatrices(gpu: Gpu, op: OpCase, precision: Precision): Trial[] {
  const { kernels } = gpu.limits;
  const { passes } = new OpBench(op, gpu.limits, precision).recorder.finish();
  const names = passes.flatMap((pass) => matrixKernels(gpu.matrixUnits, pass));
  return [...new Set(names)]
    .filter((name) => passes.every((pass) => runsOn(name, gpu.abilities, pass)))
    .map((name) => ({
      op,
      kernels: name,
      choices: passes.reduce((choices, pass) => withKernel(choices, pass, name), kernels),
      precision,
    }));
}

const without = (names: readonly string[], one: string): string[] => names.filter((name) => name !== one);

/** Ops that depend on how volumes are stored. */
const storesVolumes =
  ({ limits }: Gpu) =>
  (op: OpCase): boolean =>
    new OpBench(op, limits).recorder.dispatches.some(({ shader }) => shaderInfo(shader).readsVolumes);

/** Computes an op in one of its ways. What the GPU refuses is a wrong result, but for a lost device. */
export async function tryKernels(gpu: Gpu, { op, kernels, choices, precision }: Trial): Promise<KernelRow> {
  const row = { op: op.name, kernels, storage: gpu.storageFormat(precision) };
  const exact = precision === 'f32' && !roundsToHalf(choices);
  const rounded = precision === 'f16' ? tolerances.f16 : operandTolerance;
  const most = exact ? (op.tolerance ?? tolerances.f32) : rounded;
  try {
    const found = await new OpBench(op, { ...gpu.limits, kernels: choices }, precision).run(gpu);
    const errors = [...found].map(([name, values]): [string, number] => [
      name,
      distance(sketch(values), decodeSketch(answers[`${op.name}: ${name}`]!)),
    ]);
    const wrong = errors.filter(([, error]) => !(error <= most));
    const error = Math.max(...errors.map(([, value]) => value));
    const problem = wrong.map(([name, value]) => `${name} is off by ${value.toPrecision(2)}`).join(', ');
    return {
      ...row,
      error: Number.isFinite(error) ? Number(error.toPrecision(2)) : null,
      right: wrong.length === 0,
      ...(wrong.length > 0 && { problem }),
    };
  } catch (error) {
    if (await gpu.isLost()) throw gpu.lossError();
    return { ...row, error: null, right: false, problem: (error as Error).message };
  }
}
