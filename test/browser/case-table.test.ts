/** The table of cases in "Data", with a thousand of them. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { CaseTable } from '../../examples/browser/src/case-table.ts';
import { state, type PageCase } from '../../examples/browser/src/state.ts';
import '../../examples/browser/src/style.css';

const labels = Array.from({ length: 1000 }, (_, index) => new File([], `label_${index}`));

beforeEach(() => {
  state.cases = labels.map((label, index): PageCase => {
    const id = `case_${index}`;
    return { id, subject: id, images: [new File([], id)], label, part: 'train' };
  });
});

afterEach(() => {
  state.cases = [];
  document.body.replaceChildren();
});

const offered = labels.map((source) => ({ path: source.name, source }));

function shownTable(choose: Partial<ConstructorParameters<typeof CaseTable>[0]> = {}): CaseTable {
  const table = new CaseTable({ label: () => undefined, part: () => undefined, ...choose });
  table.element.style.height = '500px';
  document.body.append(table.element);
  return table;
}

const rowOf = (table: CaseTable, index: number) =>
  table.element.querySelector<HTMLElement>(`tr[aria-rowindex="${index + 2}"]`);

test('of a thousand cases, the rows in sight are made anew by an update, and no others', () => {
  const table = shownTable();
  const make = vi.spyOn(document, 'createElement');
  for (let update = 0; update < 2; update++) {
    make.mockClear();
    table.update(offered);
    // A row is 14 elements: itself, six cells, two lists with two and three to choose from. 13 are in sight, 8 follow.
    expect(make.mock.calls.length).toBeGreaterThanOrEqual(13 * 14);
    expect(make.mock.calls.length).toBeLessThan(30 * 14);
  }
  make.mockRestore();
  expect(table.element.querySelectorAll('tbody tr').length).toBeLessThan(60);
  expect(table.element.scrollHeight).toBeGreaterThan(1000 * 36);
});

test('who chooses by keyboard stays where that was when the cases are drawn anew', () => {
  const table = shownTable();
  table.update(offered);
  const chosen = () => rowOf(table, 2)!.querySelectorAll('select')[0]!;
  const before = chosen();
  before.focus();
  table.update(offered);
  expect(chosen()).not.toBe(before);
  expect(document.activeElement).toBe(chosen());
});

test('the last of a thousand cases is reached by scrolling, and what is chosen there is of this case', async () => {
  const chosen: unknown[] = [];
  const table = shownTable({ part: (...args) => chosen.push(args), label: (...args) => chosen.push(args) });
  table.update(offered);
  table.element.scrollTop = table.element.scrollHeight;
  await expect.poll(() => rowOf(table, 999)).not.toBe(null);
  expect(rowOf(table, 0)).toBe(null);
  const row = rowOf(table, 999)!;
  const [pane, own] = [table.element.getBoundingClientRect(), row.getBoundingClientRect()];
  expect(own.bottom).toBeLessThanOrEqual(pane.bottom + 1);
  expect(row.textContent).toContain('case_999');
  const [label, part] = row.querySelectorAll('select');
  part!.value = 'unused';
  part!.dispatchEvent(new Event('change'));
  label!.dispatchEvent(new Event('focus')); // all labels are offered from now on
  expect(label!.options).toHaveLength(1001);
  label!.value = '3';
  label!.dispatchEvent(new Event('change'));
  expect(chosen).toEqual([
    ['case_999', 'unused'],
    ['case_999', labels[3]],
  ]);
});
