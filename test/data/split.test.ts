// Splits: whole subjects, sizes, seeds, stratification, and what is refused.
import { describe, expect, test } from 'vitest';
import { random } from '../../src/data/random.ts';
import {
  assertNoSharedContent,
  foldCases,
  parseSplit,
  partNames,
  splitCases,
  type Split,
  type SplitCase,
} from '../../src/data/split.ts';
import { InvalidDataset, InvalidOption } from '../../src/errors.ts';

/** `count` subjects with one to three cases each. */
const cohort = (count: number): SplitCase[] =>
  Array.from({ length: count }, (_, subject) =>
    Array.from({ length: 1 + (subject % 3) }, (_, week) => ({
      id: `c${subject}w${week}`,
      subject: `s${subject}`,
    })),
  ).flat();

function expectPartition(split: Split, cases: readonly SplitCase[]) {
  const ids = partNames.flatMap((part) => split[part].cases);
  expect([...ids].sort()).toEqual(cases.map(({ id }) => id).sort());
  for (const part of partNames) {
    const subjects = new Set(
      cases.filter(({ id }) => split[part].cases.includes(id)).map(({ subject }) => subject),
    );
    expect([...subjects].sort()).toEqual(split[part].subjects);
  }
  const subjects = partNames.flatMap((part) => split[part].subjects);
  expect(new Set(subjects).size).toBe(subjects.length);
}

describe('splitCases', () => {
  test.each([
    [20, [14, 3, 3]],
    [38, [26, 6, 6]],
    [3, [1, 1, 1]],
    [4, [2, 1, 1]],
  ])('%i subjects are split 70/15/15 by subject', (count, expected) => {
    const cases = cohort(count);
    const split = splitCases(cases);
    expectPartition(split, cases);
    expect(partNames.map((part) => split[part].subjects.length)).toEqual(expected);
  });

  test('the seed decides, the order of the cases does not', () => {
    const cases = cohort(30);
    const split = splitCases(cases, { seed: 4 });
    expect(splitCases(random(1).shuffle(cases), { seed: 4 })).toEqual(split);
    expect(splitCases(cases, { seed: 5 }).test).not.toEqual(split.test);
  });

  test('fractions of 0 leave a part empty', () => {
    const split = splitCases(cohort(10), { fractions: [0.8, 0.2, 0] });
    expect(partNames.map((part) => split[part].subjects.length)).toEqual([8, 2, 0]);
  });

  test('a class that few subjects show reaches every part', () => {
    // 6 of 40 subjects show class 2: without stratification, many seeds leave a part without it.
    const cases = cohort(40).map((item) => ({
      ...item,
      classes: Number(item.subject.slice(1)) < 6 ? [0, 1, 2] : [0, 1],
    }));
    const rare = (split: Split) =>
      partNames.map((part) => split[part].subjects.filter((subject) => Number(subject.slice(1)) < 6).length);
    for (let seed = 0; seed < 10; seed++) {
      const split = splitCases(cases, { seed });
      expectPartition(split, cases);
      expect(rare(split)).toEqual([4, 1, 1]);
    }
    const plain = cases.map(({ id, subject }) => ({ id, subject }));
    const seeds = Array.from({ length: 10 }, (_, seed) => rare(splitCases(plain, { seed })));
    expect(seeds.some((counts) => counts.includes(0))).toBe(true);
  });

  test('fewer subjects than parts, and bad fractions, are refused', () => {
    expect(() => splitCases(cohort(2))).toThrow(InvalidDataset);
    expect(() => splitCases(cohort(2))).toThrow(/2 subject\(s\) for 3 parts/);
    expect(() => splitCases(cohort(9), { fractions: [0.7, 0.2, 0.2] })).toThrow(InvalidOption);
    expect(() => splitCases(cohort(9), { fractions: [1.2, -0.2, 0] })).toThrow(InvalidOption);
  });
});

