/** The list of cases in "See" and "Annotate", with a thousand of them. */
import { afterEach, expect, test } from 'vitest';
import { CaseButtons } from '../../examples/browser/src/case-buttons.ts';
import { state, type PageCase } from '../../examples/browser/src/state.ts';
import '../../examples/browser/src/style.css';

const cases = Array.from({ length: 1000 }, (_, index): PageCase => {
  const id = `case_${index}`;
  return { id, subject: id, images: [new File([], id)], part: 'train' };
});

afterEach(() => {
  state.cases = [];
  document.body.replaceChildren();
});

function shownList(choose: (item: PageCase) => void = () => undefined): CaseButtons {
  state.cases = cases;
  const list = new CaseButtons(choose);
  list.element.style.height = '500px';
  document.body.append(list.element);
  return list;
}

const named = (list: CaseButtons, id: string) =>
  list.element.querySelector<HTMLButtonElement>(`button[title="${id}"]`);

test('of a thousand cases those in sight are there, and asked what is said of them', () => {
  const list = shownList();
  let asked = 0;
  const text = (): string => `said ${++asked}`;
  list.update(cases[0], text);
  expect(list.element.querySelectorAll('*').length).toBeLessThan(100);
  expect(asked).toBeLessThan(30);
  expect(list.element.scrollHeight).toBeGreaterThan(1000 * 50);
  // What stays is the same element, whatever is said of it now.
  const first = named(list, 'case_0')!;
  list.update(cases[0], () => 'another');
  expect(named(list, 'case_0')).toBe(first);
  expect(first.textContent).toBe('case_0another');
});

test('a case that is chosen elsewhere comes into sight, and a click tells which one is meant', () => {
  let chosen: PageCase | undefined;
  const list = shownList((item) => (chosen = item));
  list.update(cases[700], () => '');
  const button = named(list, 'case_700')!;
  const [pane, own] = [list.element.getBoundingClientRect(), button.getBoundingClientRect()];
  expect(own.top).toBeGreaterThanOrEqual(pane.top);
  expect(own.bottom).toBeLessThanOrEqual(pane.bottom);
  expect(button.getAttribute('aria-current')).toBe('true');
  named(list, 'case_702')!.click();
  expect(chosen).toBe(cases[702]);
});

test('scrolling brings the others', async () => {
  const list = shownList();
  list.update(cases[0], () => '');
  list.element.scrollTop = list.element.scrollHeight;
  await expect.poll(() => named(list, 'case_999')).not.toBe(null);
  expect(named(list, 'case_0')).toBe(null);
  expect(list.element.querySelectorAll('*').length).toBeLessThan(100);
});
