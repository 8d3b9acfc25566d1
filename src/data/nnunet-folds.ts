/**
 * The folds that nnU-Net divides a data set into: scikit-learn's KFold(5, shuffle, random_state 12345) over the sorted
 * names, which is numpy's shuffle by the Mersenne Twister; and those that a splits_final.json tells.
 */
import * as v from 'valibot';
import { InvalidDataset } from '../errors.ts';
import { readJson } from '../json.ts';
import { listed } from '../listed.ts';
import { distinctNames, openObject } from '../schema.ts';
import { composed, foldCases, type Split, type SplitCase, type SplitPart } from './split.ts';

/** nnU-Net's number of folds. */
export const nnunetFoldCount = 5;
const seed = 12345;

/** Numbers of 32 bits by MT19937, seeded with one number (Matsumoto and Nishimura 1998, 2002). */
function mersenneTwister(start: number): () => number {
  const state = new Uint32Array(624);
  state[0] = start;
  for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1]! ^ (state[i - 1]! >>> 30)) + i;
  let at = 624;
  return () => {
    if (at === 624) {
      for (let i = 0; i < 624; i++) {
        const y = (state[i]! & 0x80000000) | (state[(i + 1) % 624]! & 0x7fffffff);
        state[i] = state[(i + 397) % 624]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let y = state[at++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

/** 0 to `count` − 1 in the order of `numpy.random.RandomState(seed).shuffle`. */
export function numpyShuffle(count: number, start: number): number[] {
  const next = mersenneTwister(start);
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const mask = 2 ** (32 - Math.clz32(i)) - 1;
    let j = next() & mask;
    while (j > i) j = next() & mask;
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/**
 * nnU-Net's five folds, each without a test part. Where a subject has several cases, which nnU-Net would divide, subjects
 * are kept together by `foldCases` instead.
 * @throws InvalidDataset for fewer subjects than folds
 */
export function nnunetFolds(cases: readonly SplitCase[]): {
  readonly splits: readonly Split[];
  readonly rule: string;
} {
  const subjects = new Set(cases.map(({ subject }) => subject)).size;
  if (subjects < cases.length)
    return {
      splits: foldCases(cases, { folds: nnunetFoldCount }),
      rule: `by subjects, which have several of the ${cases.length} cases: nnU-Net would divide them`,
    };
  if (cases.length < nnunetFoldCount)
    throw new InvalidDataset(
      `Found ${cases.length} case(s) for ${nnunetFoldCount} folds; add cases, or train without --folds.`,
    );
  const sorted = cases.map(({ id }) => id).sort();
  const order = numpyShuffle(sorted.length, seed);
  const ends = Array.from({ length: nnunetFoldCount + 1 }, (_, fold) => {
    const [each, more] = [Math.floor(sorted.length / nnunetFoldCount), sorted.length % nnunetFoldCount];
    return fold * each + Math.min(fold, more);
  });
  const held = Array.from(
    { length: nnunetFoldCount },
    (_, fold) => new Set(order.slice(ends[fold], ends[fold + 1]).map((at) => sorted[at]!)),
  );
  const splits = held.map((ids, fold) =>
    splitOf(cases, fold, nnunetFoldCount, {
      train: sorted.filter((id) => !ids.has(id)),
      validation: sorted.filter((id) => ids.has(id)),
    }),
  );
  return { splits, rule: "by nnU-Net's rule" };
}

function splitOf(
  cases: readonly SplitCase[],
  fold: number,
  folds: number,
  { train, validation }: { readonly train: readonly string[]; readonly validation: readonly string[] },
): Split {
  const subjectOf = new Map(cases.map(({ id, subject }) => [id, subject]));
  const part = (ids: readonly string[]): SplitPart => ({
    subjects: [...new Set(ids.map((id) => subjectOf.get(id)!))].sort(),
    cases: [...ids].sort(),
  });
  const share = validation.length / (train.length + validation.length);
  return {
    seed,
    fractions: [1 - share, share, 0],
    fold,
    folds,
    train: part(train),
    validation: part(validation),
    test: part([]),
  };
}

const some = v.pipe(distinctNames('cases'), v.minLength(1, 'one case or more'));
const foldSchema = openObject({ train: some, val: some });
const foldsSchema = v.pipe(v.array(foldSchema, 'a list of folds'), v.minLength(1, 'one fold or more'));

/**
 * The folds of a splits_final.json, as nnU-Net writes it or people give it to nnU-Net.
 * @throws InvalidDataset if it is none, names unknown cases, or trains on cases or subjects that it validates
 */
export function parseFolds(text: string, cases: readonly SplitCase[]): readonly Split[] {
  const folds = readJson(text, foldsSchema, (problem) => {
    return new InvalidDataset(
      `splits_final.json: ${problem}. Remove it to divide the cases by nnU-Net's rule.`,
    );
  });
  const known = new Set(cases.map(({ id }) => id));
  return folds.map((parts, fold) => {
    const [train, val] = [composed(parts.train), composed(parts.val)];
    const unknown = [...train, ...val].filter((id) => !known.has(id));
    if (unknown.length > 0)
      throw new InvalidDataset(
        `splits_final.json names ${unknown.length} unknown case(s) in fold ${fold}: ${listed(unknown)}.`,
      );
    const both = val.filter((id) => train.includes(id));
    if (both.length > 0)
      throw new InvalidDataset(
        `splits_final.json both trains and validates on ${listed(both)} in fold ${fold}.`,
      );
    const split = splitOf(cases, fold, folds.length, { train, validation: val });
    const divided = split.validation.subjects.filter((subject) => split.train.subjects.includes(subject));
    if (divided.length > 0)
      throw new InvalidDataset(
        `splits_final.json both trains and validates on cases of the subject(s) ${listed(divided)} in fold ${fold}: remove ` +
          'it, so that folds go by subjects, or correct the subjects (subjects.csv, --subject-pattern).',
      );
    return split;
  });
}
