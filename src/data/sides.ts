/** Labels that tell left from right. */
import type { Region } from './regions.ts';

const side = /(^|[^a-z0-9])(left|right|lh|rh|l|r)([^a-z0-9]|$)/i;

/** The name of the first class or region that tells left from right: in a mirrored volume it would be wrong. */
export const sidedName = ({
  labels = [],
  regions = [],
}: {
  readonly labels?: readonly string[] | undefined;
  readonly regions?: readonly Region[] | undefined;
}): string | undefined =>
  [...labels, ...regions.map(({ name }) => name)].find((name) =>
    side.test(name.replace(/([a-z])([A-Z])/g, '$1 $2')),
  );
