/** Lists in messages, which a person reads: short ones whole, long ones cut. */

/** Items that a message shows at most. */
const most = 10;
/** Characters of a name that a message shows at most: what tells long names apart is often at their end. */
const longest = 36;

const short = (name: string): string => {
  const letters = [...name];
  const half = (longest - 1) / 2;
  return letters.length <= longest
    ? name
    : `${letters.slice(0, Math.ceil(half)).join('')}…${letters.slice(-Math.floor(half)).join('')}`;
};

/** At most ten items separated by commas, and how many more there are. */
export const some = (items: readonly string[]): string => cut(items.map(short));

/** The same of names, quoted. */
export const listed = (names: readonly string[]): string => cut(names.map((name) => `"${short(name)}"`));

const cut = (items: readonly string[]): string =>
  items.slice(0, most).join(', ') + (items.length > most ? ` and ${items.length - most} more` : '');
