/** Ranks within one process, which meet in memory. */
import type { Ranks } from '../../src/distributed/ranks.ts';

type Values = Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

/** Each call of one rank waits for the same call of all others. */
export function ranksInMemory(size: number): Ranks[] {
  let waiting: { own: unknown; go: (all: readonly unknown[]) => void; rank: number }[] = [];
  const together = (rank: number, own: unknown): Promise<readonly unknown[]> =>
    new Promise((go) => {
      waiting.push({ own, go, rank });
      if (waiting.length < size) return;
      const all = waiting.sort((a, b) => a.rank - b.rank);
      waiting = [];
      for (const { go: resolve } of all) resolve(all.map((one) => one.own));
    });
  return Array.from({ length: size }, (_, rank) => ({
    rank,
    size,
    async sum(values: Values) {
      const all = (await together(rank, values.slice())) as Values[];
      values.forEach((_, i) => {
        values[i] = all.reduce(
          (sum, one) => (values instanceof Float32Array ? Math.fround(sum + one[i]!) : sum + one[i]!),
          0,
        );
      });
    },
    async broadcast(bytes, root) {
      const all = (await together(rank, bytes.slice())) as Uint8Array[];
      bytes.set(all[root]!);
    },
  }));
}
