/**
 * Tells which subject a case shows, from a table (subjects.csv) or a pattern, so that a split never
 * separates two volumes of one person.
 */
import { InvalidDataset } from '../errors.ts';
import { listed } from '../listed.ts';
import { stemOf } from './volume-names.ts';
import type { Case } from './case.ts';

/** Rows of trimmed cells, one per line. @throws InvalidDataset for a line that quotes in a way that could be read in two */
async function readRows(text: string): Promise<string[][]> {
  const { default: Papa } = await import('papaparse');
  const lines = text.replace(/^\uFEFF/, '').replace(/\r\n?/g, '\n');
  const delimiter = /[,;\t]/.exec(lines.trimStart().split('\n', 1)[0]!)?.[0] ?? ',';
  const { data, errors } = Papa.parse<string[]>(lines, { delimiter, newline: '\n' });
  const broken = Math.min(
    ...errors.map(({ row = 0 }) => row),
    ...data.flatMap((cells, row) => (cells.some((cell) => cell.includes('\n')) ? [row] : [])),
  );
  if (broken < Infinity)
    throw new InvalidDataset(
      `subjects.csv line ${broken + 1} has a quotation mark that is not closed where the cell ends; close it, or ` +
        'write one that belongs to a name twice.',
    );
  return data.map((cells) => cells.map((cell) => cell.trim()));
}

/**
 * Case to subject from the text of a subjects.csv: a header naming the columns "case" and "subject",
 * then one line per case; endings such as .nii.gz after the case's name are ignored. Cells are separated as in the
 * header, by commas, semicolons or tabs; one that holds a separator is quoted.
 * @throws InvalidDataset without these columns, for an incomplete line, or for a case listed with two subjects
 */
async function parseSubjects(text: string): Promise<Map<string, string>> {
  const rows = (await readRows(text))
    .map((cells, index) => ({ cells, line: index + 1 }))
    .filter(({ cells }) => cells.some((cell) => cell !== ''));
  const header = rows.shift()?.cells.map((cell) => cell.toLowerCase()) ?? [];
  const [caseColumn, subjectColumn] = [header.indexOf('case'), header.indexOf('subject')];
  if (caseColumn < 0 || subjectColumn < 0)
    throw new InvalidDataset(
      `subjects.csv has the columns ${listed(header)}; expected "case" and "subject".`,
    );
  const subjects = new Map<string, string>();
  for (const { cells, line } of rows) {
    const name = stemOf(cells[caseColumn] ?? '');
    const subject = cells[subjectColumn] ?? '';
    const beyond = cells.slice(header.length).some((cell) => cell !== '');
    if (name === '' || subject === '' || beyond)
      throw new InvalidDataset(
        `subjects.csv line ${line} is "${cells.join(', ')}"; expected a case and a subject` +
          (beyond ? `, ${header.length} cells as in the header: quote one that holds a separator.` : '.'),
      );
    const earlier = subjects.get(name);
    if (earlier !== undefined && earlier !== subject)
      throw new InvalidDataset(
        `subjects.csv gives the case "${name}" two subjects, "${earlier}" and "${subject}".`,
      );
    subjects.set(name, subject);
  }
  return subjects;
}

/**
 * Cases with their subjects: by a pattern with one group on the case's name (`/Case_(\d+)_Week\d+/`), by the
 * text of a subjects.csv, or, with a warning, each case as its own subject.
 * @throws InvalidDataset that lists the cases for which the pattern or the table says nothing
 */
export async function assignSubjects<Named extends { readonly id: string }>(
  cases: readonly Named[],
  subjects?: RegExp | string,
): Promise<{ cases: (Named & Pick<Case, 'subject'>)[]; warnings: string[] }> {
  if (subjects === undefined)
    return {
      cases: cases.map((item) => ({ ...item, subject: item.id })),
      warnings: [
        'No subjects.csv and no pattern: every case counts as its own subject. If one person has several volumes, ' +
          'a split by case lets the network see test subjects in training.',
      ],
    };
  let find: (id: string) => string | undefined;
  if (typeof subjects === 'string') {
    const table = await parseSubjects(subjects);
    find = (id) => table.get(id);
  } else {
    const pattern = new RegExp(subjects.source, subjects.flags.replace(/[gy]/g, '')); // no state between calls
    find = (id) => pattern.exec(id)?.[1];
  }
  const unknown = cases.filter(({ id }) => find(id) === undefined).map(({ id }) => id);
  if (unknown.length > 0)
    throw new InvalidDataset(
      typeof subjects === 'string'
        ? `subjects.csv lacks ${unknown.length} case(s): ${listed(unknown)}. Add a line "case,subject" for each.`
        : `The subject pattern ${subjects} gives no group for ${unknown.length} case(s): ${listed(unknown)}.`,
    );
  return { cases: cases.map((item) => ({ ...item, subject: find(item.id)! })), warnings: [] };
}

/** Whom some cases of a data set show. */
export function subjectsOf(
  { cases }: { readonly cases: readonly Pick<Case, 'id' | 'subject'>[] },
  named: readonly { readonly name: string }[],
): string[] {
  const subjects = new Map(cases.map(({ id, subject }) => [id, subject]));
  return named.map(({ name }) => subjects.get(name)!);
}
