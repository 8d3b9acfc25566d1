/** The value below which a fraction of sorted values lies, linear between ranks as numpy's default; NaN without any. */
export function quantile(sorted: ArrayLike<number>, fraction: number): number {
  const rank = fraction * (sorted.length - 1);
  const low = sorted[Math.floor(rank)] ?? NaN;
  return low + ((sorted[Math.ceil(rank)] ?? NaN) - low) * (rank - Math.floor(rank));
}
