/**
 * Splits a data set into training, validation and test cases, or into folds: seeded, whole subjects only,
 * and stratified by the classes a subject shows where these are known. The result is plain JSON (split.json).
 */
import * as v from 'valibot';
import { InvalidDataset } from '../errors.ts';
import { readJson } from '../json.ts';
import { assertOptions, assertValue } from '../options.ts';
import {
  distinctNames,
  list,
  numberFrom,
  openObject,
  fractionBelow1,
  triple,
  wholeNumber,
} from '../schema.ts';
import { groupedBy } from '../grouped.ts';
import { listed } from '../listed.ts';
import { random } from './random.ts';

export const partNames = ['train', 'validation', 'test'] as const;
/** A part of a split. */
export type PartName = (typeof partNames)[number];

/** What a split needs to know of a case. */
export interface SplitCase {
  /** Unique among the cases. */
  readonly id: string;
  /** Cases of one subject come into the same part. */
  readonly subject: string;
  /** Label values that occur in it; leave out to split without stratification. */
  readonly classes?: readonly number[];
}

/** Sorted names of one part. */
export interface SplitPart {
  /** Whose cases these are. */
  readonly subjects: readonly string[];
  /** Their ids. */
  readonly cases: readonly string[];
}

/** Content of split.json. */
export interface Split extends Readonly<Record<PartName, SplitPart>> {
  /** Of the shuffling of subjects. */
  readonly seed: number;
  /** Shares of the subjects in train, validation, test, as asked for. */
  readonly fractions: readonly [number, number, number];
  /** Only for k-fold: which of how many folds is the validation part, from 0. */
  readonly fold?: number | undefined;
  /** Only for k-fold: their number. */
  readonly folds?: number | undefined;
}

interface Subject {
  readonly name: string;
  readonly cases: string[];
  readonly classes: Set<number>;
}

function subjectsOf(cases: readonly SplitCase[]): Subject[] {
  const subjects = new Map<string, Subject>();
  for (const { id, subject, classes } of cases) {
    const entry = subjects.get(subject) ?? { name: subject, cases: [], classes: new Set<number>() };
    entry.cases.push(id);
    for (const label of classes ?? []) entry.classes.add(label);
    subjects.set(subject, entry);
  }
  return [...subjects.values()].sort((a, b) => (a.name < b.name ? -1 : 1)); // the order of files must not matter
}

/** How many of `total` each share gets: rounded so that they add up, and at least 1 for a share above 0. */
function sizes(total: number, shares: readonly number[]): number[] {
  const wanted = shares.map((share) => share * total);
  const result = wanted.map((value, part) => (shares[part]! > 0 ? Math.max(1, Math.floor(value + 1e-9)) : 0));
  let rest = total - result.reduce((a, b) => a + b, 0);
  for (; rest !== 0; rest -= Math.sign(rest)) {
    const step = Math.sign(rest);
    const need = wanted.map((value, part) =>
      shares[part] === 0 || (step < 0 && result[part]! <= 1) ? -Infinity : (value - result[part]!) * step,
    );
    result[need.indexOf(Math.max(...need))]! += step;
  }
  return result;
}

/** Deals the subjects to parts, group by group of equal classes, the rarest group first. */
function deal(subjects: readonly Subject[], shares: readonly number[], seed: number): Subject[][] {
  const parts = shares.filter((share) => share > 0).length;
  if (subjects.length < parts)
    throw new InvalidDataset(
      `Found ${subjects.length} subject(s) for ${parts} parts; a subject is never divided. Add subjects, ask for ` +
        `fewer parts, or check the subject pattern.`,
    );
  const groups = groupedBy(random(seed, 'split').shuffle(subjects), ({ classes }) =>
    [...classes].sort((a, b) => a - b).join(','),
  );
  const places = sizes(subjects.length, shares);
  const result: Subject[][] = shares.map(() => []);
  for (const [, group] of [...groups].sort(([, a], [, b]) => a.length - b.length)) {
    const open = shares.map((share) => share * group.length); // what each part should still get of this group
    for (const subject of group) {
      let best = -1;
      for (let part = 0; part < shares.length; part++)
        if (places[part]! > 0 && (best < 0 || open[part]! > open[best]! + 1e-9)) best = part;
      result[best]!.push(subject);
      places[best]! -= 1;
      open[best]! -= 1;
    }
  }
  return result;
}

