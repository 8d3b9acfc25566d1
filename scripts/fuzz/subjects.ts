/** Tables of who a case shows, of every make. */
import type { Random } from '../../src/data/random.ts';
import { assignSubjects } from '../../src/data/subjects.ts';
import type { Kind } from './harness.ts';
import { chance, mutatedBytes, mutatedText, pick } from './mutations.ts';

const names = ['a', 'b', 'José', '病例', '__proto__', 'c,d', 'e "f"'];
const cases = names.map((id) => ({ id, images: [] }));

const cell = (text: string, separator: string, source: Random): string =>
  text.includes(separator) || text.includes('"') || chance(source, 5)
    ? `"${text.replaceAll('"', '""')}"`
    : text + pick(source, ['', '', ' ']);

function table(source: Random): string {
  const [separator, end] = [pick(source, [',', ';', '\t']), pick(source, ['\n', '\r\n', '\r'])];
  const columns = pick(source, [
    ['case', 'subject'],
    ['subject', 'case'],
    ['Case', 'note', 'Subject'],
  ]);
  const rows = names.map((name) =>
    columns.map((column) => {
      const ending = column.toLowerCase() === 'case' ? pick(source, ['', '.nii.gz', '.nii']) : '';
      return cell(column === 'note' ? '' : name + ending, separator, source);
    }),
  );
  if (chance(source, 4)) rows.splice(source.int(rows.length), 1);
  const lines = [columns, ...rows].map((cells) => cells.join(separator));
  return `${chance(source, 4) ? '\ufeff' : ''}${lines.join(end)}${pick(source, ['', end, end + end])}`;
}

export const subjects: Kind = {
  name: 'subjects',
  async read(source) {
    const whole = table(source);
    const text = chance(source, 3)
      ? whole
      : chance(source, 3)
        ? new TextDecoder().decode(mutatedBytes(new TextEncoder().encode(whole), source))
        : mutatedText(whole, source);
    await assignSubjects(cases, text);
    return 2 * text.length;
  },
};
