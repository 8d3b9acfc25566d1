/** Options by name: what is not known is refused, so that a misspelt one does not go unnoticed. */
import { InvalidOption } from './errors.ts';

/**
 * @param what takes the options, for the message
 * @param known the name of every option
 * @throws InvalidOption naming the unknown option and those that it may mean, or else all
 */
export function assertKnown(what: string, options: object, known: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const near = known.filter((other) => isNear(name.toLowerCase(), other.toLowerCase()));
    const advice = near.length > 0 ? `did you mean ${near.join(' or ')}?` : `it takes ${known.join(', ')}`;
    throw new InvalidOption(`${what} has no option '${name}': ${advice}`);
  }
}

/** One is the other's beginning, or a third of the letters differ at most. */
function isNear(a: string, b: string): boolean {
  if (a.length > 2 && (b.startsWith(a) || a.startsWith(b))) return true;
  return editDistance(a, b) <= Math.max(a.length, b.length) / 3;
}

/** Letters to insert, remove or replace (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++)
      next.push(Math.min(row[j]! + (letter === b[j] ? 0 : 1), row[j + 1]! + 1, next[j]! + 1));
    row = next;
  }
  return row[b.length]!;
}

/** A value as messages show it that asked for something else. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return `the text '${value}'`;
  const { name } = (value as object | null | undefined)?.constructor ?? {};
  return typeof value === 'object' && value !== null && name ? `an object of type ${name}` : String(value);
}
