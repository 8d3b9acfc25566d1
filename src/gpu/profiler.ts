/** Times of a plan's dispatches as a table: milliseconds, GFLOP/s and GB/s, summed by label or by kernel. */
import type { Plan } from './plan.ts';

export interface ProfileRow {
  readonly name: string;
  readonly count: number;
  readonly ms: number;
  /** Of the work that the plan counts; NaN where it counts none. */
  readonly gflops: number;
  /** Of the bound ranges, each counted once per dispatch. */
  readonly gigabytes: number;
}

/** Sums `times` (milliseconds per dispatch, from `Program.profile`), longest first. */
export function profileRows(
  plan: Plan,
  times: readonly number[],
  by: 'label' | 'shader' = 'label',
): ProfileRow[] {
  const sums = new Map<string, { count: number; ms: number; flops: number; bytes: number }>();
  plan.dispatches.forEach((dispatch, index) => {
    const sum = sums.get(dispatch[by]) ?? { count: 0, ms: 0, flops: 0, bytes: 0 };
    sum.count++;
    sum.ms += times[index]!;
    sum.flops += dispatch.flops;
    sum.bytes += dispatch.bytes;
    sums.set(dispatch[by], sum);
  });
  return [...sums]
    .map(([name, { count, ms, flops, bytes }]) => ({
      name,
      count,
      ms,
      gflops: flops > 0 ? flops / ms / 1e6 : NaN,
      gigabytes: bytes / ms / 1e6,
    }))
    .sort((a, b) => b.ms - a.ms);
}

export function profileTable(rows: readonly ProfileRow[]): string {
  const width = Math.max(8, ...rows.map(({ name }) => name.length));
  const number = (value: number, digits: number) =>
    (Number.isNaN(value) ? '-' : value.toFixed(digits)).padStart(10);
  return [
    `${'dispatch'.padEnd(width)}  count        ms   GFLOP/s      GB/s`,
    ...rows.map(
      ({ name, count, ms, gflops, gigabytes }) =>
        `${name.padEnd(width)}  ${String(count).padStart(5)}${number(ms, 3)}${number(gflops, 1)}${number(gigabytes, 1)}`,
    ),
  ].join('\n');
}
