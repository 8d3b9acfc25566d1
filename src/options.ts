/** Options by name and value: what is not known or out of range is refused before anything starts. */
import type * as v from 'valibot';
import { InvalidOption } from './errors.ts';
import { held, likeliest, object } from './schema.ts';

type Entries = Record<string, v.GenericSchema<unknown, unknown>>;

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * @param what takes the options, for the message
 * @param entries what each option may be; see call-options.ts
 * @throws InvalidOption naming the unknown option and those that it may mean, or the value that is out of range
 */
export function assertOptions(what: string, entries: Entries, options: unknown): void {
  if (!isObject(options))
    throw new InvalidOption(`${what} takes its options as an object, not ${shown(options)}`);
  const known = Object.keys(entries);
  const name = Object.keys(options).find((key) => !known.includes(key));
  if (name !== undefined) {
    const near = likeliest(name, known);
    const advice = near === known ? `it takes ${known.join(', ')}` : `did you mean ${near.join(' or ')}?`;
    throw new InvalidOption(`${what} has no option '${name}': ${advice}`);
  }
  assertValue(what, object(entries), options);
}

/** @throws InvalidOption with the path, the value and what to give */
export function assertValue(what: string, schema: v.GenericSchema<unknown, unknown>, value: unknown): void {
  held(schema, value, {
    expected: 'give',
    fail: (problem) => new InvalidOption(`${what}: ${problem}`),
  });
}

/** Options without those that are undefined, which would stand in the place of defaults. */
export const definedOf = <T extends object>(options: T): T =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;

/** A value as messages show it that asked for something else. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return `the text '${value}'`;
  const { name } = (value as object | null | undefined)?.constructor ?? {};
  return typeof value === 'object' && value !== null && name ? `an object of type ${name}` : String(value);
}
