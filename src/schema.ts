/**
 * What comes from outside, files and options, held against schemas. A schema stands beside the type that it describes;
 * the messages given to its parts say what is expected, and stand behind the path and the value in every refusal. The
 * JSON schemas of docs/schemas are made from the same objects.
 */
import * as v from 'valibot';
import { allAxes } from './size.ts';

export type Schema<T> = v.GenericSchema<unknown, T>;
type Entries = Record<string, v.GenericSchema<unknown, unknown>>;

const words = (low: number, high: number): string =>
  high === Number.MAX_SAFE_INTEGER ? `from ${low} on` : `from ${low} to ${high}`;

export function wholeNumber(low = 0, high = Number.MAX_SAFE_INTEGER) {
  const text = `a whole number ${words(low, high)}`;
  return v.pipe(v.number(text), v.safeInteger(text), v.minValue(low, text), v.maxValue(high, text));
}

/** Neither NaN nor infinite. */
export function finite(text = 'a number') {
  return v.pipe(v.number(text), v.finite(text));
}

/** Both ends belong to it. */
export function numberFrom(low: number, high = Number.MAX_VALUE) {
  const text = high === Number.MAX_VALUE ? `a number from ${low} on` : `a number from ${low} to ${high}`;
  return v.pipe(v.number(text), v.minValue(low, text), v.maxValue(high, text));
}

const fromZero = 'a number from 0 to below 1';
/** Of decays and momenta, of which 1 would forget nothing. */
export const belowOne = v.pipe(v.number(fromZero), v.minValue(0, fromZero), v.ltValue(1, fromZero));

/** Infinity is none. */
export const limit = (expected = 'a number above 0') => v.pipe(v.number(expected), v.gtValue(0, expected));

export function numberAbove(low: number) {
  const text = `a number above ${low}`;
  return v.pipe(v.number(text), v.gtValue(low, text), v.finite(text));
}

/** What JSON writes as null where a number could not be measured. */
export const measured = v.pipe(
  v.nullable(v.number('a number or null')),
  v.transform((value) => value ?? NaN),
);

export const text = v.string('a text');
export const flag = v.boolean('true or false');

/** One of several texts. */
export const oneOf = <const Names extends readonly string[]>(...names: Names) =>
  v.picklist(names, alternatives(names.map((name) => `"${name}"`)));

/** Voxels along x, y, z. */
export const size3 = triple(wholeNumber(1), 'three whole numbers x, y, z');

/** Some of x, y and z. */
export const axes = v.pipe(
  v.array(v.picklist(allAxes, 'x, y or z'), 'a list of some of x, y and z'),
  v.check((names) => new Set(names).size === names.length, 'some of x, y and z, each once'),
);

export function triple<Item extends v.GenericSchema<unknown, unknown>>(item: Item, expected: string) {
  return v.strictTuple([item, item, item], expected);
}

/** An object of which these methods and properties are used. */
export const withParts = (expected: string, ...names: readonly string[]) =>
  v.custom<object>(
    (value) => typeof value === 'object' && value !== null && names.every((name) => name in value),
    expected,
  );

/** An array of numbers of any make; looked into by whoever uses it, as it may be long. */
export const numbers = v.pipe(
  withParts('an array of numbers', 'length'),
  v.check(
    (value) => !(value instanceof BigInt64Array || value instanceof BigUint64Array),
    'an array of numbers, such as Float64Array.from(values, Number)',
  ),
);

export const bytes = v.instance(Uint8Array, 'the bytes of a file as a Uint8Array');

/** An array of which each entry is looked at where it is used. */
export const list = (expected: string) => v.custom<readonly unknown[]>(Array.isArray, expected);

/** Of what begins with 0: up to, not including, 1. */
export function fractionBelow1() {
  const text = 'a number from 0 up to, not including, 1';
  return v.pipe(v.number(text), v.minValue(0, text), v.ltValue(1, text));
}

/** A 4 x 4 matrix, row by row. */
export const affine = v.pipe(
  v.array(finite(), '16 numbers, row by row'),
  v.length(16, '16 numbers, row by row'),
);

export const callback = v.optional(v.function('a function'));
export const signal = v.optional(withParts('an AbortSignal', 'aborted', 'addEventListener'));

/** Names that tell things apart. */
export const distinctNames = (what: string) =>
  v.pipe(
    v.array(text, `a list of names of ${what}`),
    v.check(
      (names) => repeated(names) === undefined,
      ({ input }) => `a different name for each of the ${what}: "${repeated(input)}" is there twice`,
    ),
  );

