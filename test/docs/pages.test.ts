/**
 * README and the pages of docs/: links lead somewhere, README's also from a package registry, and commands have the
 * options that pages name.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { createProgram } from '../../src/cli/program.ts';

const read = (path: string): string => readFileSync(path, 'utf8');
const docs = readdirSync('docs').filter((name) => name.endsWith('.md'));
const pages = ['README.md', 'CONTRIBUTING.md', ...docs.map((name) => join('docs', name))];
const manifest = JSON.parse(read('package.json')) as {
  scripts: Record<string, string>;
  files: string[];
};

/** Links of a page that are no web addresses, images among them. */
const links = (page: string): string[] =>
  [
    ...read(page)
      .replace(/```.*?```/gs, '')
      .matchAll(/\]\(([^)\s]+)\)/g),
  ]
    .map(([, link]) => link!)
    .filter((link) => !/^\w+:/.test(link));

/** Headings as GitHub and TypeDoc name them in addresses. */
const anchors = (page: string): string[] =>
  [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} -]/gu, '')
      .replaceAll(' ', '-'),
  );

test.each(pages)('links of %s lead to files and headings', (page) => {
  for (const link of links(page)) {
    const [file, anchor] = link.split('#') as [string, string?];
    const path = file === '' ? page : normalize(join(dirname(page), file));
    expect(existsSync(path), `${link} in ${page}`).toBe(true);
    if (anchor !== undefined) expect(anchors(path), `${link} in ${page}`).toContain(anchor);
  }
});

test('links of README lead to files that the package carries', () => {
  const carried = (path: string): boolean =>
    !manifest.files.includes(`!${path}`) &&
    manifest.files.some((file) => file === path || (file === 'docs/*.md' && docs.includes(path.slice(5))));
  const pictures = /\.(png|gif)$/;
  const missing = links('README.md').filter((link) => !pictures.test(link) && !carried(link.split('#')[0]!));
  expect(missing).toEqual([]);
});

test('pages with a place in the navigation have a title, and none the place of another', () => {
  const places = docs.flatMap((name) => {
    const [, front = ''] = /^---\n(.*?)\n---\n/s.exec(read(join('docs', name))) ?? [];
    const [, order] = /^order: (\d+)$/m.exec(front) ?? [];
    if (order !== undefined) expect(front, name).toMatch(/^title: ./m);
    return order ?? [];
  });
  expect(places.length).toBeGreaterThan(10);
  expect(new Set(places).size).toBe(places.length);
});

const io = { out: () => {}, err: () => {}, signal: new AbortController().signal, env: {} };
const program = createProgram(io as never);

/** Commands and options that a line of a page names. */
function expectKnown(line: string, page: string): void {
  for (const [, name, rest = ''] of line.matchAll(/\bunet3d-gpu ([a-z]+)\b([^`|]*)/g)) {
    const command = program.commands.find((known: Command) => known.name() === name);
    expect(command, `unet3d-gpu ${name} in ${page}`).toBeDefined();
    const options = command!.options.flatMap(({ long, short }) => [long, short]);
    for (const [option] of rest.matchAll(/(?<=\s)--[a-z][a-z0-9-]*/g))
      expect(options, `${option} of ${name} in ${page}`).toContain(option);
  }
  for (const [, script] of line.matchAll(/\bnpm run ([a-z:-]+)/g))
    expect(manifest.scripts, `npm run ${script} in ${page}`).toHaveProperty([script!]);
}

test.each(pages)('commands in %s have the options that it names', (page) => {
  for (const line of read(page).split('\n')) expectKnown(line, page);
});

test('an option that no command has is found', () => {
  expect(() => expectKnown('`unet3d-gpu train DATASET --unknown`', 'here')).toThrow(/--unknown/);
  expect(() => expectKnown('`unet3d-gpu fly`', 'here')).toThrow(/fly/);
});
