/**
 * What CHANGELOG.md says of a version. Fails where the tag is not of package.json's version or nothing is said of it.
 *   npx tsx scripts/release-notes.ts v1.2.3
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The text below a version's heading, up to the next one. */
export function notesOf(changelog: string, version: string): string {
  const [, ...sections] = changelog.split(/^## /m);
  const section = sections.find((text) => text.split(/\s/, 1)[0] === version);
  const notes = section?.slice(section.indexOf('\n')).trim();
  if (!notes) throw new Error(`CHANGELOG.md says nothing of version ${version}; run npm run bump`);
  return notes;
}

if (resolve(process.argv[1] ?? '') === fileURLToPath(import.meta.url)) {
  const read = (name: string): string =>
    readFileSync(join(fileURLToPath(import.meta.url), '..', '..', name), 'utf8');
  const { version } = JSON.parse(read('package.json')) as { version: string };
  const [tag] = process.argv.slice(2);
  if (tag !== `v${version}`) throw new Error(`the tag is ${tag}, and package.json is of version ${version}`);
  console.log(notesOf(read('CHANGELOG.md'), version));
}