/** What a split leaves that no training begins with. */
export const nothingToTrainOn = 'no case to train on: give the first share more than 0';

const partOf = (subjects: readonly Subject[]): SplitPart => ({
  subjects: subjects.map(({ name }) => name).sort(),
  cases: subjects.flatMap(({ cases }) => cases).sort(),
});

const caseList = list('a list of cases, each with its id and subject');
const threeShares = 'three shares of training, validation and test that add up to 1';
const splitEntries = {
  fractions: v.optional(
    v.pipe(
      triple(numberFrom(0, 1), threeShares),
      v.check((shares) => Math.abs(shares.reduce((a, b) => a + b, 0) - 1) <= 1e-6, threeShares),
    ),
  ),
  seed: v.optional(wholeNumber()),
};
const foldEntries = {
  folds: v.optional(wholeNumber(2)),
  test: v.optional(fractionBelow1()),
  seed: splitEntries.seed,
};

/**
 * Training, validation and test cases. Default: 70 / 15 / 15 % of the subjects, seed 0. A fraction of 0 leaves
 * its part empty.
 * @throws InvalidOption if the fractions are negative or do not add up to 1
 * @throws InvalidDataset for fewer subjects than parts
 * @example
 * ```js
 * const { train, validation, test } = splitCases(dataset.cases, { fractions: [0.5, 0.25, 0.25], seed: 1 });
 * ```
 */
export function splitCases(
  cases: readonly SplitCase[],
  options: { readonly fractions?: readonly [number, number, number]; readonly seed?: number } = {},
): Split {
  assertValue('splitCases', caseList, cases);
  assertOptions('splitCases', splitEntries, options);
  const { fractions = [0.7, 0.15, 0.15], seed = 0 } = options;
  const [train, validation, test] = deal(subjectsOf(cases), fractions, seed).map(partOf);
  return { seed, fractions, train: train!, validation: validation!, test: test! };
}

/**
 * k splits, each with another fold for validation and the rest for training; `test` (default 0) is the share
 * of subjects that is kept out of all folds, the same in each split.
 * @throws InvalidOption for fewer than 2 folds or a test share outside [0, 1)
 * @throws InvalidDataset for fewer subjects than folds
 * @example
 * ```js
 * for (const { train, validation } of foldCases(dataset.cases, { folds: 3 }))
 *   console.log(train.cases, validation.cases);
 * ```
 */
export function foldCases(
  cases: readonly SplitCase[],
  options: { readonly folds?: number; readonly test?: number; readonly seed?: number } = {},
): Split[] {
  assertValue('foldCases', caseList, cases);
  assertOptions('foldCases', foldEntries, options);
  const { folds = 5, test: share = 0, seed = 0 } = options;
  const each = (1 - share) / folds;
  const [test, ...dealt] = deal(subjectsOf(cases), [share, ...new Array<number>(folds).fill(each)], seed);
  return dealt.map((validation, fold) => ({
    seed,
    fractions: [1 - share - each, each, share],
    fold,
    folds,
    train: partOf(dealt.filter((_, other) => other !== fold).flat()),
    validation: partOf(validation),
    test: partOf(test!),
  }));
}

const part = openObject({ subjects: v.optional(distinctNames('subjects')), cases: distinctNames('cases') });

/** Names of cases with letters of one character each, as cases have them: programs on a Mac may write two. */
export const composed = (ids: readonly string[]): string[] => ids.map((id) => id.normalize('NFC'));

