/** Which levels of the decoder have a head, and what their losses count. */
/** Decoder levels whose loss counts: the finest, and with deep supervision the coarser ones but the coarsest. */
export function supervisedLevels({
  features,
  deepSupervision,
}: {
  readonly features: readonly number[];
  readonly deepSupervision?: boolean | undefined;
}): number[] {
  return deepSupervision
    ? Array.from({ length: Math.max(1, features.length - 2) }, (_, level) => level)
    : [0];
}

/** What the loss of each of these levels counts: half as much per level, 1 in all. */
export function supervisionWeights(levels: number): number[] {
  const total = 2 - 2 ** (1 - levels);
  return Array.from({ length: levels }, (_, level) => 2 ** -level / total);
}

/** The name of a level's head among the parameters. */
export const headName = (level: number): string => (level === 0 ? 'head' : `decoder.${level}.head`);
