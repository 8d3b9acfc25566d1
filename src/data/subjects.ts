/**
 * Tells which subject a case shows, from a table (subjects.csv) or a pattern, so that a split never
 * separates two volumes of one person.
 */
import { InvalidDataset } from '../errors.ts';
import { listed } from '../listed.ts';
import { stemOf } from './dataset-match.ts';
import type { Case, UnassignedCase } from './case.ts';

/**
 * Case to subject from the text of a subjects.csv: a header naming the columns "case" and "subject",
 * then one line per case; endings such as .nii.gz after the case's name are ignored.
 * @throws InvalidDataset without these columns, for an incomplete line, or for a case listed with two subjects
 */
export function parseSubjects(text: string): Map<string, string> {
  const rows = text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map((line) => line.split(/[,;\t]/).map((cell) => cell.trim().replace(/^"(.*)"$/, '$1')))
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
    if (name === '' || subject === '')
      throw new InvalidDataset(
        `subjects.csv line ${line} is "${cells.join(',')}"; expected a case and a subject.`,
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
export function assignSubjects(
  cases: readonly UnassignedCase[],
  subjects?: RegExp | string,
): { cases: Case[]; warnings: string[] } {
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
    const table = parseSubjects(subjects);
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
