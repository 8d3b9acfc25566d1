/**
 * What comes along with the package and under which licence, as a Markdown table: the packages that it depends on, as
 * package-lock.json has them, and those that are built into dist/. Fails where a licence is not among those allowed.
 *   npx tsx scripts/licences.ts
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import config from '../tsup.config.ts';

const root = join(fileURLToPath(import.meta.url), '..', '..');

/** Permissive licences, which ask for no more than that notices are kept. */
export const allowed: ReadonlySet<string> = new Set([
  'MIT',
  'ISC',
  '0BSD',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'Apache-2.0',
  'Unlicense',
  '(MIT AND Zlib)',
]);

export interface Part {
  name: string;
  version: string;
  licence: string;
  /** How it comes to users: installed beside the package, or as part of its files. */
  as: 'dependency' | 'built in';
}

interface Locked {
  version: string;
  license?: string;
  dev?: boolean;
  devOptional?: boolean;
}

const lock = (
  JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, Locked> }
).packages;

const part = (path: string, as: Part['as']): Part => ({
  name: path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length),
  version: lock[path]!.version,
  licence: lock[path]!.license ?? 'none named',
  as,
});

/** The packages that npm installs for a user, those of dependencies included. */
export const dependencies = (): Part[] =>
  Object.entries(lock)
    .filter(([path, { dev, devOptional }]) => path !== '' && !dev && !devOptional)
    .map(([path]) => part(path, 'dependency'));

/** The packages whose code is in dist/. */
export async function builtIn(): Promise<Part[]> {
  if (typeof config === 'function' || Array.isArray(config))
    throw new Error('tsup.config.ts: one build expected');
  const { dependencies, optionalDependencies } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  ) as Record<string, Record<string, string>>;
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: Object.values(config.entry as Record<string, string>),
    external: ['node:*', ...Object.keys({ ...dependencies, ...optionalDependencies })],
    bundle: true,
    platform: 'browser',
    format: 'esm',
    splitting: true,
    outdir: 'dist',
    write: false,
    metafile: true,
    logLevel: 'silent',
  });
  const used = Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? [path] : [])),
  );
  const folders = used.flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? []);
  return [...new Set(folders)].sort().map((path) => part(path, 'built in'));
}

if (resolve(process.argv[1] ?? '') === fileURLToPath(import.meta.url)) {
  const parts = [...(await builtIn()), ...dependencies()];
  console.log('| package | version | licence | |\n| --- | --- | --- | --- |');
  for (const { name, version, licence, as } of parts)
    console.log(`| ${name} | ${version} | ${licence} | ${as} |`);
  const refused = parts.filter(({ licence }) => !allowed.has(licence));
  for (const { name, licence } of refused)
    console.error(`${name} is under "${licence}", which is not allowed`);
  if (refused.length > 0) process.exitCode = 1;
}