/** The first name that stands in a list twice. */
export function repeated(names: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return names.find((name) => seen.size === seen.add(name).size);
}

/** An object of these entries and no others. */
export const object = <const E extends Entries>(entries: E, expected?: string) =>
  v.strictObject(entries, entryMessage(entries, expected));

/** An object of which these entries are of interest; others are left aside. */
export const openObject = <const E extends Entries>(entries: E) => v.object(entries, entryMessage(entries));

const entryMessage =
  (entries: Entries, whole = 'an object') =>
  ({ expected, path }: v.BaseIssue<unknown>): string => {
    const name = String(path?.[path.length - 1]?.key);
    if (path === undefined) return whole;
    return expected === 'never'
      ? alternatives(likeliest(name, Object.keys(entries)))
      : expectation(entries[name]!);
  };

const expectation = (schema: v.GenericSchema<unknown, unknown>): string => {
  const { message, wrapped } = schema as { message?: unknown; wrapped?: typeof schema };
  if (wrapped) return expectation(wrapped);
  return typeof message === 'string' ? message : plain(schema.expects);
};

/** `("a" | "b")` in words. */
const plain = (expects: string): string =>
  expects === 'Object' ? 'an object' : alternatives(expects.replace(/^\((.*)\)$/, '$1').split(' | '));

const alternatives = (names: readonly string[]): string =>
  names.length > 1 ? `${names.slice(0, -1).join(', ')} or ${names[names.length - 1]}` : String(names[0]);

/** How a refusal is worded: `expected` of what a file holds, `give` to whoever wrote an option. */
export interface Wording {
  readonly expected: 'expected' | 'give';
  /** Turns the problem, such as `spacing[1] is -2; expected a number above 0`, into the error. */
  readonly fail: (problem: string) => Error;
}

/** The value as the schema gives it. @throws what `fail` makes of the first thing that is wrong */
export function held<T>(schema: Schema<T>, value: unknown, wording: Wording): T {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  throw wording.fail(problemOf(result.issues[0], wording.expected));
}

function problemOf(issue: v.BaseIssue<unknown>, verb: string): string {
  const path = issue.path ?? [];
  const last = path[path.length - 1];
  const missing = last !== undefined && !Object.hasOwn(Object(last.input) as object, String(last.key));
  // A list is an object too, but none that names things.
  if (missing && Array.isArray(last.input) && typeof last.key === 'string')
    return `${pathText(path.slice(0, -1))} is ${brief(last.input)}; ${verb} an object`;
  const wanted = issue.message.startsWith('Invalid ') ? plain(issue.expected ?? 'unknown') : issue.message;
  if (issue.type === 'strict_object' && issue.expected === 'never')
    return `${pathText(path)} is not known; ${verb} ${wanted}`;
  return `${pathText(path)} is ${missing ? 'missing' : brief(issue.input)}; ${verb} ${wanted}`;
}

/** Such as `training[2].label`. */
function pathText(path: readonly { readonly key: unknown }[]): string {
  const parts = path.map(({ key }) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`));
  return parts.join('').replace(/^\./, '') || 'it';
}

/** A value in at most about a line. */
export function brief(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  if (Array.isArray(value)) {
    const items = value
      .slice(0, 8)
      .map((item) => (typeof item === 'object' && item !== null ? '…' : brief(item)));
    return `[${[...items, ...(value.length > 8 ? ['…'] : [])].join(', ')}]`;
  }
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  const { name } = ((value as { constructor?: unknown }).constructor ?? {}) as { name?: unknown };
  return typeof name === 'string' && name !== 'Object' ? `an object of type ${name}` : 'an object';
}

/** Which of some names an unknown one may mean: those near to it, else any. */
export function likeliest(name: string, known: readonly string[]): readonly string[] {
  const near = known.filter((other) => isNear(name.toLowerCase(), other.toLowerCase()));
  return near.length > 0 ? near : known;
}

/** One is the other's beginning, or a third of the letters differ at most. */
function isNear(a: string, b: string): boolean {
  if (a.length > 2 && (b.startsWith(a) || a.startsWith(b))) return true;
  return editDistance(a.slice(0, 64), b) <= Math.max(a.length, b.length) / 3;
}

/** Letters to insert, remove or replace (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++)
      next.push(Math.min(row[j]! + (letter === b[j] ? 0 : 1), row[j + 1]! + 1, next[j]! + 1));
    row = next;
  }
  return row[b.length]!;
}
