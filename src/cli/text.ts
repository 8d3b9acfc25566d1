/** Text for terminals: what may go there, tables, bars, JSON. */

/** What acts on a terminal instead of being shown: control characters, line ends, and turns of the writing direction. */
const unprintable = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu;

/** One line as it may go to a terminal: what would act there is spelled out as \u001b, which JSON reads as the same. */
export const printable = (line: string): string =>
  line.replace(unprintable, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** An option as one types it. @param denied as it is turned off */
export const flagOf = (name: string, denied = false): string =>
  `--${denied ? 'no-' : ''}${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/**
 * The lines of a table with a rule under its head; the first column is aligned to the left, the others to the right.
 */
export function table(rows: readonly (readonly string[])[]): string[] {
  const [head = []] = rows;
  const widths = head.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
  lines.splice(1, 0, '-'.repeat(Math.max(...lines.map((line) => line.length))));
  return lines;
}

/** [#####.....] */
export function bar(fraction: number, width = 20): string {
  const full = Math.round(Math.min(Math.max(fraction, 0), 1) * width);
  return `[${'#'.repeat(full)}${'.'.repeat(width - full)}]`;
}

/** JSON in which what is not a finite number is null, as JSON has no NaN. */
export function toJson(value: unknown, indent = 0): string {
  const finite = (_: string, item: unknown): unknown =>
    typeof item === 'number' && !Number.isFinite(item) ? null : item;
  return JSON.stringify(value, finite, indent);
}