describe('foldCases', () => {
  test('every subject is validated once and never trained on then', () => {
    const cases = cohort(23);
    const splits = foldCases(cases, { folds: 5 });
    expect(splits).toHaveLength(5);
    for (const split of splits) expectPartition(split, cases);
    const validated = splits.flatMap(({ validation }) => validation.cases);
    expect([...validated].sort()).toEqual(cases.map(({ id }) => id).sort());
    for (const { validation } of splits) expect([4, 5]).toContain(validation.subjects.length);
  });

  test('a test share stays the same in all folds', () => {
    const splits = foldCases(cohort(20), { folds: 3, test: 0.25 });
    for (const split of splits) expect(split.test).toEqual(splits[0]!.test);
    expect(splits[0]!.test.subjects).toHaveLength(5);
  });

  test('too few subjects or folds are refused', () => {
    expect(() => foldCases(cohort(4), { folds: 5 })).toThrow(/4 subject\(s\) for 5 parts/);
    expect(() => foldCases(cohort(4), { folds: 1 })).toThrow(InvalidOption);
    expect(() => foldCases(cohort(4), { folds: 2, test: 1 })).toThrow(InvalidOption);
  });
});

describe('split.json', () => {
  const cases = cohort(12);
  test('reads back as written', () => {
    const split = splitCases(cases);
    expect(parseSplit(JSON.stringify(split), cases)).toEqual(split);
  });

  test('names a case whose letters and accents are apart, as programs on a Mac write them', () => {
    const german = cases.map((item, at) => (at === 0 ? { ...item, id: 'M\u00fcller' } : item));
    const split = splitCases(german);
    const apart = JSON.stringify(split).replace('M\u00fcller', 'Mu\u0308ller');
    expect(apart).not.toBe(JSON.stringify(split));
    expect(parseSplit(apart, german)).toEqual(split);
  });

  test.each([
    ['nonsense', /not valid JSON/],
    ['null', /it is null; expected an object/],
    ['{"train":{}}', /train\.cases is missing; expected a list of names of cases/],
    ['{"train":{"cases":"c1w0"}}', /train\.cases is "c1w0"; expected a list/],
    ['{"train":{"cases":["c1w0","c1w0"]}}', /each of the cases: "c1w0" is there twice/],
    ['{"train":{"cases":[]},"validation":{"cases":[]},"test":{"cases":[]},"train":{}}', /"train" twice/],
    [
      '{"train":{"cases":[]},"validation":{"cases":[]},"test":{"cases":[]},"seed":-1}',
      /seed is -1; expected/,
    ],
    [
      '{"train":{"cases":["zz"]},"validation":{"cases":[]},"test":{"cases":[]}}',
      /unknown case\(s\) in "train": "zz"/,
    ],
    [
      '{"train":{"cases":["c1w0"]},"validation":{"cases":["c1w1"]},"test":{"cases":[]}}',
      /"s1" in "train" and "validation"/,
    ],
  ])('%s is refused', (text, expected) => {
    expect(() => parseSplit(text, cases)).toThrow(InvalidDataset);
    expect(() => parseSplit(text, cases)).toThrow(expected);
  });

  test('written by hand, it need name the cases only', () => {
    const byHand = {
      train: { cases: ['c1w0', 'c1w1'] },
      validation: { cases: ['c2w0'] },
      test: { cases: [] },
    };
    expect(parseSplit(JSON.stringify(byHand), cases)).toEqual({
      seed: 0,
      fractions: [0.5, 0.5, 0],
      train: { cases: ['c1w0', 'c1w1'], subjects: ['s1'] },
      validation: { cases: ['c2w0'], subjects: ['s2'] },
      test: { cases: [], subjects: [] },
    });
  });

  test('equal content in two parts is refused, in one part it is not', () => {
    const split = splitCases(cases);
    const [a, b] = split.train.cases;
    const t = split.test.cases[0]!;
    assertNoSharedContent(
      split,
      new Map([
        [a!, 'x'],
        [b!, 'x'],
        [t, 'y'],
      ]),
    );
    expect(() =>
      assertNoSharedContent(
        split,
        new Map([
          [a!, 'x'],
          [t, 'x'],
        ]),
      ),
    ).toThrow(`${a} (train) = ${t} (test)`);
  });
});
