/** What a run folder's config.json keeps for `--resume`: its options, and what was decided from them and the data. */
import * as v from 'valibot';
import { InvalidModel } from '../errors.ts';
import { readJson } from '../json.ts';
import { flag, oneOf, openObject, size3, text, wholeNumber } from '../schema.ts';

const names = v.array(text, 'a list of texts');

/** The file has more, for people. */
const schema = openObject({
  arguments: openObject({
    dataset: v.optional(text),
    options: v.record(v.string(), v.unknown(), 'options by name'),
  }),
  training: openObject({
    batchSize: wholeNumber(1),
    accumulate: wholeNumber(1),
    precision: oneOf('f32', 'f16'),
    checkpointing: v.union([flag, names], 'true, false or a list of outputs'),
    patch: v.nullable(size3),
  }),
  decisions: v.optional(names),
});

export type KeptConfig = v.InferOutput<typeof schema>;

/**
 * @param name what messages call the file
 * @param known the options that the command has
 * @throws InvalidModel with the path, the value and what is expected
 */
export function readKeptConfig(json: string, name: string, known: readonly string[]): KeptConfig {
  const fail = (problem: string): InvalidModel =>
    new InvalidModel(`${name} is damaged: ${problem}; train again with --overwrite, or in another folder`);
  const config = readJson(json, schema, fail);
  const foreign = Object.keys(config.arguments.options).find((option) => !known.includes(option));
  if (foreign !== undefined)
    throw fail(`arguments.options has "${foreign}", which is no option of train in this version`);
  return config;
}
