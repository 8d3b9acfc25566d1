/** What a run folder's config.json keeps for `--resume`: its options, and what was decided from them and the data. */
import { InvalidArgumentError, type Option } from 'commander';
import * as v from 'valibot';
import { preprocessingSchema } from '../data/preprocessing.ts';
import { InvalidModel } from '../errors.ts';
import { begunEntries, type BegunWith } from './begun-with.ts';
import { readJson } from '../json.ts';
import { configEntries } from '../model/config-entries.ts';
import {
  axes,
  brief,
  finite,
  flag,
  object,
  oneOf,
  openObject,
  size3,
  text,
  wholeNumber,
  type Schema,
} from '../schema.ts';

const names = v.array(text, 'a list of texts');
const single = v.union([finite(), text]);

/** What the value of an option can be at all; whether the option takes it, its own parser says. */
const valueSchema = v.union(
  [flag, single, v.array(v.union([single, v.array(finite())])), object({ fold: finite(), folds: finite() })],
  'a value of an option, as train has written it',
);

const argumentsSchema = openObject({
  dataset: v.optional(text),
  options: v.record(v.string(), valueSchema, 'options by name'),
  /** Those of them that were typed when it began. */
  typed: v.optional(v.record(v.string(), valueSchema, 'options by name')),
});

/** The file has more, for people. */
const schema = openObject({
  arguments: argumentsSchema,
  network: v.optional(openObject(configEntries)),
  training: openObject({
    batchSize: wholeNumber(1),
    accumulate: wholeNumber(1),
    precision: oneOf('f32', 'f16'),
    checkpointing: v.union([flag, names], 'true, false or a list of outputs'),
    patch: v.nullable(size3),
    init: v.optional(text),
  }),
  preprocessing: v.optional(preprocessingSchema),
  /** What the model of --init was trained to be mirrored along. */
  mirrorAxes: v.optional(axes),
  ...begunEntries,
  decisions: v.optional(names),
});

/**
 * Options come back as the command line would give them.
 * @param name what messages call the file
 * @param known the options of the command that are kept
 * @throws InvalidModel with the path, the value and what is expected
 */
export function readKeptConfig(json: string, name: string, known: readonly Option[]) {
  return readWith(schema, json, name, known);
}

/** Whether `demo` has written it, which keeps no arguments but how many phantoms it made. */
export function isOfDemo(json: string): boolean {
  try {
    const config = JSON.parse(json) as object;
    return 'subjects' in config && !('arguments' in config);
  } catch {
    return false; // what is damaged is said of it elsewhere
  }
}

/** The arguments alone, as the folder of several folds keeps them. @throws as `readKeptConfig` */
export function readKeptArguments(json: string, name: string, known: readonly Option[]) {
  return readWith(openObject({ arguments: argumentsSchema }), json, name, known).arguments;
}

/** What it tells of the data that the training began with. @throws as `readKeptConfig` */
export const readBegunWith = (json: string, name: string): BegunWith =>
  readJson(json, openObject(begunEntries), damaged(name));

const damaged =
  (name: string) =>
  (problem: string): InvalidModel =>
    new InvalidModel(`${name} is damaged: ${problem}; train again with --overwrite, or in another folder`);

function readWith<Config extends { readonly arguments: v.InferOutput<typeof argumentsSchema> }>(
  expected: Schema<Config>,
  json: string,
  name: string,
  known: readonly Option[],
) {
  const fail = damaged(name);
  const config = readJson(json, expected, fail);
  const entries = Object.entries(config.arguments.options).map(([key, value]) => {
    const option = known.find((other) => other.attributeName() === key);
    if (!option) throw fail(`arguments.options has "${key}", which is no option of train in this version`);
    const wrong = (expected: string): InvalidModel =>
      fail(`arguments.options.${key} is ${brief(value)}; ${expected}`);
    return [key, asTyped(option, value, wrong)] as const;
  });
  return { ...config, arguments: { ...config.arguments, options: Object.fromEntries(entries) } };
}

/** The value as the option's own parser makes it of what one would type. @throws what `wrong` makes */
function asTyped(option: Option, value: unknown, wrong: (expected: string) => Error): unknown {
  const name = option.attributeName();
  if (!option.required && !option.optional) {
    const isList = name === 'checkpointing' && v.is(names, value); // as a resumed training keeps it
    if (typeof value !== 'boolean' && !isList) throw wrong('expected true or false');
    return value;
  }
  const typed = typedValue(name, value);
  if (!option.parseArg && typed !== value) throw wrong('expected a text');
  const parsed = option.parseArg ? parse(option.parseArg, typed, wrong) : value;
  const stored: unknown = parsed instanceof RegExp ? parsed.source : parsed;
  if (JSON.stringify(stored) !== JSON.stringify(value))
    throw wrong(`expected it as train writes it, such as ${brief(stored)}`);
  return parsed;
}

function parse(
  parseArg: NonNullable<Option['parseArg']>,
  typed: string,
  wrong: (expected: string) => Error,
): unknown {
  try {
    return parseArg(typed, undefined);
  } catch (error) {
    if (error instanceof InvalidArgumentError) throw wrong(error.message);
    throw error;
  }
}

/** An option's value as one types it. */
export function typedValue(name: string, value: unknown): string {
  if (value instanceof RegExp) return value.source;
  if (Array.isArray(value))
    return value.join(value.some(Array.isArray) ? '/' : ',') || (name === 'concede' ? 'none' : '');
  if (typeof value !== 'object') return `${value as string | number | boolean}`;
  const { fold, folds } = value as { fold: number; folds: number };
  return `${fold + 1}/${folds}`;
}
