/** nnU-Net's five folds, and those of its splits_final.json. */
import { expect, test } from 'vitest';
import { nnunetFolds, numpyShuffle, parseFolds } from '../../src/data/nnunet-folds.ts';
import { InvalidDataset } from '../../src/errors.ts';

test("numpy's order: a = numpy.arange(n); numpy.random.RandomState(12345).shuffle(a), numpy 1.24.2", () => {
  expect(numpyShuffle(7, 12345)).toEqual([6, 3, 4, 0, 1, 5, 2]);
  const twenty = [13, 8, 16, 3, 15, 12, 0, 10, 7, 11, 6, 17, 19, 18, 14, 9, 4, 1, 5, 2];
  expect(numpyShuffle(20, 12345)).toEqual(twenty);
  const many = numpyShuffle(260, 12345);
  expect(many.slice(0, 12)).toEqual([227, 181, 57, 203, 216, 47, 52, 68, 222, 104, 120, 117]);
  expect(many.slice(-6)).toEqual([59, 113, 118, 29, 34, 129]);
});

const cases = ['d', 'a', 'g', 'c', 'f', 'b', 'e'].map((id) => ({ id, subject: id }));

test('every case is validated once; the first folds are larger, as in scikit-learn', () => {
  const { splits } = nnunetFolds(cases);
  // The order above, of the sorted names, in pieces of 2, 2, 1, 1, 1.
  const held = [['d', 'g'], ['a', 'e'], ['b'], ['f'], ['c']];
  expect(splits.map(({ validation }) => validation.cases)).toEqual(held);
  for (const [fold, split] of splits.entries()) {
    const all = cases.map(({ id }) => id).sort();
    expect(split.train.cases).toEqual(all.filter((id) => !held[fold]!.includes(id)));
    expect([split.test.cases, split.fold, split.folds]).toEqual([[], fold, 5]);
  }
});

test('cases of one subject stay together', () => {
  const twins = cases.flatMap((item) => [item, { id: `${item.id}2`, subject: item.subject }]);
  const { splits, rule } = nnunetFolds(twins);
  expect(rule).toMatch(/by subjects/);
  expect(splits.flatMap(({ validation }) => validation.cases).sort()).toEqual(
    twins.map(({ id }) => id).sort(),
  );
  for (const { train, validation } of splits)
    expect(validation.subjects.some((subject) => train.subjects.includes(subject))).toBe(false);
  expect(() => nnunetFolds(cases.slice(0, 4))).toThrow(InvalidDataset);
});

test('splits_final.json names a case whose letters and accents are apart', () => {
  const folds = parseFolds(JSON.stringify([{ train: ['a'], val: ['Mu\u0308ller'] }]), [
    { id: 'a', subject: 'a' },
    { id: 'M\u00fcller', subject: 'b' },
  ]);
  expect(folds[0]!.validation.cases).toEqual(['M\u00fcller']);
});

test('splits_final.json', () => {
  const told = [
    { train: ['a', 'b', 'c'], val: ['g', 'd'] },
    { train: ['d', 'g'], val: ['a'] },
  ];
  const folds = parseFolds(JSON.stringify(told), cases);
  expect(folds.map(({ train, validation }) => [train.cases, validation.cases])).toEqual([
    [
      ['a', 'b', 'c'],
      ['d', 'g'],
    ],
    [['d', 'g'], ['a']],
  ]);
  for (const [wrong, message] of [
    ['{}', /a list of folds/],
    ['[]', /one fold or more/],
    [JSON.stringify([{ train: ['a'], val: ['x'] }]), /unknown case\(s\) in fold 0: .*x/],
    [JSON.stringify([{ train: ['a', 'b'], val: ['b'] }]), /trains and validates on .*b/],
    [JSON.stringify([{ train: ['a'] }]), /val/],
  ] as const)
    expect(() => parseFolds(wrong, cases)).toThrow(message);
  // As nnU-Net divides those of one subject.
  const weeks = ['a0', 'a1', 'b0'].map((id) => ({ id, subject: id[0]! }));
  expect(() => parseFolds(JSON.stringify([{ train: ['a0', 'b0'], val: ['a1'] }]), weeks)).toThrow(
    /splits_final\.json .* subject\(s\) "a" in fold 0: remove it, .* or correct the subjects/,
  );
});
