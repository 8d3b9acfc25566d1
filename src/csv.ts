/** Tables as comma-separated values (RFC 4180). */
import Papa from 'papaparse';

/** A table as text, one line per row. A text that a spreadsheet would run as a formula gets an apostrophe. */
export const csv = (rows: readonly (readonly (string | number)[])[]): string =>
  `${Papa.unparse(rows as (string | number)[][], { newline: '\n', escapeFormulae: true })}\n`;
