/** What classes are called in drawings: where a value has two names, these are labels of different data. */
import { named, valuesApart } from '../state.ts';
import type { DrawingRecord } from './kept-drawings.ts';

/** Classes that have other names in a drawing than in others, in words; '' where there are none. */
export const namesApart = (drawn: readonly string[], others: readonly string[], where: string): string =>
  valuesApart(drawn, others)
    .map((value) => `class ${value} is “${drawn[value]}” in the drawing and “${others[value]}” ${where}`)
    .join(', ');

/** What to do about it. */
export const whereApart =
  'If both mean the same, give the class its name in the drawing under "Data"; if not, start over and add these scans by themselves.';

/**
 * Names with those that drawings bring for classes without one, the newest drawing first.
 * @returns as `apart` the drawings that do not go with these names, the newest first
 */
export function together<T extends Pick<DrawingRecord, 'names' | 'changed'>>(
  known: readonly string[],
  drawings: readonly T[],
): { readonly names: readonly string[]; readonly apart: readonly T[] } {
  let names = known;
  const apart: T[] = [];
  for (const drawing of drawings.toSorted((a, b) => b.changed.getTime() - a.changed.getTime()))
    if (valuesApart(drawing.names, names).length > 0) apart.push(drawing);
    else names = named(names, drawing.names);
  return { names, apart };
}

/** Names of a drawing when the page calls classes otherwise: it follows where it had the page's name. */
export const renamed = (
  drawn: readonly string[],
  before: readonly string[],
  now: readonly string[],
): string[] =>
  named(
    drawn.map((name, value) => (name === (before[value] ?? `class ${value}`) ? (now[value] ?? name) : name)),
    drawn,
  );
