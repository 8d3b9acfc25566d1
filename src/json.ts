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
    value = JSON.parse(json);
  } catch (cause) {
    throw fail(`it is not valid JSON (${(cause as Error).message.slice(0, 200)})`);
  }
  const twice = repeatedName(json);
  if (twice !== undefined) throw fail(`it has the name ${twice} twice in one object; expected once`);
  return held(schema, value, { expected: 'expected', fail });
}

/** The first name, as it is written, that an object of a valid JSON text has twice. */
function repeatedName(json: string): string | undefined {
  const open: Set<unknown>[] = [];
  for (let at = 0; at < json.length; at++) {
    const letter = json[at];
    if (letter === '{' || letter === '[') open.push(new Set());
    else if (letter === '}' || letter === ']') open.pop();
    if (letter !== '"') continue;
    const start = at;
    for (at++; json[at] !== '"'; at++) if (json[at] === '\\') at++;
    if (!/^\s*:/.test(json.slice(at + 1, at + 100))) continue;
    const written = json.slice(start, at + 1);
    const name: unknown = JSON.parse(written); // the same name may be written with other escapes
    const names = open[open.length - 1]!;
    if (names.has(name)) return written.slice(0, 80);
    names.add(name);
  }
  return undefined;
}
