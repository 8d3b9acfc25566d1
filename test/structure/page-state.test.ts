/** Each part of what the page knows is written by one of its modules, which the others ask for it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const folder = join(import.meta.dirname, '../../examples/browser/src');

const owners: Readonly<Record<string, readonly string[]>> = {
  'labelled-cases.ts': ['name', 'cases', 'labels', 'regions', 'ignoreLabel', 'report', 'channels'],
  'planning.ts': ['settings', 'chosen', 'preprocessing', 'decision'],
  'state.ts': ['beginning', 'run', 'model', 'modelName', 'modelRun', 'predictions', 'results'],
};

/** The parts of the state that a text writes, by assignment, by what changes lists and maps, or by Object.assign. */
function written(text: string): string[] {
  const assigned = text.matchAll(/\bstate\.(\w+)(?:\.\w+|\[[^\]]*\])*\s*(?:[-+*/]|\?\?|\|\||&&)?=(?![=>])/g);
  const changed = text.matchAll(
    /\bstate\.(\w+)\.(?:set|delete|clear|push|pop|shift|unshift|splice|sort|reverse|fill)\(/g,
  );
  const merged = text.matchAll(/Object\.assign\(\s*state(?:\.(\w+))?,([^;]*);/g);
  const keys = (object = ''): string[] => [...object.matchAll(/(\w+)(?=\s*[,:}])/g)].map(([, key]) => key!);
  return [
    ...[...assigned, ...changed].map(([, part]) => part!),
    ...[...merged].flatMap(([, part, given]) => (part === undefined ? keys(given) : [part])),
  ];
}

test('no module of the page writes a part of the state that is another one’s', () => {
  const source = readFileSync(join(folder, 'state.ts'), 'utf8');
  const [, body] = /export interface State \{\n(.*?)\n\}/s.exec(source)!;
  const parts = [...body!.matchAll(/^ {2}(?:readonly )?(\w+): /gm)].map(([, part]) => part!);
  expect(Object.values(owners).flat().sort()).toEqual(parts.sort());
  const found: string[] = [];
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!path.endsWith('.ts')) continue;
    const own = owners[path] ?? [];
    for (const part of written(readFileSync(join(folder, path), 'utf8')))
      if (parts.includes(part) && !own.includes(part)) found.push(`${path} writes state.${part}`);
  }
  expect(found).toEqual([]);
});

test.each([
  ['state.name = other;', ['name']],
  ['state.ignoreLabel ??= 255;', ['ignoreLabel']],
  ['state.settings.epochs = 3;', ['settings']],
  ['state.labels[0] = first;', ['labels']],
  ['state.predictions.set(images, file);', ['predictions']],
  ['Object.assign(state.chosen, choices);', ['chosen']],
  ['Object.assign(state, { run });', ['run']],
  ['if (state.name === other) return state.cases.map((item) => item);', []],
  ['const use = () => state.model?.release();', []],
])('%s', (text, expected) => {
  expect(written(text)).toEqual(expected);
});
