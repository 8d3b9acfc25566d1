/** Labels that tell left from right. */
import { allAxes, type Axis } from '../size.ts';
import type { Region } from './regions.ts';

const side = /(^|[^a-z0-9])(left|right|lh|rh|lt|rt|l|r)([^a-z0-9]|$)/i;

/** Ends of words that no space follows: KidneyLeft, and the L of LKidney. */
const ends = /[a-z](?=[A-Z])|(?:^|[^A-Za-z0-9])[LR](?=[A-Z][a-z])/g;

/** What is called by names. */
interface Named {
  /** Of classes, by label value. */
  readonly labels?: readonly string[] | undefined;
  /** What overlaps. */
  readonly regions?: readonly Region[] | undefined;
}

/** The name of the first class or region that tells left from right: in a mirrored volume it would be wrong. */
export const sidedName = ({ labels = [], regions = [] }: Named): string | undefined =>
  [...labels, ...regions.map(({ name }) => name)].find((name) => side.test(name.replace(ends, '$& ')));

/** The axes along which a volume may be mirrored: not from left to right where names tell these apart. */
export const mirrorable = (named: Named): readonly Axis[] =>
  sidedName(named) === undefined ? allAxes : ['y', 'z'];