/** Of split.json, of which those written by hand need name the cases only. */
export const splitSchema = openObject({
  seed: v.optional(wholeNumber()),
  fractions: v.optional(triple(numberFrom(0, 1), 'three shares')),
  fold: v.optional(wholeNumber()),
  folds: v.optional(wholeNumber(2)),
  train: part,
  validation: part,
  test: part,
});

/**
 * The split in the text of a split.json, checked against the data set's cases.
 * @throws InvalidDataset if it is no split, names unknown cases, or puts a case or a subject into two parts
 */
export function parseSplit(text: string, cases: readonly SplitCase[]): Split {
  const {
    seed = 0,
    fractions,
    ...stored
  } = readJson(text, splitSchema, (problem) => {
    return new InvalidDataset(`split.json: ${problem}. Write it with "unet3d-gpu split".`);
  });
  const subjectOf = new Map(cases.map(({ id, subject }) => [id, subject]));
  const seen = new Map<string, PartName>();
  for (const name of partNames) {
    const ids = composed(stored[name].cases);
    stored[name] = { ...stored[name], cases: ids };
    const unknown = ids.filter((id) => !subjectOf.has(id));
    if (unknown.length > 0)
      throw new InvalidDataset(
        `split.json names ${unknown.length} unknown case(s) in "${name}": ${listed(unknown)}.`,
      );
    for (const id of ids) {
      const subject = subjectOf.get(id)!;
      if (seen.has(subject) && seen.get(subject) !== name)
        throw new InvalidDataset(
          `split.json has the subject "${subject}" in "${seen.get(subject)}" and "${name}".`,
        );
      seen.set(subject, name);
    }
  }
  const complete = ({ cases: ids, subjects }: (typeof stored)[PartName]): SplitPart => ({
    subjects: subjects ?? [...new Set(ids.map((id) => subjectOf.get(id)!))].sort(),
    cases: ids,
  });
  const parts = {
    train: complete(stored.train),
    validation: complete(stored.validation),
    test: complete(stored.test),
  };
  const share = ({ subjects }: SplitPart): number => subjects.length / Math.max(1, seen.size);
  return {
    ...stored,
    ...parts,
    seed,
    fractions: fractions ?? [share(parts.train), share(parts.validation), share(parts.test)],
  };
}

/** Which cases a split says nothing of, in a sentence; undefined where there is none. */
export function unsplitCases(cases: readonly SplitCase[], split: Split): string | undefined {
  const known = new Set(partNames.flatMap((name) => split[name].cases));
  const unknown = cases.filter(({ id }) => !known.has(id)).map(({ id }) => id);
  return unknown.length > 0
    ? `${unknown.length} of ${cases.length} cases are in no part of the split: ${listed(unknown)}.`
    : undefined;
}

/**
 * Refuses a split that shows the same image (by content hash) in two parts.
 * @param hashes content hash of each case's image by case id
 * @throws InvalidDataset that names the pairs
 */
export function assertNoSharedContent(split: Split, hashes: ReadonlyMap<string, string>): void {
  const first = new Map<string, { part: PartName; id: string }>();
  const shared: string[] = [];
  for (const part of partNames)
    for (const id of split[part].cases) {
      const hash = hashes.get(id);
      if (hash === undefined) continue;
      const other = first.get(hash);
      if (!other) first.set(hash, { part, id });
      else if (other.part !== part) shared.push(`${other.id} (${other.part}) = ${id} (${part})`);
    }
  if (shared.length > 0)
    throw new InvalidDataset(
      `The same volume is in two parts of the split: ${listed(shared)}. Give the copies one subject, or remove them.`,
    );
}

/** The part that a training is tested on: its validation cases where nothing was left for a test. */
export const testedPart = (split: {
  readonly test: { readonly cases: readonly string[] };
}): 'test' | 'validation' => (split.test.cases.length > 0 ? 'test' : 'validation');
