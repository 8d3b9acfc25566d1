/** The JSON schemas of docs/schemas are those that files are held to. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { folder, schemaFiles } from '../../scripts/schemas.ts';

test('are current: else run `npx tsx scripts/schemas.ts`', () => {
  const made = schemaFiles();
  expect(readdirSync(folder).sort()).toEqual(made.map(([name]) => name).sort());
  for (const [name, text] of made) expect(readFileSync(join(folder, name), 'utf8'), name).toBe(text);
});
