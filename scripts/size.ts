/**
 * What the package weighs, packed and in the pages that import it, held against limits; dist/ has to be built.
 *   npx tsx scripts/size.ts [--package FOLDER] [--base FOLDER]
 * Prints a Markdown table and fails where a limit is passed. --package is another checkout that is built, --base one
 * to compare with.
 */
import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build, type Rolldown } from 'vite';

export interface Weight {
  what: string;
  bytes: number;
  limit: number;
}

/** What programs import, and how many bytes a page may load for it at once, minified and compressed with gzip. */
const programs = [
  { what: '`dice` alone', code: "import { dice as used } from 'unet3d-gpu';", limit: 1_000 },
  {
    what: "the page's side of the worker",
    code: "import { UNet3D as used } from 'unet3d-gpu/worker';",
    limit: 60_000,
  },
  { what: 'the worker', code: "import 'unet3d-gpu/worker/thread'; const used = 0;", limit: 150_000 },
  {
    what: '`UNet3D` in the page itself',
    code: "import { UNet3D as used } from 'unet3d-gpu';",
    limit: 150_000,
  },
  { what: 'everything', code: "import * as used from 'unet3d-gpu';", limit: 200_000 },
];

/** The bytes that a page loads at once for a program in a folder, as Vite builds it. */
async function pageBytes(code: string, folder: string): Promise<number> {
  const entry = 'virtual:program';
  const { output } = (await build({
    root: folder,
    configFile: false,
    logLevel: 'silent',
    plugins: [
      {
        name: 'program',
        resolveId: (id) => (id === entry ? join(folder, 'program.js') : undefined),
        load: (id) => (id === join(folder, 'program.js') ? `${code}\nglobalThis.used = used;` : undefined),
      },
    ],
    build: { write: false, rolldownOptions: { input: entry } },
  })) as Rolldown.RolldownOutput;
  const chunks = new Map(output.flatMap((file) => (file.type === 'chunk' ? [[file.fileName, file]] : [])));
  const now = new Set([...chunks.values()].filter(({ isEntry }) => isEntry).map(({ fileName }) => fileName));
  for (const name of now) for (const imported of chunks.get(name)!.imports) now.add(imported);
  return [...now].reduce((sum, name) => sum + gzipSync(chunks.get(name)!.code).length, 0);
}

/** The programs' bytes with the package as it is found from a folder by its name. */
export async function pageWeights(folder: string): Promise<Weight[]> {
  const weights: Weight[] = [];
  for (const { what, code, limit } of programs)
    weights.push({ what, bytes: await pageBytes(code, folder), limit });
  return weights;
}

/** The bytes of the tarball that npm would make of a checkout whose dist/ is built. */
export function packedWeight(folder: string): Weight {
  const report = execFileSync('npm', ['pack', '--dry-run', '--ignore-scripts', '--json'], {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    shell: process.platform === 'win32',
  });
  const [{ size }] = JSON.parse(report) as [{ size: number }];
  return { what: 'the tarball', bytes: size, limit: 500_000 };
}

const weightsOf = async (folder: string): Promise<Weight[]> => [
  packedWeight(folder),
  ...(await pageWeights(folder)),
];

const kB = (bytes: number): string => (bytes / 1000).toFixed(1);

/** A Markdown table of weights in kB, beside those of before where they are given. */
export function weightTable(weights: readonly Weight[], before: readonly Weight[] = []): string {
  const rows = weights.map(({ what, bytes, limit }) => {
    const old = before.find((weight) => weight.what === what)?.bytes;
    const change = old === undefined ? '' : `${bytes < old ? '−' : '+'}${kB(Math.abs(bytes - old))}`;
    return `| ${what} | ${kB(bytes)} | ${change} | ${kB(limit)} |${bytes > limit ? ' too much |' : ' |'}`;
  });
  return ['| kB, compressed | now | change | limit | |', '| --- | --- | --- | --- | --- |', ...rows].join(
    '\n',
  );
}

if (resolve(process.argv[1] ?? '') === fileURLToPath(import.meta.url)) {
  const checkout = join(fileURLToPath(import.meta.url), '..', '..');
  const { values } = parseArgs({
    options: { package: { type: 'string', default: checkout }, base: { type: 'string' } },
  });
  const weights = await weightsOf(resolve(values.package));
  console.log(weightTable(weights, values.base === undefined ? [] : await weightsOf(resolve(values.base))));
  if (weights.some(({ bytes, limit }) => bytes > limit)) process.exitCode = 1;
}
