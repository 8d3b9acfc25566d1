/** JSON of files, which may be anybody's. */
import { held, type Schema } from './schema.ts';

/**
 * The value in a JSON text, held against its schema. Names that an object has twice are refused: readers differ in
 * which of the two counts.
 * @param fail makes the error of the problem, such as `spacing[1] is -2; expected a number above 0`
 */
export function readJson<T>(json: string, schema: Schema<T>, fail: (problem: string) => Error): T {
  let value: unknown;
  try {
    value = parseJson(json);
  } catch (cause) {
    throw fail(`it is not valid JSON (${(cause as Error).message.slice(0, 200)})`);
  }
  const twice = repeatedName(json);
  if (twice !== undefined) throw fail(`it has the name ${twice} twice in one object; expected once`);
  return held(schema, value, { expected: 'expected', fail });
}

/**
 * The value in a JSON text. Python writes numbers that JSON does not have, NaN and Infinity: they are taken as null.
 * @throws SyntaxError
 */
export function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    const textOrNumber = /"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g;
    const changed = json.replace(textOrNumber, (found) => (found.startsWith('"') ? found : 'null'));
    if (changed === json) throw error;
    return JSON.parse(changed);
  }
}

/** The first name, as it is written, that an object of a valid JSON text has twice. */
function repeatedName(json: string): string | undefined {
  const seen = new Map<object, Set<string>>();
  for (const { name, written, within } of namesIn(json)) {
    const names = seen.get(within) ?? new Set();
    if (names.has(name)) return written.slice(0, 80);
    seen.set(within, names.add(name));
  }
  return undefined;
}

/**
 * Names of the object that a valid JSON text has under a name, in the order in which they are written: an object that is
 * parsed has those first that look like whole numbers.
 */
export function namesUnder(json: string, name: string): string[] {
  const isMeant = ({ name: own, within }: Opened) => own === name && within !== undefined && !within.within;
  return [...namesIn(json)].flatMap(({ name, within }) => (isMeant(within) ? [name] : []));
}

/** An object or a list of a text, by the name last read in what it lies in. */
interface Opened {
  readonly name: string | undefined;
  readonly within: Opened | undefined;
}

function* namesIn(
  json: string,
): Generator<{ readonly name: string; readonly written: string; readonly within: Opened }> {
  let within: Opened | undefined;
  let last: string | undefined;
  for (let at = 0; at < json.length; at++) {
    const letter = json[at];
    if (letter === '{' || letter === '[') within = { name: last, within };
    else if (letter === '}' || letter === ']') within = within?.within;
    if (letter !== '"') continue;
    const start = at;
    for (at++; json[at] !== '"'; at++) if (json[at] === '\\') at++;
    if (!/^\s*:/.test(json.slice(at + 1, at + 100))) continue;
    const written = json.slice(start, at + 1);
    last = JSON.parse(written) as string; // the same name may be written with other escapes
    yield { name: last, written, within: within! };
  }
}
